#include "core/dispatch/duty_cycle.h"

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/options.h"

namespace samovar::core {
namespace {

constexpr std::uint32_t kTimersEvery = 64;  // turns between looks at the clock, while there are turns
constexpr std::uint32_t kSampleEvery = 16;  // calls of a worker between two that are timed, for prefetch by time
constexpr std::int64_t kStuckNs = 50'000;   // a worker without progress for so long loses what it has not begun
constexpr std::int64_t kStuckLoopNs = 2'000'000;  // an event loop: its tasks have their turns before it looks for calls
constexpr std::int64_t kLookAgainNs = 1'000'000;
constexpr int kChunkTimeoutLooks = 8;       // at a stream within its chunk_timeout: nobody tells when the wait for a chunk begins

// When to look whether it has waited too long.
std::int64_t look_at_ns(const Call& call, std::int64_t now_ns) {
  if (!call.stream || call.stream->chunk_timeout_ns == ipc::kNever) return call.deadline_ns;
  return std::min(call.deadline_ns, now_ns + std::max(call.stream->chunk_timeout_ns / kChunkTimeoutLooks, kLookAgainNs));
}

}  // namespace

void DutyCycle::Outbox::add_ready(Call& call) {
  call.next_ready = nullptr;
  (ready_last ? ready_last->next_ready : ready_first) = &call;
  ready_last = &call;
}

DutyCycle::DutyCycle(const Options& options, const Methods& methods, PendingQueue& queue, Breakers& breakers,
                     CallEvents& call_events, Counters& counters, RequestArena& arena)
    : options_(options),
      methods_(methods),
      queue_(queue),
      packed_(static_cast<std::uint32_t>(options.inline_bytes_max)),
      breakers_(breakers),
      call_events_(call_events),
      counters_(counters),
      arena_(arena),
      several_nodes_(arena.is_spread()),
      loads_(seats_max(options) + kSpareSlots),
      follows_load_(seats_max(options) > options.workers),
      tells_waiting_(follows_load_) {
  slots_.reserve(loads_.size());
  for (std::size_t i = 0; i < loads_.size(); ++i) slots_.emplace_back(std::max(options.prefetch, kPrefetchMax) + options.concurrency);
  outbox_.wake.reserve(64);
}

std::size_t DutyCycle::run() {
  std::size_t moved = 0;
  for (std::size_t i = 0; i < slots_used_; ++i) {
    if (!slots_[i].journal.empty()) moved += take_responses(static_cast<int>(i));
    if (!slots_[i].escaped.empty() && !slots_[i].broken) take_releases(static_cast<int>(i), slots_[i]);
  }
  if (notes_due_) [[unlikely]] send_notes();
  moved += send_pending();
  if (++turns_ % kTimersEvery == 0) run_timers();
  return moved;
}

void DutyCycle::enter(Call& call) {
  if (call.asynchronous) watch_deadline(call);
  if (keep_for_batch(call)) return call.to_queued(Call::By::waiter);
  if (!queue_.front() && !queue_.has_arrivals_but(1)) {
    const int slot = choose_worker_for(call);
    if (slot >= 0 && send(slot, call)) {
      queue_.pass_by();
      ring_workers();
      return;
    }
  }
  call.to_queued(Call::By::waiter);
  queue_.insert(call);
}

void DutyCycle::take_inbox() {
  queue_.take_inbox([this](Call& call) {
    if (call.asynchronous) watch_deadline(call);
    if (!keep_for_batch(call)) queue_.insert(call);
  });
}

std::size_t DutyCycle::send_pending() {
  take_inbox();
  std::size_t sent = 0;
  for (;;) {
    Call* call = queue_.front();
    Call* batched = batching_.empty() ? nullptr : ready_batch();
    if (batched && (!call || batched->ticket < call->ticket)) [[unlikely]] {
      const int slot = choose_worker_for(*batched);
      const std::optional<std::size_t> together = slot >= 0 ? send_batch(slot, batched->method) : std::nullopt;
      sent += together.value_or(0);
      if (together || (slot >= 0 && !loads_[static_cast<std::size_t>(slot)].available)) continue;
      break;
    }
    if (!call) break;
    if (call->is_done()) {
      drop_done(*call);
      continue;
    }
    const int slot = choose_worker_for(*call);
    if (slot < 0) {
      tell_waiting();
      break;
    }
    if (!call->claim(mover_of(*call))) continue;  // its waiter has left this very moment
    if (!send(slot, *call)) {
      call->to_queued();
      if (!loads_[static_cast<std::size_t>(slot)].available) continue;  // its lane will never have room
      tell_waiting();
      break;
    }
    queue_.remove(*call);
    ++sent;
  }
  if (barred_ && busy_ == 0 && choose_worker(loads()) < 0) [[unlikely]] end_waiting();
  if (tells_waiting_ && !batching_.empty()) tell_batch_waiting();
  ring_workers();
  return sent;
}

void DutyCycle::tell_waiting() {
  if (std::exchange(tells_waiting_, false)) outbox_.signals |= kCallsWait;
}

bool DutyCycle::knows(const Slot& slot, Call& call) {
  if (slot.has_method(call.method)) return true;
  give_up(call, unknown_method(methods_.now().name(call.method), {}, options_.module));
  return false;
}

// The call's payload, or where it lies: in `block`, or what is put together beside the header of tensors.
std::span<const std::byte> DutyCycle::payload_in_record(Call& call, ipc::BlockReference& block) {
  if (!call.block) return call.payload;
  block = {call.payload_offset(), call.payload.size()};
  if (call.located.empty()) return ipc::as_payload(block);
  std::memcpy(call.located.data(), &block, sizeof block);
  return call.located;
}

// Those that are the call's own, and not its record's.
std::uint8_t DutyCycle::flags_of(Slot& slot, const Call& call) {
  const bool timed = call.timed || ++slot.sampled % kSampleEvery == 0;
  return static_cast<std::uint8_t>((timed ? ipc::kRequestTimed : 0) | (call.block ? ipc::kRequestInArena : 0) |
                                   (call.may_wait ? ipc::kRequestMayWait : 0) | (call.stream ? ipc::kRequestStream : 0));
}

void DutyCycle::note_sent(Slot& slot, Call& call, std::uint64_t lane_position, const Place& place) {
  ++call.attempts;
  call.worker = slot.worker;
  slot.journal.push(call, lane_position, place.revocable, place.rest);
  call.to_sent(mover_of(call));
}

bool DutyCycle::send(int index, Call& call, const Place* in_batch) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (!knows(slot, call)) return true;
  if (slot.journal.full()) [[unlikely]] slot.journal.set_aside(slot.journal.believe_started(slot.channel->started()));
  ipc::BlockReference block;
  const std::span<const std::byte> payload = payload_in_record(call, block);
  ipc::LaneWriter& lane = slot.channel->requests;
  std::byte* message = lane.try_claim(ipc::message_bytes(static_cast<std::uint32_t>(payload.size())));
  if (!message) {
    if (slot.journal.empty()) violate(index, "it has answered every request and gives none of their room back");
    return false;
  }
  const Place place = in_batch ? *in_batch : Place{.rest = 0, .revocable = !slot.journal.empty()};
  ipc::write_request({.call_id = call.ticket,
                      .deadline_ns = call.deadline_on_wire(),
                      .method = slot.numbers[call.method],
                      .kind = call.kind,
                      .flags = static_cast<std::uint8_t>(flags_of(slot, call) | (place.revocable ? ipc::kRequestRevocable : 0) |
                                                         (place.rest != 0 ? ipc::kRequestBatched : 0)),
                      .payload = payload},
                     message);
  note_sent(slot, call, lane.publish(), place);
  settle_sent(index, 1);
  return true;
}

