#include "core/options.h"

#include <optional>
#include <string>
#include <utility>

#include "core/config/option_value.h"
#include "core/config/origins.h"
#include "core/errors.h"
#include "ipc/channel.h"

namespace samovar {

std::string_view to_string(Dispatcher dispatcher) {
  constexpr std::string_view kNames[] = {"auto", "caller", "manual", "pinned"};
  return kNames[static_cast<std::size_t>(dispatcher)];
}

std::string_view to_string(WorkerStart start) { return start == WorkerStart::exec ? "exec" : "nursery"; }

std::string_view to_string(Fallback fallback) { return fallback == Fallback::oneshot ? "oneshot" : "none"; }

std::string_view to_string(Pinning pinning) {
  constexpr std::string_view kNames[] = {"auto", "none", "core", "node"};
  return kNames[static_cast<std::size_t>(pinning)];
}

std::string_view to_string(LogLevel level) {
  constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

}  // namespace samovar

namespace samovar::core {
namespace {

tl::unexpected<Error> invalid(std::string message) {
  return tl::unexpected(make_error(Category::configuration, Code::invalid_option, std::move(message)));
}

}  // namespace

Result<Resolved> resolve(Options options, const Machine& machine, bool one_thread_each) {
  const auto place = [&](std::string_view option) { return place_of(options, *find_option(option)); };

  if (options.module.empty()) return invalid("module is empty; name a Python file (\"models.py\") or an importable module");
  for (const OptionRow& row : option_table()) {
    if (const auto within = check_range(options, row); !within) return invalid(place_of(options, row) + within.error());
  }
  if (const char* wrong = ipc::check({.lane_bytes = options.lane_bytes, .payload_bytes_max = options.inline_bytes_max})) {
    return invalid(place("lane_bytes") + wrong + " (lane_bytes = " + std::to_string(options.lane_bytes) +
                   ", inline_bytes_max = " + std::to_string(options.inline_bytes_max) + ")");
  }
  if (!options.pool_enabled) options.dispatcher = samovar::Dispatcher::caller;
  PlanRequest request = plan_request(options);
  request.one_thread_each = one_thread_each;
  if (const std::optional<Misfit> wrong = misfit(machine, request)) return invalid(place(wrong->option) + wrong->message);
  Plan plan = plan_placement(machine, request);
  options.request_arena_bytes = ipc::arena_bytes(options.request_arena_bytes);
  options.response_arena_bytes = ipc::arena_bytes(options.response_arena_bytes);
  options.workers = plan.workers;
  if (options.workers_max == 0) options.workers_max = options.workers;
  if (options.workers_max < options.workers) {
    return invalid(place("workers_max") + "workers_max = " + std::to_string(options.workers_max) + " is less than workers = " +
                   std::to_string(options.workers) + "; `workers` is the least that the pool has");
  }
  options.dispatcher = plan.dispatcher;
  options.pinning = plan.pinning;
  if (plan.dispatcher_cpu >= 0) options.dispatcher_cpu = plan.dispatcher_cpu;
  if (options.starts_at_once == 0) options.starts_at_once = plan.spinners_max;
  return Resolved{std::move(options), std::move(plan)};
}

}  // namespace samovar::core
