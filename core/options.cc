#include "core/options.h"

#include <algorithm>
#include <string>

#include "core/config/option_value.h"
#include "core/config/origins.h"
#include "core/errors.h"
#include "ipc/channel.h"

namespace samovar {

std::string_view to_string(Dispatcher dispatcher) {
  constexpr std::string_view kNames[] = {"auto", "caller", "manual", "pinned"};
  return kNames[static_cast<std::size_t>(dispatcher)];
}

std::string_view to_string(Fallback fallback) { return fallback == Fallback::oneshot ? "oneshot" : "none"; }

std::string_view to_string(LogLevel level) {
  constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

}  // namespace samovar

namespace samovar::core {
namespace {

std::string list(const std::vector<int>& cpus) {
  std::string text;
  for (int cpu : cpus) {
    if (!text.empty()) text += ',';
    text += std::to_string(cpu);
  }
  return text;
}

tl::unexpected<Error> invalid(std::string message) {
  return tl::unexpected(make_error(Category::configuration, Code::invalid_option, std::move(message)));
}

}  // namespace

Result<Options> resolve(Options options, const std::vector<int>& usable_cpus) {
  const auto usable = [&](int cpu) { return std::find(usable_cpus.begin(), usable_cpus.end(), cpu) != usable_cpus.end(); };
  const auto cores = static_cast<unsigned>(usable_cpus.size());

  const auto place = [&](std::string_view option) { return place_of(options, *find_option(option)); };

  if (options.module.empty()) return invalid("module is empty; name a Python file (\"models.py\") or an importable module");
  for (const OptionRow& row : option_table()) {
    if (const auto within = check_range(options, row); !within) return invalid(place_of(options, row) + within.error());
  }
  if (const char* wrong = ipc::check({.lane_bytes = options.lane_bytes, .payload_bytes_max = options.inline_bytes_max})) {
    return invalid(place("lane_bytes") + wrong + " (lane_bytes = " + std::to_string(options.lane_bytes) +
                   ", inline_bytes_max = " + std::to_string(options.inline_bytes_max) + ")");
  }
  for (int cpu : options.worker_cpus) {
    if (!usable(cpu)) {
      return invalid(place("worker_cpus") + "worker_cpus names CPU " + std::to_string(cpu) + "; this process may use " + list(usable_cpus));
    }
  }
  if (options.dispatcher_cpu >= 0 && !usable(options.dispatcher_cpu)) {
    return invalid(place("dispatcher_cpu") + "dispatcher_cpu = " + std::to_string(options.dispatcher_cpu) +
                   "; this process may use " + list(usable_cpus));
  }
  options.request_arena_bytes = ipc::arena_bytes(options.request_arena_bytes);
  options.response_arena_bytes = ipc::arena_bytes(options.response_arena_bytes);
  if (!options.pool_enabled) options.dispatcher = samovar::Dispatcher::caller;
  if (options.workers == 0) options.workers = cores;
  if (options.workers_max == 0) options.workers_max = options.workers;
  if (options.workers_max < options.workers) {
    return invalid(place("workers_max") + "workers_max = " + std::to_string(options.workers_max) + " is less than workers = " +
                   std::to_string(options.workers) + "; `workers` is the least that the pool has");
  }
  if (options.starts_at_once == 0) options.starts_at_once = cores;
  if (options.dispatcher_cpu < 0) options.dispatcher_cpu = usable_cpus.back();
  if (options.dispatcher == samovar::Dispatcher::automatic) {
    options.dispatcher = options.workers + 2 <= cores ? samovar::Dispatcher::pinned : samovar::Dispatcher::caller;
  }
  return options;
}

}  // namespace samovar::core