void DutyCycle::settle_sent(int index, std::size_t calls) {
  slots_[static_cast<std::size_t>(index)].touched = true;
  loads_[static_cast<std::size_t>(index)].last_used = ++used_;
  counters_.in_flight_sent.add(calls);
  update_load(index);
}

void DutyCycle::give_up(Call& call, Error error) {
  error.context.method = methods_.now().name(call.method);
  error.context.attempts = call.attempts;
  if (error.context.worker < 0) error.context.worker = call.worker;
  if (call.deaths > 0) error.context.started = true;
  if (error.context.started) error.context.retryable = false;
  if (call.probe) breakers_.probe_ended(call.method, call.probe, &error);
  call.error.emplace(std::move(error));
  counters_.failed_by_dispatcher.add();
  complete(call);
}

void DutyCycle::give_up_at_deadline(Call& call, bool sent) {
  counters_.timed_out_by_dispatcher.add();
  call_events_.timed_out(call.method);
  call.timed_out = true;
  give_up(call, waited_too_long(call, methods_.now().name(call.method), sent));
}

void DutyCycle::complete(Call& call) {
  if (call.asynchronous) counters_.asynchronous.subtract();
  if (call.asynchronous && !call.stream) {
    call.finish();
    outbox_.add_ready(call);
  } else {
    wake(call, call.finish(mover_of(call)));
  }
  release(call);
}

