// call_many(): calls that one thread sends together and waits for. They are calls like those of call(), each with its own outcome;
// what differs is that a full queue is waited for by working, until one of the batch's own calls makes room.
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "core/dispatch/dispatcher.h"

namespace samovar::core {
namespace {

constexpr std::size_t kCallsPerTurn = 8;
constexpr std::uint32_t kTogetherMax = 64;  // calls of a method that takes several at once that are prepared, and admitted, in one go

}  // namespace

struct Dispatcher::BatchPrepared {
  Call* call;
  std::size_t entry;  // in Batch::entries
};

struct Dispatcher::Batch {
  struct Entry {
    Call* call = nullptr;  // null: not accepted
    std::unique_ptr<Error> refused;
  };

  Batch(CallPool& pool, std::size_t count) : calls(pool), total(count) { entries.reserve(count); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  ~Batch() {
    for (Call* call : std::span(spares).first(spare_count)) {
      call->drop_reference();
      call->drop_reference();
    }
  }

  // As CallPool::acquire(), for the last of `entries`.
  Call* acquire() {
    if (spare_count == 0) spare_count = calls.acquire(std::span(spares).first(std::min(spares.size(), total - entries.size() + 1)));
    return spare_count == 0 ? nullptr : spares[--spare_count];
  }

  // The first call that has no outcome yet, or null.
  Call* first_undone() {
    for (; undone < entries.size(); ++undone) {
      Call* call = entries[undone].call;
      if (call && !call->is_done()) return call;
    }
    return nullptr;
  }

  CallPool& calls;
  const std::size_t total;
  bool holding = false;  // this thread holds the token: it enters one call after the other
  std::size_t entered = 0;
  std::vector<Entry> entries;
  std::size_t undone = 0;  // those before have their outcome
  std::size_t prepared_count = 0;
  std::array<BatchPrepared, kTogetherMax> prepared;  // and not yet admitted
  std::size_t spare_count = 0;
  std::array<Call*, kTogetherMax> spares;
};

Call* Dispatcher::acquire(Batch& batch) { return batch.acquire(); }

std::vector<Result<Reply>> Dispatcher::call_many(std::span<const Request> requests, const CallOptions& options) {
  return run_batch(requests.size(), 1, options, [&](std::size_t i) {
    return std::pair<Result<std::uint32_t>, const Payload&>(find(requests[i].method), requests[i].payload);
  });
}

std::vector<Result<Reply>> Dispatcher::call_many(std::string_view method, std::span<const Payload> payloads,
                                                 const CallOptions& options) {
  const Result<std::uint32_t> number = find(method);
  const std::uint32_t together = number ? std::min(duty_.calls_at_once(*number), kTogetherMax) : 1;
  return run_batch(payloads.size(), together, options,
                   [&](std::size_t i) { return std::pair<const Result<std::uint32_t>&, const Payload&>(number, payloads[i]); });
}

// `together`: of so many calls in a row all can be prepared before the first one is sent.
template <typename At>
std::vector<Result<Reply>> Dispatcher::run_batch(std::size_t count, std::uint32_t together, const CallOptions& options, At&& at) {
  CallOptions each = options;
  each.timeout.reset();
  each.deadline = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_of(options)));
  each.when_full = WhenFull::wait;

  Batch batch(*calls_, count);
  std::vector<Result<Reply>> outcomes;
  outcomes.reserve(count);  // as the entries before the first call: no call of ours must be left without its waiter
  for (std::size_t i = 0; i < count;) {
    const std::size_t first = i;
    while (i < std::min(count, first + together)) {
      const auto& [number, payload] = at(i);
      if (number && payload.size() > options_.inline_bytes_max) {  // its place may have to be waited for, by the calls before it, too
        if (i != first) break;
        if (std::exchange(batch.holding, false)) release_token();
      }
      ++i;
      const std::size_t place = batch.entries.size();
      Batch::Entry& entry = batch.entries.emplace_back();
      if (!number) {
        counters_.rejected.add();
        entry.refused = std::make_unique<Error>(number.error());
      } else if (Result<Call*> prepared = prepare(*number, payload, each, &batch)) {
        batch.prepared[batch.prepared_count++] = {*prepared, place};
      } else {
        entry.refused = std::make_unique<Error>(std::move(prepared.error()));
      }
    }
    send_in_batch(batch, each);
  }
  // From the back: when the last one is done the others mostly are, and the token has been taken once for all of them.
  for (std::size_t i = count; i-- > 0;) {
    Call* call = batch.entries[i].call;
    if (call && !call->is_done()) wait(*call, std::exchange(batch.holding, false) ? Holding::yes : Holding::no);
  }
  if (batch.holding) {
    release_token();
  } else {
    ipc::store_load_fence();  // FENCE: see token <-> waiter in token.h, as at the end of wait().
    if (!token_.is_held()) waiters_.wake_one_unless_sentinel();
  }
  for (Batch::Entry& entry : batch.entries) {
    if (!entry.call) {
      outcomes.emplace_back(tl::unexpect, std::move(*entry.refused));
      continue;
    }
    entry.call->on_stop.reset();
    outcomes.push_back(entry.call->take_outcome());
  }
  return outcomes;
}

