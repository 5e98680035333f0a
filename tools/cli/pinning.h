// Pinning: which CPU a thread or a process runs on. A caller that spins and the worker it waits for must not share one, and the
// kernel, left alone on a busy machine, makes them.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <vector>

namespace samovar::cli {

// Those that this process may use, in ascending order.
inline std::vector<int> usable_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// `thread`: its id, or 0 for the calling one. A CPU below zero, and a refusal, leave it where the kernel likes.
inline void pin(pid_t thread, int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(thread, sizeof(set), &set);
}

// The calling thread, while this lives. What it starts meanwhile is pinned, too.
class PinnedThread {
 public:
  explicit PinnedThread(int cpu) : saved_(sched_getaffinity(0, sizeof(before_), &before_) == 0) {
    if (saved_) pin(0, cpu);
  }
  ~PinnedThread() {
    if (saved_) sched_setaffinity(0, sizeof(before_), &before_);
  }
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;

 private:
  cpu_set_t before_;
  const bool saved_;
};

}  // namespace samovar::cli
