// The dispatcher's part that calls come in by: looked up, given a place for their payload, admitted, and sent or queued.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kCoarseTimeoutNs = 1'000'000'000;  // from here a tick more or less does not matter

}  // namespace

std::int64_t Dispatcher::deadline_of(const CallOptions& options) const {
  std::int64_t deadline_ns = ipc::kNever;
  if (options.deadline) deadline_ns = options.deadline->time_since_epoch().count();  // steady_clock is CLOCK_MONOTONIC
  if (!options.timeout && options.deadline) return deadline_ns;
  const std::int64_t timeout_ns = options.timeout.value_or(options_.timeout).count();
  const std::int64_t now_ns = timeout_ns >= kCoarseTimeoutNs ? ipc::coarse_now_ns() : ipc::now_ns();
  if (timeout_ns < ipc::kNever - now_ns) deadline_ns = std::min(deadline_ns, now_ns + timeout_ns);
  return deadline_ns;
}

Result<std::uint32_t> Dispatcher::find(std::string_view method) const {
  const int number = methods_.now().find(method);
  if (number >= 0) return static_cast<std::uint32_t>(number);
  return tl::unexpected(unknown_method(method, methods_.now().nearest(method), options_.module));
}

Result<Call*> Dispatcher::prepare(std::uint32_t method, const Payload& payload, const CallOptions& options, Batch* batch) {
  if (!payload.error().empty()) {
    counters_.rejected.add();
    Error error = make_error(Category::request, Code::invalid_payload, payload.error());
    error.context.method = methods_.now().name(method);
    return tl::unexpected(std::move(error));
  }
  Breakers::Probe probe;
  bool alone = !options_.pool_enabled;
  if (!alone && !breakers_.all_closed()) [[unlikely]] {
    Result<Breakers::Probe> admitted = breakers_.admit(method);
    alone = !admitted && one_shots_;
    if (!admitted && !alone) {
      counters_.rejected.add();
      return tl::unexpected(std::move(admitted.error()));
    }
    if (admitted) probe = *admitted;
  }
  Call* call = batch ? acquire(*batch) : calls_->acquire();
  if (!call) {
    Error error = no_calls();
    error.context.method = methods_.now().name(method);
    if (probe) breakers_.probe_ended(method, probe, &error);
    counters_.rejected.add();
    return tl::unexpected(std::move(error));
  }
  call->owner = this;
  call->waiter.store(batch && !options.stop.stop_possible() ? batch : nullptr, std::memory_order_relaxed);
  call->method = method;
  call->probe = probe;
  call->alone = alone;
  call->kind = static_cast<ipc::Kind>(payload.kind());
  call->located = {};
  call->timed = options.timed;
  call->idempotent = options.idempotent;
  call->asynchronous = false;
  call->deadline_ns = deadline_of(options);
  if (several_nodes_) [[unlikely]] call->node = static_cast<std::int16_t>(ipc::node_of_this_thread());
  call->may_wait = options.when_full == WhenFull::wait;
  if (Result<void> placed = place(*call, payload, options); !placed) [[unlikely]] {
    return tl::unexpected(refuse(*call, std::move(placed.error())));
  }
  return call;
}

Error Dispatcher::refuse(Call& call, Error error) {
  error.context.method = methods_.now().name(call.method);
  if (error.code == Code::queue_full) call_events_.queue_full();
  if (error.code == Code::deadline_exceeded) call_events_.timed_out(call.method);
  if (call.probe) breakers_.probe_ended(call.method, call.probe, &error);
  counters_.rejected.add();
  call.drop_reference();
  call.drop_reference();
  return error;
}

Result<void> Dispatcher::admit(Call& call, const CallOptions& options, Batch* batch) {
  for (;;) {
    PendingQueue::Admission admission = call.alone ? admit_alone(call) : queue_.admit(call.ticket);
    if (admission == PendingQueue::Admission::admitted) return succeeded();
    if (admission == PendingQueue::Admission::barred && one_shots_) {
      call.alone = true;
      continue;
    }
    std::optional<Error> error;
    if (options.stop.stop_requested()) {
      error = call_cancelled(methods_.now().name(call.method));
    } else if (admission == PendingQueue::Admission::closed) {
      error = pool_stopped();
    } else if (admission == PendingQueue::Admission::barred) {
      error = why_barred();
    } else if (options.when_full == WhenFull::fail) {
      error = queue_full(options_.queue_limit);
    } else if (ipc::now_ns() >= call.deadline_ns) {
      error = deadline_exceeded(methods_.now().name(call.method), false);
    }
    if (error) return tl::unexpected(refuse(call, std::move(*error)));
    await_room(batch, call);
  }
}

PendingQueue::Admission Dispatcher::admit_alone(Call& call) {
  return one_shots_->has_room() ? queue_.admit_elsewhere(call.ticket) : PendingQueue::Admission::full;
}

Error Dispatcher::why_barred() {
  const std::lock_guard lock(mail_mutex_);
  return *barred_;
}

bool Dispatcher::enter_directly(Call& call) {
  if (call.alone || options_.dispatcher == samovar::Dispatcher::pinned || !token_.try_acquire()) return false;
  duty_.set_waiter(call.waiter.load(std::memory_order_relaxed));
  duty_.enter(call);
  return true;
}

