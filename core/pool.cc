// The one place that wires: starts everything, and stops it in reverse.
#include <samovar/config.h>
#include <samovar/pool.h>

#include <unistd.h>

#include <utility>

#include "core/arenas/request_arena.h"
#include "core/config/origins.h"
#include "core/dispatch/dispatcher.h"
#include "core/dispatch/wake_set.h"
#include "core/errors.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"
#include "core/observe/log.h"
#include "core/options.h"
#include "core/supervision/launch_plan.h"
#include "core/supervision/supervisor.h"
#include "core/supervision/thread_counts.h"
#include "core/topology/machine.h"

namespace samovar {
namespace core {

class PoolState {
 public:
  PoolState(Resolved resolved, LaunchPlan plan, std::unique_ptr<WakeSet> set, RequestArena::Owner requests)
      : options(std::move(resolved.options)),
        placement(std::move(resolved.plan)),
        log(options),
        wake_set(std::move(set)),
        arena(std::move(requests)),
        supervisor(options, std::move(plan), placement, counters, *arena, log, bell, events) {}

  ~PoolState() {
    if (!dispatcher) return;
    dispatcher->drain(ipc::now_ns());
    supervisor.stop();
    dispatcher->tell_the_rest();  // before it is gone: who is told may use the pool, and learns that it has stopped
    dispatcher.reset();
  }

