// The duty cycle's part for workers that come and go, and for what becomes of calls where none is left.
#include <algorithm>
#include <utility>
#include <vector>

#include "core/dispatch/duty_cycle.h"
#include "core/errors.h"

namespace samovar::core {

namespace {

// Of a call and those behind it in its batch: a batch runs on for as long as anybody waits for one of them.
std::int64_t latest_deadline(Journal& journal, std::uint64_t number) {
  std::int64_t latest_ns = 0;
  for (const std::uint64_t end = number + journal.at(number).batch_rest + 1; number != end; ++number) {
    if (const Call* call = journal.at(number).call) latest_ns = std::max(latest_ns, call->deadline_ns);
  }
  return latest_ns;
}

}  // namespace

void DutyCycle::attach(Attachment attachment) {
  Slot& slot = slots_[static_cast<std::size_t>(attachment.slot)];
  slot.channel = std::move(attachment.channel);
  slot.incarnation = attachment.incarnation;
  slot.worker = attachment.worker;
  slot.numbers = std::move(attachment.numbers);
  slot.journal.begin(slot.channel->requests.records());
  slot.broken = slot.retiring = slot.drained = false;
  slot.watched = UINT64_MAX;  // its progress is watched from the next look on
  slot.mean_service_ns = 0;
  slot.concurrency = attachment.concurrency;
  slot.has_event_loop = attachment.has_event_loop;
  slot.stuck = false;
  renew_credit(attachment.slot);
  loads_[static_cast<std::size_t>(attachment.slot)].node = attachment.node;
  slot.channel->announce_asleep(asleep_);
  slots_used_ = std::max(slots_used_, static_cast<std::size_t>(attachment.slot) + 1);
  update_load(attachment.slot);
}

void DutyCycle::retire(int index, std::uint64_t incarnation) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (!slot.channel || slot.incarnation != incarnation) return;
  slot.retiring = true;
  const std::uint64_t first = first_waiting(slot);
  for (std::uint64_t number = slot.journal.sent(); number-- > first;) take_back(index, number);
  update_load(index);
}

void DutyCycle::report(std::vector<Report>& reports) {
  reports.assign(slots_.size(), {});
  for (std::size_t i = 0; i < slots_used_; ++i) {
    Slot& slot = slots_[i];
    if (!slot.channel) continue;
    reports[i] = {.incarnation = slot.incarnation, .in_flight = slot.journal.size()};
    // Of those that run at once the one that is overdue first; of those in a row the first that was not taken back, with its batch.
    const std::uint64_t begun = slot.has_event_loop ? first_waiting(slot) : UINT64_MAX;
    bool found = false;
    slot.journal.visit([&](const Journal::Entry& entry, std::uint64_t number) {
      if (!entry.call || (found && (!slot.has_event_loop || number >= begun || entry.call->deadline_ns >= reports[i].deadline_ns))) return;
      found = true;
      reports[i].method = entry.call->method;
      reports[i].deadline_ns = slot.has_event_loop ? entry.call->deadline_ns : latest_deadline(slot.journal, number);
    });
  }
}

DutyCycle::Demand DutyCycle::demand() {
  const Call* first = queue_.front();
  Demand demand{.waiting = first ? queue_.size() - batching_.size() : 0, .oldest = first ? first->ticket : 0, .newest = queue_.admitted(), .at_ns = ipc::now_ns()};
  const auto waits = [&](std::uint32_t count, std::uint64_t ticket) {
    demand.waiting += count;
    demand.oldest = demand.oldest == 0 ? ticket : std::min(demand.oldest, ticket);
  };
  // One worker takes a batch. That is why one which still waits for more calls is none that waits for a worker.
  if (const Batching::Waiting ready = batching_.ready_at(demand.at_ns); ready.batches > 0) waits(ready.batches, ready.oldest);
  for (Slot& slot : slots()) {  // those behind the first in a lane wait, too
    if (!slot.channel) continue;
    for (std::uint64_t number = first_waiting(slot); number < slot.journal.sent(); ++number) {
      const Journal::Entry& entry = slot.journal.at(number);
      if (!entry.call || entry.call->is_done()) continue;
      waits(1, entry.call->ticket);
      number += entry.batch_rest;
    }
  }
  tells_waiting_ = follows_load_ && demand.oldest == 0;
  return demand;
}