// Requires: a reference of the caller's.
void DutyCycle::wake(Call& call, Call::Sleeper sleeper) {
  switch (sleeper) {
    case Call::Sleeper::none: break;
    case Call::Sleeper::futex: outbox_.wake.push_back(&call); break;
    case Call::Sleeper::epoll: outbox_.signals |= kRing; break;
    case Call::Sleeper::poll:
      call.add_reference();  // the ready list's
      outbox_.add_ready(call);
      break;
  }
}

void DutyCycle::release(Call& call) {
  if (call.asynchronous) forget_deadline(call);
  call.drop_dispatchers_reference(mover_of(call));
}

void DutyCycle::ring_workers() {
  bool fenced = false;
  for (Slot& slot : slots()) {
    if (!slot.touched) continue;
    slot.touched = false;
    if (!fenced) ipc::store_load_fence();  // FENCE: see HostEnd::ring_if_asleep().
    fenced = true;
    slot.channel->ring_if_asleep();
  }
}

void DutyCycle::update_load(int index) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  WorkerLoad& load = loads_[static_cast<std::size_t>(index)];
  const bool was_busy = load.in_flight != 0;
  load.available = slot.channel && !slot.broken && !slot.retiring;
  load.in_flight = slot.journal.size();
  busy_ += static_cast<std::uint32_t>(load.in_flight != 0) - static_cast<std::uint32_t>(was_busy);
  if (slot.retiring && load.in_flight == 0 && !std::exchange(slot.drained, true)) outbox_.drained.push_back({index, slot.incarnation});
}

void DutyCycle::violate(int index, std::string what) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  slot.broken = true;
  update_load(index);
  outbox_.violations.push_back({index, slot.incarnation, std::move(what)});
}

// --- deadlines and calls taken back -------------------------------------------------------------------------------------

void DutyCycle::watch_deadline(Call& call) {
  call.due_previous = nullptr;
  call.due_next = due_first_;
  if (due_first_) due_first_->due_previous = &call;
  due_first_ = &call;
  earliest_due_ns_ = std::min(earliest_due_ns_, look_at_ns(call, ipc::now_ns()));
}

void DutyCycle::forget_deadline(Call& call) {
  if (!call.due_previous && due_first_ != &call) return;
  (call.due_previous ? call.due_previous->due_next : due_first_) = call.due_next;
  if (call.due_next) call.due_next->due_previous = call.due_previous;
  call.due_previous = call.due_next = nullptr;
  if (!due_first_) earliest_due_ns_ = ipc::kNever;
}

std::int64_t DutyCycle::next_due_ns() const {
  bool prefetched = false;
  for (std::size_t i = 0; i < slots_used_ && !prefetched; ++i) {
    prefetched = loads_[i].in_flight > 1 && slots_[i].channel && first_waiting(slots_[i]) != slots_[i].journal.sent();
  }
  // Nobody tells of room in a note lane either.
  const std::int64_t due_ns = prefetched || notes_due_ ? std::min(earliest_due_ns_, ipc::now_ns() + kLookAgainNs) : earliest_due_ns_;
  if (batching_.empty() || choose_worker(loads()) < 0) return due_ns;  // a batch can wait until a worker is free, and grows
  return std::min(due_ns, batching_.due_ns());
}

void DutyCycle::run_timers() {
  queue_.settle();
  const bool due = earliest_due_ns_ != ipc::kNever;
  const bool shared = busy_ > 0 && (slots_used_ > 1 || follows_load_);
  if (!due && !shared) return;
  const std::int64_t now_ns = ipc::now_ns();
  if (now_ns >= earliest_due_ns_) expire(now_ns);
  if (shared) take_back_for_idle(now_ns);
}

void DutyCycle::expire(std::int64_t now_ns) {
  earliest_due_ns_ = ipc::kNever;
  for (Call* call = due_first_; call;) {
    Call* next = call->due_next;
    if (call->due_ns() > now_ns) {
      earliest_due_ns_ = std::min(earliest_due_ns_, look_at_ns(*call, now_ns));
    } else if (call->claim()) {
      call->add_reference();  // of queue or journal, until sweep() or the response; complete() drops one
      give_up_at_deadline(*call, call->attempts > 0);
    } else {
      forget_deadline(*call);  // cancelled by its stop_token
    }
    call = next;
  }
  sweep();
}

// Room for calls beside those that run, as far as its worker begins them.
void DutyCycle::renew_credit(int index) {
  const Slot& slot = slots_[static_cast<std::size_t>(index)];
  loads_[static_cast<std::size_t>(index)].credit = slot.stuck ? 0 : slot.concurrency - 1 + credit(options_.prefetch, slot.mean_service_ns);
}

