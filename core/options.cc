#include "core/options.h"

#include <algorithm>
#include <string>

#include "core/errors.h"
#include "ipc/channel.h"

namespace samovar {

std::string_view to_string(Dispatcher dispatcher) {
  constexpr std::string_view kNames[] = {"auto", "caller", "manual", "pinned"};
  return kNames[static_cast<std::size_t>(dispatcher)];
}

}  // namespace samovar

namespace samovar::core {
namespace {

constexpr unsigned kWorkersMax = 1024;
constexpr std::uint32_t kPrefetchOptionMax = 1024;

// All of them and those of a full lane may be released before the host looks at the worker's release ring.
constexpr std::uint32_t kEscapedViewsMax = ipc::kReleaseEntries / 2;
static_assert(kEscapedViewsMax + kPrefetchOptionMax <= ipc::kReleaseEntries);

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

  if (options.module.empty()) return invalid("module is empty; name a Python file (\"models.py\") or an importable module");
  if (options.workers == 0) options.workers = cores;
  if (options.workers > kWorkersMax) {
    return invalid("workers = " + std::to_string(options.workers) + "; from 1 to " + std::to_string(kWorkersMax));
  }
  if (options.queue_limit == 0) return invalid("queue_limit = 0; at least 1");
  if (options.prefetch > kPrefetchOptionMax) {
    return invalid("prefetch = " + std::to_string(options.prefetch) + "; 0 (by time) or up to " + std::to_string(kPrefetchOptionMax));
  }
  for (const auto& [name, value] : {std::pair("timeout", options.timeout), std::pair("start_timeout", options.start_timeout),
                                    std::pair("restart_delay", options.restart_delay),
                                    std::pair("restart_delay_max", options.restart_delay_max),
                                    std::pair("arena_trim_delay", options.arena_trim_delay)}) {
    if (value <= Duration::zero()) return invalid(std::string(name) + " must be greater than zero");
  }
  if (options.spin_max < Duration::zero() || options.spin_max > std::chrono::seconds(1)) return invalid("spin_max must be from 0 to 1 s");
  if (options.stop_timeout < Duration::zero()) return invalid("stop_timeout must not be negative");
  for (const auto& [name, bytes] : {std::pair("request_arena_bytes", &options.request_arena_bytes),
                                    std::pair("response_arena_bytes", &options.response_arena_bytes)}) {
    if (*bytes < ipc::kArenaBytesMin || *bytes > ipc::kArenaBytesMax) {
      return invalid(std::string(name) + " = " + std::to_string(*bytes) + "; from 64 KiB to 1 TiB");
    }
    *bytes = ipc::arena_bytes(*bytes);
  }
  if (options.escaped_views_max > kEscapedViewsMax) {
    return invalid("escaped_views_max = " + std::to_string(options.escaped_views_max) + "; up to " + std::to_string(kEscapedViewsMax));
  }
  if (const char* wrong = ipc::check({.lane_bytes = options.lane_bytes, .payload_bytes_max = options.inline_bytes_max})) {
    return invalid(std::string(wrong) + " (lane_bytes = " + std::to_string(options.lane_bytes) +
                   ", inline_bytes_max = " + std::to_string(options.inline_bytes_max) + ")");
  }
  for (int cpu : options.worker_cpus) {
    if (!usable(cpu)) {
      return invalid("worker_cpus names CPU " + std::to_string(cpu) + "; this process may use " + list(usable_cpus));
    }
  }
  if (options.dispatcher_cpu >= 0 && !usable(options.dispatcher_cpu)) {
    return invalid("dispatcher_cpu = " + std::to_string(options.dispatcher_cpu) + "; this process may use " + list(usable_cpus));
  }
  if (options.dispatcher_cpu < 0) options.dispatcher_cpu = usable_cpus.back();
  if (options.dispatcher == samovar::Dispatcher::automatic) {
    options.dispatcher = options.workers + 2 <= cores ? samovar::Dispatcher::pinned : samovar::Dispatcher::caller;
  }
  return options;
}

}  // namespace samovar::core