void DutyCycle::bar(std::shared_ptr<const Error> why) { barred_ = std::move(why); }

std::shared_ptr<ipc::HostEnd> DutyCycle::detach(int index, const Death& death) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (!slot.channel || slot.incarnation != death.incarnation) return nullptr;
  while (take_responses(index) > 0) {  // the last drain: what it had published before it died counts
  }
  const std::uint64_t started = slot.journal.believe_started(slot.broken ? UINT64_MAX : slot.channel->started());
  slot.journal.visit([&](Journal::Entry& entry, std::uint64_t number) { lose(index, entry, death, number < started); });
  slot.journal.begin(0);
  slot.touched = false;
  counters_.views_returned.add(slot.escaped.size());
  slot.escaped.clear();
  std::shared_ptr<ipc::HostEnd> channel = std::exchange(slot.channel, nullptr);
  slot.retiring = false;
  std::erase_if(outbox_.violations, [&](const Violation& v) { return v.slot == index && v.incarnation == death.incarnation; });
  update_load(index);
  while (slots_used_ > 0 && !slots_[slots_used_ - 1].channel) --slots_used_;
  return channel;
}

void DutyCycle::lose(int index, Journal::Entry& entry, const Death& death, bool started) {
  counters_.in_flight_ended.add();
  if (!entry.call) return;
  Call& call = *entry.call;
  if (!call.claim()) {  // answered already, by its deadline or its stop_token
    if (started) tell_if_unanswered(entry);
    release(call);
    return;
  }
  const bool has_told = call.stream && call.stream->came > 0;  // part of it: it cannot be begun again
  if (ipc::has_passed(call.deadline_ns)) {  // its caller is about to say so, and may have been kept from it until an overdue worker was killed
    if (started) breakers_.unanswered(call.method);
    return give_up_at_deadline(call, true);
  }
  if (started ? ++call.deaths < options_.max_attempts && call.idempotent && !has_told : call.requeues++ < options_.requeue_limit) {
    call.to_queued();
    wait_again(call);
    counters_.requeued.add();
    return;
  }
  Error error = worker_lost(methods_.now().name(call.method), slots_[static_cast<std::size_t>(index)].worker, death.how, started);
  error.context.incarnation = death.incarnation;
  error.context.output = death.output;
  error.context.stacks = death.stacks;
  counters_.calls_lost.add();
  if (started) breakers_.lost(call.method, error.message);
  give_up(call, std::move(error));
}

// No worker will run those that wait.
void DutyCycle::end_waiting() {
  if (options_.fallback == Fallback::none) return fail_waiting(*barred_);
  for_each_waiting([this](Call& call) {
    leave(call);
    if (call.asynchronous) forget_deadline(call);
    outbox_.stranded.push_back(&call);
  });
}

void DutyCycle::fail_waiting(const Error& error) {
  for_each_waiting([&](Call& call) {
    leave(call);
    if (call.claim()) {
      give_up(call, error);
    } else {
      release(call);
    }
  });
}

void DutyCycle::fail_all(const Error& error) {
  take_inbox();
  fail_waiting(error);
  for (Slot& slot : slots()) {
    slot.journal.visit([&](Journal::Entry& entry, std::uint64_t) {
      if (!entry.call || !entry.call->claim()) return;
      Error failed = error;
      failed.context.started = true;
      entry.call->add_reference();  // the journal's, until the response or the death
      give_up(*entry.call, std::move(failed));
    });
  }
}

}  // namespace samovar::core
