// call_many(): calls that one thread sends together and waits for. They are calls like those of call(), each with its own outcome;
// what differs is that a full queue is waited for by working, until one of the batch's own calls makes room.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "core/dispatch/dispatcher.h"

namespace samovar::core {
namespace {

constexpr std::size_t kCallsPerTurn = 8;
constexpr std::uint32_t kCallsPerTurnMax = 64;  // of methods that take more at once

}  // namespace

struct Dispatcher::Batch {
  struct Entry {
    Call* call = nullptr;  // null: not accepted
    std::unique_ptr<Error> refused;
  };

  // The first call that has no outcome yet, or null.
  Call* first_undone() {
    for (; undone < entries.size(); ++undone) {
      Call* call = entries[undone].call;
      if (call && !call->is_done()) return call;
    }
    return nullptr;
  }

  bool holding = false;  // this thread holds the token: it enters one call after the other
  std::vector<Entry> entries;
  std::size_t undone = 0;  // those before have their outcome
};

std::vector<Result<Reply>> Dispatcher::call_many(std::span<const Request> requests, const CallOptions& options) {
  return run_batch(requests.size(), options, [&](std::size_t i) {
    return std::pair<Result<std::uint32_t>, const Payload&>(find(requests[i].method), requests[i].payload);
  });
}

std::vector<Result<Reply>> Dispatcher::call_many(std::string_view method, std::span<const Payload> payloads,
                                                 const CallOptions& options) {
  const Result<std::uint32_t> number = find(method);
  return run_batch(payloads.size(), options,
                   [&](std::size_t i) { return std::pair<const Result<std::uint32_t>&, const Payload&>(number, payloads[i]); });
}

template <typename At>
std::vector<Result<Reply>> Dispatcher::run_batch(std::size_t count, const CallOptions& options, At&& at) {
  CallOptions each = options;
  each.timeout.reset();
  each.deadline = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_of(options)));
  each.when_full = WhenFull::wait;

  Batch batch;
  std::vector<Result<Reply>> outcomes;
  batch.entries.reserve(count);  // both before the first call: no call of ours must be left without its waiter
  outcomes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& [number, payload] = at(i);
    Batch::Entry& entry = batch.entries.emplace_back();
    if (!number) {
      counters_.rejected.add();
      entry.refused = std::make_unique<Error>(number.error());
      continue;
    }
    if (batch.holding && payload.data().size() > options_.inline_bytes_max) {  // its place may have to be waited for
      batch.holding = false;
      release_token();
    }
    Result<Call*> prepared = prepare(*number, payload, each);
    Result<void> admitted;
    if (prepared) admitted = admit(**prepared, each, &batch);
    if (!prepared || !admitted) {
      entry.refused = std::make_unique<Error>(std::move(prepared ? admitted.error() : prepared.error()));
      continue;
    }
    entry.call = *prepared;
    send_in_batch(batch, **prepared, each.stop);
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

void Dispatcher::send_in_batch(Batch& batch, Call& call, const std::stop_token& stop) {
  const bool may_hold = options_.dispatcher != samovar::Dispatcher::pinned && !stop.stop_possible() && !call.alone;
  if (may_hold && (batch.holding || token_.try_acquire())) {
    batch.holding = true;
    const std::uint32_t at_once = duty_.gather(call);
    duty_.enter(call);
    // What comes back meanwhile makes room for what follows; a turn for each call would cost as much as the call.
    const std::size_t entered = batch.entries.size();
    if (at_once > 1 ? entered % std::min(at_once, kCallsPerTurnMax) == 0 : duty_.has_work() || entered % kCallsPerTurn == 0) turn();
    duty_.stop_gathering();
    return;
  }
  if (std::exchange(batch.holding, false)) release_token();
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