// Admits those that have been prepared, and enters or enqueues them.
void Dispatcher::send_in_batch(Batch& batch, const CallOptions& options) {
  const std::span<BatchPrepared> prepared = std::span(batch.prepared).first(std::exchange(batch.prepared_count, 0));
  const bool several = prepared.size() > 1 && std::ranges::none_of(prepared, [](const BatchPrepared& one) { return one.call->alone; });
  for (std::size_t first = 0; first < prepared.size();) {
    std::uint64_t ticket = 0;
    std::size_t count = several ? queue_.admit_several(ticket, static_cast<std::uint32_t>(prepared.size() - first)) : 0;
    const std::span<BatchPrepared> admitted = prepared.subspan(first, std::max<std::size_t>(count, 1));
    first += admitted.size();
    for (const BatchPrepared& one : admitted.first(count)) one.call->ticket = ticket++;
    if (count == 0) {
      if (Result<void> alone = admit(*admitted.front().call, options, &batch); !alone) {
        batch.entries[admitted.front().entry].refused = std::make_unique<Error>(std::move(alone.error()));
        continue;
      }
    }
    for (const BatchPrepared& one : admitted) batch.entries[one.entry].call = one.call;
    if (!enter_in_batch(batch, admitted, options.stop)) {
      for (const BatchPrepared& one : admitted) enqueue_in_batch(*one.call, options.stop);
    }
  }
}

// Enters them as the holder of the token. False: this thread is not, or must not be.
bool Dispatcher::enter_in_batch(Batch& batch, std::span<const BatchPrepared> calls, const std::stop_token& stop) {
  const Call& one = *calls.front().call;
  const bool may_hold = options_.dispatcher != samovar::Dispatcher::pinned && !stop.stop_possible() && !one.alone;
  if (!may_hold || (!batch.holding && !token_.try_acquire())) {
    if (std::exchange(batch.holding, false)) release_token();
    return false;
  }
  batch.holding = true;
  duty_.set_waiter(&batch);
  const std::uint32_t at_once = std::min(duty_.gather(one.method), kTogetherMax);
  const std::size_t before = std::exchange(batch.entered, batch.entered + calls.size());
  std::array<Call*, kTogetherMax> together;
  std::ranges::transform(calls, together.begin(), &BatchPrepared::call);
  if (at_once == 1 || !duty_.enter_batch(std::span(together).first(calls.size()))) {
    for (const BatchPrepared& prepared : calls) duty_.enter(*prepared.call);
  }
  // What comes back meanwhile makes room for what follows; a turn for each call would cost as much as the call.
  const std::size_t per_turn = at_once > 1 ? at_once : kCallsPerTurn;
  if (batch.entered / per_turn != before / per_turn || (at_once == 1 && duty_.has_work())) turn();
  duty_.stop_gathering();
  return true;
}

void Dispatcher::enqueue_in_batch(Call& call, const std::stop_token& stop) {
  call.to_queued();
  if (stop.stop_possible()) call.on_stop.emplace(stop, Call::OnStop{&call});  // may cancel at once
  enqueue(call);
  if (options_.dispatcher == samovar::Dispatcher::pinned || !token_.try_acquire()) return;
  turn();
  release_token();
}

// A place comes free with some turn. Helping is the fastest way there.
void Dispatcher::await_room(Batch* batch, Call& call) {
  Call* const own = batch ? batch->first_undone() : nullptr;
  const bool holding = batch && std::exchange(batch->holding, false);
  if (!holding && (options_.dispatcher == samovar::Dispatcher::pinned || !token_.try_acquire())) return await_progress(call.deadline_ns);
  if (!own) {
    turn();
    release_token();
    await_progress(call.deadline_ns);
  } else if (work_until_done(*own, Until::done_or_room)) {
    release_token();
  } else if (!sleep_as_sentinel(*own)) {  // which any worker wakes
    await_progress(call.deadline_ns);
  }
}

}  // namespace samovar::core
