#include "core/dispatch/breakers.h"

#include <vector>

#include "core/config/units.h"
#include "core/errors.h"
#include "ipc/clock.h"

namespace samovar::core {
namespace {

using Answer = BreakerStep::Answer;
using Change = BreakerStep::Change;

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

BreakerRules rules_for(const Options& options, std::uint32_t failures) {
  return {.failures = failures,
          .window_ns = options.breaker_window.count(),
          .delay_ns = options.breaker_delay.count(),
          .probes = options.breaker_probes};
}

}  // namespace

Finding finding_of(const Error& error) {
  switch (error.category) {
    case Category::worker:
    case Category::timeout: return error.context.started ? Finding::failure : Finding::nothing;
    case Category::cancelled:
    case Category::shutdown: return Finding::nothing;
    default: return error.context.started ? Finding::success : Finding::nothing;
  }
}

Breakers::Breakers(const Options& options, const MethodTable& methods, Events& events)
    : options_(options),
      events_(events),
      can_open_(options.breaker_failures > 0 || options.pool_breaker_failures > 0),
      pool_gate_({}, rules_for(options, options.pool_breaker_failures)) {
  extend(methods);
}

void Breakers::extend(const MethodTable& methods) {
  const std::lock_guard lock(mutex_);
  const std::vector<std::string> names = methods.names();
  for (std::size_t i = gates_.size(); i < names.size(); ++i) gates_.emplace_back(names[i], rules_for(options_, options_.breaker_failures));
}

Result<Breakers::Probe> Breakers::admit(std::uint32_t method) {
  if (all_closed()) return Probe{};
  const std::int64_t now_ns = ipc::now_ns();
  const std::lock_guard lock(mutex_);
  Gate& own = gates_[method];
  Gate& pool = pool_gate_;
  Probe probe;
  const BreakerStep of_own = own.breaker.next(BreakerEvent::call, now_ns);
  if (of_own.answer == Answer::refuse) return refuse(method, own, now_ns);
  follow(own, of_own.change);
  if (of_own.answer == Answer::probe) probe.of_method = own.breaker.period();

  const BreakerStep of_pool = pool.breaker.next(BreakerEvent::call, now_ns);
  if (of_pool.answer == Answer::refuse) {
    if (probe.of_method != 0) step(own, BreakerEvent::probe_dropped, now_ns, probe.of_method);
    return refuse(method, pool, now_ns);
  }
  follow(pool, of_pool.change);
  if (of_pool.answer == Answer::probe) probe.of_pool = pool.breaker.period();
  return probe;
}

void Breakers::probe_ended(std::uint32_t method, Probe probe, const Error* error) {
  const Finding finding = error ? finding_of(*error) : Finding::success;
  const BreakerEvent event = finding == Finding::success   ? BreakerEvent::probe_succeeded
                             : finding == Finding::failure ? BreakerEvent::probe_failed
                                                           : BreakerEvent::probe_dropped;
  const std::int64_t now_ns = ipc::now_ns();
  const std::lock_guard lock(mutex_);
  const auto tell = [&](Gate& gate, std::uint32_t period) {
    if (period == 0) return;
    if (finding == Finding::failure) gate.why = error->message;
    step(gate, event, now_ns, period);
  };
  tell(gates_[method], probe.of_method);
  tell(pool_gate_, probe.of_pool);
}

void Breakers::failed(std::uint32_t method, std::string_view why) {
  if (!can_open_) return;
  const std::int64_t now_ns = ipc::now_ns();
  const std::lock_guard lock(mutex_);
  for (Gate* gate : {&gates_[method], &pool_gate_}) {
    if (gate->breaker.state() != BreakerState::closed) continue;
    gate->why = why.empty() ? quoted(gates_[method].method) + " was not answered before its deadline" : std::string(why);
    step(*gate, BreakerEvent::failed, now_ns);
  }
}

void Breakers::step(Gate& gate, BreakerEvent event, std::int64_t now_ns, std::uint32_t period) {
  follow(gate, gate.breaker.next(event, now_ns, period).change);
}

void Breakers::follow(Gate& gate, Change change) {
  if (change == Change::none) return;
  const std::string calls = gate.method.empty() ? "calls of any method" : "calls of " + quoted(gate.method);
  Event event{.method = gate.method};
  switch (change) {
    case Change::none: break;
    case Change::opened:
      event.kind = EventKind::breaker_opened;
      event.message = calls + " are refused for " + format_duration(options_.breaker_delay) + ": " + gate.why;
      break;
    case Change::probing:
      event.kind = EventKind::breaker_probing;
      event.message = calls + " are tried again, " + std::to_string(options_.breaker_probes) + " at once";
      break;
    case Change::closed:
      event.kind = EventKind::breaker_closed;
      event.message = calls + " are let through again";
      break;
  }
  const bool shut = change != Change::closed;
  if (std::exchange(gate.shut, shut) != shut) shut_.fetch_add(shut ? 1u : ~0u, std::memory_order_relaxed);
  events_.post(std::move(event));
}

tl::unexpected<Error> Breakers::refuse(std::uint32_t method, const Gate& gate, std::int64_t now_ns) const {
  const bool of_pool = gate.method.empty();
  const std::string rule = of_pool ? "pool_breaker_failures = " + std::to_string(options_.pool_breaker_failures)
                                   : "breaker_failures = " + std::to_string(options_.breaker_failures);
  std::string again = "a call that tries it is on its way";
  if (gate.breaker.state() == BreakerState::open) {
    const std::int64_t left_ms = (gate.breaker.retry_ns() - now_ns + 999'999) / 1'000'000;
    again = "it is tried again in " + std::to_string(left_ms) + " ms";
  }
  Error error = make_error(Category::resource, Code::breaker_open,
                           (of_pool ? "calls of this pool fail" : quoted(gate.method) + " fails") + " too often (" + rule +
                               " within breaker_window = " + format_duration(options_.breaker_window) + "), last: " + gate.why + "; " + again);
  error.context.method = gates_[method].method;
  error.context.retryable = true;
  return tl::unexpected(std::move(error));
}

}  // namespace samovar::core