void DutyCycle::sweep() {
  for_each_waiting([this](Call& call) {
    if (call.is_done()) drop_done(call);
  });
  for (Slot& slot : slots()) {
    slot.journal.visit([&](Journal::Entry& entry, std::uint64_t number) {
      if (!entry.call || !entry.call->is_done()) return;
      if (hears_notes(slot, *entry.call) && !entry.cancelled) notes_due_ = true;
      if (!entry.swept) {
        entry.swept = entry.revoked = true;
        slot.channel->requests.revoke(entry.lane_position);
        ipc::store_load_fence();  // FENCE: pairs with the one in WorkerEnd::start(), as in take_back().
      }
      if (number < slot.journal.believe_started(slot.channel->started())) tell_if_unanswered(entry);
    });
  }
  if (notes_due_) send_notes();
  ring_workers();
}

void DutyCycle::drop_done(Call& call) {
  leave(call);
  if (call.deaths > 0 && call.timed_out) breakers_.unanswered(call.method);  // between two attempts
  release(call);
}

// From which number on the calls in a lane wait for those before them. An event loop begins what it has room for; any other worker has
// the first in hand, with its batch.
std::uint64_t DutyCycle::first_waiting(const Slot& slot) {
  if (slot.has_event_loop) return slot.journal.believe_started(slot.channel->started());
  return slot.journal.empty() ? slot.journal.sent() : slot.journal.waiting_from();
}

// What changes as long as a worker moves on.
std::uint64_t DutyCycle::progress(Slot& slot) {
  return slot.has_event_loop ? slot.journal.believe_started(slot.channel->started()) : slot.journal.resolved();
}

bool DutyCycle::is_stuck(const Slot& slot, std::int64_t now_ns) {
  return slot.journal.size() > 1 && now_ns - slot.watched_since_ns >= (slot.has_event_loop ? kStuckLoopNs : kStuckNs);
}

void DutyCycle::set_stuck(std::size_t index, bool stuck) {
  Slot& slot = slots_[index];
  if (!slot.channel || slot.stuck == stuck) return;
  slot.stuck = stuck;
  renew_credit(static_cast<int>(index));
}

void DutyCycle::take_back_for_idle(std::int64_t now_ns) {
  for (std::size_t i = 0; i < slots_used_; ++i) {
    Slot& slot = slots_[i];
    if (!slot.channel) continue;
    if (slot.watched != progress(slot) || slot.journal.size() < 2 || first_waiting(slot) >= slot.journal.sent()) {
      slot.watched = progress(slot);
      slot.watched_since_ns = now_ns;
    }
    // Where all places are taken it has every reason to begin nothing.
    if (slot.has_event_loop) set_stuck(i, is_stuck(slot, now_ns) && slot.journal.size() <= slot.concurrency);
  }
  if (queue_.front()) return;  // idle workers will get those first
  std::uint32_t idle = 0;
  for (std::size_t i = 0; i < slots_used_; ++i) {
    const WorkerLoad& load = loads_[i];
    if (load.available && load.in_flight < std::min(slots_[i].concurrency, load.credit)) idle += slots_[i].concurrency - load.in_flight;
  }
  const auto stuck = [&](const Slot& slot) { return slot.channel && is_stuck(slot, now_ns); };
  if (idle == 0 && tells_waiting_ && std::ranges::any_of(slots(), stuck)) tell_waiting();
  for (std::size_t i = 0; i < slots_used_ && idle > 0; ++i) {
    Slot& slot = slots_[i];
    if (!stuck(slot)) continue;
    const std::uint64_t first = first_waiting(slot);
    for (std::uint64_t number = slot.journal.sent(); number-- > first && idle > 0;) {
      if (take_back(static_cast<int>(i), number)) --idle;
    }
  }
  send_pending();
}

bool DutyCycle::take_back(int index, std::uint64_t number) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  Journal::Entry& entry = slot.journal.at(number);
  if (!entry.call || !entry.revocable || entry.revoked || entry.answered) return false;
  entry.revoked = true;
  slot.channel->requests.revoke(entry.lane_position);
  ipc::store_load_fence();  // FENCE: pairs with the one in WorkerEnd::start(): we see `started` or the worker sees `revoked`.
  if (slot.journal.believe_started(slot.channel->started()) > number) return true;  // its response will say which
  Call& call = *std::exchange(entry.call, nullptr);
  if (call.claim()) {
    call.to_queued();
    wait_again(call);
    counters_.taken_back.add();
  } else {
    release(call);
  }
  return true;
}

void DutyCycle::announce_asleep(bool asleep) {
  if (asleep_ == asleep) return;
  asleep_ = asleep;
  for (Slot& slot : slots()) {
    if (slot.channel) slot.channel->announce_asleep(asleep);
  }
}

}  // namespace samovar::core
