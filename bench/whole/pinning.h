// Pinning: which CPU the host's thread and which the worker runs on, here and in every peer.
#pragma once

#include <sched.h>

#include <string>

#include <tl/expected.hpp>

namespace samovar::bench {

// What went wrong, as a sentence.
using Outcome = tl::expected<void, std::string>;
template <typename T>
using Made = tl::expected<T, std::string>;

struct Placement {
  int host_cpu = 0;
  int worker_cpu = 1;
};

// The first two CPUs this process may use. Fails: there is only one.
Made<Placement> choose_placement();

// Pins the calling thread, and what it spawns meanwhile, to one CPU; the destructor undoes it. Stays on its thread.
class PinnedHere {
 public:
  explicit PinnedHere(int cpu);
  ~PinnedHere();
  PinnedHere(const PinnedHere&) = delete;
  PinnedHere& operator=(const PinnedHere&) = delete;

 private:
  cpu_set_t before_;
};

}  // namespace samovar::bench
