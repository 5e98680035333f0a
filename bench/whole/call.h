// Question: what does Pool::call cost, with everything that makes it safe switched on?
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "bench/whole/contestant.h"
#include "samovar/pool.h"

namespace samovar::bench {

// Round trips of Pool::call("noop", payload) from this thread, which waits and dispatches for itself.
// `worker`: the process of the pool's only worker.
std::unique_ptr<Contestant> make_call(Pool& pool, pid_t worker, std::size_t payload_bytes, std::int64_t timestamp_ns);

struct PoolSettings {
  std::string python;
  std::string module = "noop.py";  // beside it
  unsigned workers = 1;
  WorkerStart worker_start = WorkerStart::nursery;
  unsigned max_overflow = 0;
  Duration overflow_linger = std::chrono::seconds(10);
  std::uint32_t prefetch = 0;    // 0: the default
  std::vector<int> worker_cpus;  // empty: wherever the kernel likes
  EventHook on_event{};
  LogSink log{};                 // empty: to stderr
};

// A pool, caller dispatch, everything else as it is by default.
Made<Pool> start_pool(const PoolSettings& settings);

// The process of a pool's only worker.
Made<pid_t> worker_pid(Pool& pool);

}  // namespace samovar::bench
