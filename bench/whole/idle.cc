#include "bench/whole/idle.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "bench/whole/call.h"
#include "bench/whole/processes.h"
#include "ipc/clock.h"

namespace samovar::bench {
namespace {

constexpr unsigned kLoadThreads = 4;

struct Usage {
  std::int64_t at_ns = 0;
  std::int64_t host_ns = 0;
  std::int64_t workers_ns = 0;
  std::int64_t wakeups = 0;
};

Usage read_usage(const std::vector<pid_t>& workers) {
  Usage usage{.at_ns = ipc::now_ns(), .host_ns = cpu_time_ns(getpid()), .wakeups = voluntary_switches(getpid())};
  for (pid_t pid : workers) {
    usage.workers_ns += cpu_time_ns(pid);
    usage.wakeups += voluntary_switches(pid);
  }
  return usage;
}

// Calls from several threads until the time is up. Returns how many were answered rightly; the first error, if any.
Made<std::uint64_t> load(Pool& pool, std::chrono::nanoseconds duration) {
  const std::int64_t end_ns = ipc::now_ns() + duration.count();
  std::atomic<std::uint64_t> answered{0};
  std::array<std::string, kLoadThreads> errors;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kLoadThreads; ++i) {
      threads.emplace_back([&, i] {
        const std::vector<std::byte> payload(64, std::byte{0x42});
        while (errors[i].empty() && ipc::now_ns() < end_ns) {
          const Result<Reply> reply = pool.call("noop", bytes(payload));
          if (reply) {
            answered.fetch_add(1, std::memory_order_relaxed);
          } else {
            errors[i] = reply.error().to_string();
          }
        }
      });
    }
  }
  for (const std::string& error : errors) {
    if (!error.empty()) return tl::unexpected(error);
  }
  return answered.load();
}

}  // namespace

Made<IdleCost> measure_idle(const IdleSettings& settings) {
  auto pool = start_pool({.python = settings.python, .workers = settings.workers});
  if (!pool) return tl::unexpected(pool.error());
  const std::vector<pid_t> workers = descendants();

  const Usage before_load = read_usage(workers);
  const auto answered = load(*pool, settings.load);
  if (!answered) return tl::unexpected(answered.error());
  const Usage begin = read_usage(workers);
  std::this_thread::sleep_for(settings.window);
  const Usage end = read_usage(workers);

  const auto window_ns = static_cast<double>(end.at_ns - begin.at_ns);
  const auto load_ns = static_cast<double>(begin.at_ns - before_load.at_ns);
  IdleCost cost;
  cost.host_fraction = static_cast<double>(end.host_ns - begin.host_ns) / window_ns;
  cost.workers_fraction = static_cast<double>(end.workers_ns - begin.workers_ns) / window_ns;
  cost.cpu_fraction = cost.host_fraction + cost.workers_fraction;
  cost.wakeups_per_s = static_cast<double>(end.wakeups - begin.wakeups) * 1e9 / window_ns;
  cost.processes = workers.size() + 1;
  cost.loaded_cpu_fraction =
      static_cast<double>(begin.host_ns - before_load.host_ns + begin.workers_ns - before_load.workers_ns) / load_ns;
  cost.loaded_calls_per_s = static_cast<double>(*answered) * 1e9 / load_ns;
  return cost;
}

}  // namespace samovar::bench