  const Options options;
  const Plan placement;  // who runs where
  const pid_t owner = getpid();
  Log log;
  Bell bell;  // wakes the supervisor
  Events events{options, log, bell};
  Counters counters;
  std::unique_ptr<WakeSet> wake_set;
  RequestArena::Owner arena;
  Supervisor supervisor;
  std::unique_ptr<Dispatcher> dispatcher;  // last: it uses all of the above
};

}  // namespace core

Result<Pool> Pool::start(Options requested) {
  if (requested.environment == Environment::apply) {
    Result<Options> applied = apply_environment(std::move(requested));
    if (!applied) return tl::unexpected(std::move(applied.error()));
    requested = std::move(*applied);
  }
  const bool one_thread_each = core::compute_with_one_thread(requested);
  Result<core::Resolved> resolved = core::resolve(std::move(requested), core::this_machine(), one_thread_each);
  if (!resolved) return tl::unexpected(std::move(resolved.error()));
  Options& options = resolved->options;
  Result<core::LaunchPlan> plan = core::plan_launch(options);
  if (!plan) return tl::unexpected(std::move(plan.error()));
  options.python = plan->python;
  auto wake_set = core::WakeSet::create();
  if (!wake_set) return tl::unexpected(core::start_refused(wake_set.error(), "starting a pool"));
  auto arena = core::RequestArena::create(options.name, options.request_arena_bytes, core::memory_nodes(resolved->plan));
  if (!arena) return tl::unexpected(core::start_refused(arena.error(), "starting a pool"));

  auto state = std::make_unique<core::PoolState>(std::move(*resolved), std::move(*plan), std::move(*wake_set), std::move(*arena));
  if (state->options.origins) {
    for (const core::Note& note : state->options.origins->notes) state->log.write(note.level, note.line);
  }
  if (const std::optional<ipc::SystemError>& refused = state->arena->unbound()) {
    state->log.warning("memory cannot be kept on the workers' NUMA nodes: " + refused->to_string() + "; calls work, some may take longer. "
                       "A container needs CAP_SYS_NICE or a seccomp profile that allows mbind and set_mempolicy; pinning = \"none\" asks for no node");
  }
  Result<std::vector<ipc::Method>> methods = state->supervisor.start_workers();
  if (!methods) return tl::unexpected(std::move(methods.error()));

  state->dispatcher = std::make_unique<core::Dispatcher>(
      state->options, core::MethodTable(std::move(*methods)), state->counters, state->events, *state->arena, *state->wake_set,
      state->bell, state->placement.spinners_max,
      core::Dispatcher::Supervision{
          .kill_worker = [supervisor = &state->supervisor](const core::DutyCycle::Violation& violation) { supervisor->kill_worker(violation); },
          .worker_drained = [supervisor = &state->supervisor](core::DutyCycle::Drained drained) { supervisor->worker_drained(drained); },
          .calls_wait = [supervisor = &state->supervisor] { supervisor->calls_wait(); }});
  if (state->options.fallback == Fallback::oneshot || !state->options.pool_enabled) {
    state->dispatcher->use_one_shots(state->supervisor.launcher(), state->events, state->log);
  }
  if (state->options.dispatcher == Dispatcher::pinned && !state->dispatcher->start_pinned(state->placement.dispatcher_cpu)) {
    state->log.warning("the dispatcher could not be pinned to CPU " + std::to_string(state->placement.dispatcher_cpu) +
                       "; it runs wherever the kernel likes");
  }
  state->supervisor.serve(*state->dispatcher);
  return Pool(std::move(state));
}

Pool::Pool(std::unique_ptr<core::PoolState> state) : state_(std::move(state)) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;

Pool::~Pool() {
  // A child that the host forked has the memory of a pool but none of its threads: the workers are its parent's.
  if (state_ && state_->owner != getpid()) (void)state_.release();
}

Result<Reply> Pool::call(std::string_view method, const Payload& payload, const CallOptions& options) {
  return state_->dispatcher->call(method, payload, options);
}

Result<void> Pool::submit(std::string_view method, const Payload& payload, Callback done, const CallOptions& options) {
  return state_->dispatcher->submit(method, payload, std::move(done), options);
}

Result<Stream> Pool::stream(std::string_view method, const Payload& payload, const CallOptions& options) {
  return state_->dispatcher->stream(method, payload, options);
}

Result<void> Pool::submit_stream(std::string_view method, const Payload& payload, std::function<void(Reply)> on_chunk, Callback on_end,
                                 const CallOptions& options) {
  return state_->dispatcher->submit_stream(method, payload, std::move(on_chunk), std::move(on_end), options);
}

Result<Loan> Pool::loan(std::size_t bytes, Duration wait) {
  const std::int64_t until_ns = wait > Duration::zero() ? ipc::in(wait.count()) : 0;  // the clock costs a tenth of a call
  Result<detail::Block> block = state_->dispatcher->loan(bytes, until_ns);
  if (!block) return tl::unexpected(std::move(block.error()));
  std::byte* data = state_->arena->at(block->offset());
  return Loan(std::move(*block), {data, bytes});
}

AsyncCall Pool::async_call(std::string_view method, const Payload& payload, const CallOptions& options) {
  return state_->dispatcher->async_call(method, payload, options);
}

std::vector<Result<Reply>> Pool::call_many(std::span<const Request> requests, const CallOptions& options) {
  return state_->dispatcher->call_many(requests, options);
}

std::vector<Result<Reply>> Pool::call_many(std::string_view method, std::span<const Payload> payloads, const CallOptions& options) {
  return state_->dispatcher->call_many(method, payloads, options);
}

detail::MethodTarget Pool::resolve(std::string_view name, std::size_t arguments) const {
  core::Dispatcher& dispatcher = *state_->dispatcher;
  const Result<std::uint32_t> number = dispatcher.find(name);
  if (!number) return {.error = std::make_shared<const Error>(number.error())};
  const ipc::Method& method = dispatcher.methods().method(*number);
  if (method.stream) return {.error = std::make_shared<const Error>(core::is_a_stream(name))};
  const bool fits = method.keyword.empty() && arguments >= method.positional_min && arguments <= method.positional_max;
  if (!fits) return {.error = std::make_shared<const Error>(core::wrong_arity(method, arguments))};
  return {.dispatcher = &dispatcher, .number = *number, .error = {}};
}

void Pool::expose_function(std::string_view name, detail::HostFunction function) { state_->dispatcher->expose(name, std::move(function)); }

std::size_t Pool::poll() { return state_->dispatcher->poll(); }

int Pool::completion_fd() const { return state_->wake_set->completion_fd(); }

void Pool::drain(Duration timeout) {
  const std::int64_t began_ns = ipc::now_ns();
  state_->dispatcher->drain(ipc::in(timeout.count()));
  Event drained{.kind = EventKind::pool_drained, .message = "every accepted call has its outcome; the workers are ended"};
  drained.took = std::chrono::nanoseconds(ipc::now_ns() - began_ns);
  state_->events.post(std::move(drained));
  state_->supervisor.stop();
}

Result<void> Pool::reload() { return state_->supervisor.reload(); }

Stats Pool::stats() const {
  const core::Counters& c = state_->counters;
  return {.accepted = state_->dispatcher->accepted(),
          .replied = c.replied.get() + c.replied_alone.get(),
          .failed = c.failed_by_dispatcher.get() + c.failed_by_waiter.get() + c.failed_alone.get(),
          .timed_out = c.timed_out_by_dispatcher.get() + c.timed_out_by_waiter.get() + c.timed_out_alone.get(),
          .cancelled = c.cancelled.get(),
          .workers_lost = c.workers_lost.get(),
          .workers_killed = c.workers_killed.get(),
          .workers_recycled = c.workers_recycled.get(),
          .overflow_started = c.overflow_started.get(),
          .overflow_ended = c.overflow_ended.get(),
          .calls_lost = c.calls_lost.get() + c.lost_alone.get(),
          .one_shots = c.one_shots.get(),
          .requeued = c.requeued.get(),
          .taken_back = c.taken_back.get(),
          .late_replies = c.late_replies.get(),
          .rejected = c.rejected.get(),
          .violations = c.violations.get(),
          .workers_ready = static_cast<std::uint32_t>(c.workers_ready.get()),
          .workers_base = static_cast<std::uint32_t>(c.workers_base.get()),
          .workers_overflow = static_cast<std::uint32_t>(c.workers_overflow.get()),
          .queued = state_->dispatcher->queued(),
          .in_flight = static_cast<std::uint32_t>(c.in_flight_sent.get() - c.in_flight_ended.get()),
          .request_arena_in_use = state_->arena->bytes_in_use(),
          .request_arena_resident = state_->arena->bytes_backed(),
          .escaped_views = static_cast<std::uint32_t>(c.escaped_views())};
}

std::vector<ProcessStats> Pool::processes() const { return state_->supervisor.processes(); }

std::vector<std::string> Pool::methods() const { return state_->dispatcher->methods().names(); }
const Options& Pool::options() const { return state_->options; }

}  // namespace samovar