void Dispatcher::enqueue(Call& call) {
  if (call.alone) [[unlikely]] return run_alone(call);
  while (!queue_.enqueue(call)) {
    // No memory for a block of the inbox: wait for the token and go past it.
    if (!call.claim()) {  // cancelled meanwhile
      queue_.forgo();
      call.drop_reference();
      return;
    }
    if (enter_directly(call)) {
      release_token();
      return;
    }
    call.to_queued();
  }
  ipc::store_load_fence();  // FENCE: pairs with the one in release_token() and in run_pinned().
  if (pinned_asleep_.load(std::memory_order_relaxed)) wake_set_.ring_sleeper();
  // Cancelled before it lay there, so that no sweep has found it: its place must not wait for somebody else's turn.
  if (call.is_done()) [[unlikely]] raise_and_help(kAbandoned);
}

Result<Reply> Dispatcher::call(std::string_view method, const Payload& payload, const CallOptions& options) {
  const int number = methods_.now().find(method);
  if (number >= 0) [[likely]] return call(static_cast<std::uint32_t>(number), payload, options);
  counters_.rejected.add();
  return tl::unexpected(find(method).error());
}

Result<Reply> Dispatcher::call(std::uint32_t method, const Payload& payload, const CallOptions& options) {
  Result<Call*> prepared = prepare(method, payload, options);
  if (!prepared) return tl::unexpected(std::move(prepared.error()));
  Call& call = **prepared;
  if (Result<void> admitted = admit(call, options); !admitted) return tl::unexpected(std::move(admitted.error()));

  if (options.stop.stop_possible()) {
    call.to_queued();
    call.on_stop.emplace(options.stop, Call::OnStop{&call});  // may cancel at once
    enqueue(call);
    wait(call, Holding::no);
    call.on_stop.reset();
  } else {
    call.waiter.store(&call, std::memory_order_relaxed);
    const bool entered = enter_directly(call);
    if (!entered) {
      call.to_queued();
      enqueue(call);
    }
    wait(call, entered ? Holding::yes : Holding::no);
  }
  return call.take_outcome();
}

Result<void> Dispatcher::submit(std::string_view method, const Payload& payload, Callback done, const CallOptions& options) {
  const int number = methods_.now().find(method);
  if (number < 0) {
    counters_.rejected.add();
    return tl::unexpected(find(method).error());
  }
  Result<Call*> started = start(static_cast<std::uint32_t>(number), payload, options, Told::by_callback, std::move(done));
  if (!started) return tl::unexpected(std::move(started.error()));
  return {};
}

AsyncCall Dispatcher::async_call(std::string_view method, const Payload& payload, const CallOptions& options) {
  const int number = methods_.now().find(method);
  if (number >= 0) [[likely]] return async_call(static_cast<std::uint32_t>(number), payload, options);
  counters_.rejected.add();
  return AsyncCall(find(method).error());
}

AsyncCall Dispatcher::async_call(std::uint32_t method, const Payload& payload, const CallOptions& options) {
  Result<Call*> started = start(method, payload, options, Told::by_resuming, {});
  return started ? AsyncCall(*started) : AsyncCall(std::move(started.error()));
}

// The returned call is the caller's to use only where it has no callback: that may have run already.
Result<Call*> Dispatcher::start(std::uint32_t method, const Payload& payload, const CallOptions& options, Told told, Callback done,
                                std::unique_ptr<CallStream> stream) {
  Result<Call*> prepared = prepare(method, payload, options);
  if (!prepared) return prepared;
  Call& call = **prepared;
  call.stream = std::move(stream);
  if (!call.payload.empty() && !call.block) {
    std::byte* copy = call.request_buffer.reserve(call.payload.size());
    if (copy != call.payload.data()) std::memcpy(copy, call.payload.data(), call.payload.size());  // parts lie there already
    call.payload = {copy, call.payload.size()};
  }
  if (Result<void> admitted = admit(call, options); !admitted) return tl::unexpected(std::move(admitted.error()));

  call.asynchronous = true;
  call.awaited = told == Told::by_resuming;
  call.awaiting.store(nullptr, std::memory_order_relaxed);
  call.callback = std::move(done);
  if (told == Told::by_stream && call.stream->on_chunk) {
    call.stream->begin_wait();
    (void)call.announce_sleep(Call::Sleeper::poll);
  }
  counters_.asynchronous.add();
  // With Dispatcher::manual the service's poll() sends; otherwise this thread does, where nobody else is at it.
  const bool may_send = options_.dispatcher == samovar::Dispatcher::caller;
  const bool may_stop = options.stop.stop_possible();
  if (!may_send || may_stop || !enter_directly(call)) {
    call.to_queued();
    if (may_stop) arm_stop(call, options.stop);
    enqueue(call);
    if (!may_send || !token_.try_acquire()) {
      backstop_bell_.ring_if_asleep();
      return &call;
    }
  }
  duty_.send_pending();
  if (!duty_.outbox().empty()) deliver(duty_.outbox());
  release_token();
  backstop_bell_.ring_if_asleep();
  return &call;
}

void Dispatcher::arm_stop(Call& call, const std::stop_token& stop) {
  call.stop_armed.store(false, std::memory_order_relaxed);
  call.on_stop.emplace(stop, Call::OnStop{&call});  // may cancel at once
  // RELEASE: pairs with the acquire in run_ready(), which must not take on_stop away while it is being made.
  call.stop_armed.store(true, std::memory_order_release);
}

}  // namespace samovar::core
