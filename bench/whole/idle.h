// Question: what does a pool cost that has nothing to do?
// User and system time of this process and of all its descendants, right after load, exact to the nanosecond.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "bench/whole/pinning.h"

namespace samovar::bench {

struct IdleSettings {
  std::string python;
  unsigned workers = 4;
  std::chrono::milliseconds load{1000};
  std::chrono::seconds window{30};
};

// Fractions of one core.
struct IdleCost {
  double cpu_fraction = 0;  // of all
  double host_fraction = 0;
  double workers_fraction = 0;
  double wakeups_per_s = 0;  // of all threads of all: who wakes up though there is nothing to do
  std::size_t processes = 0;
  double loaded_cpu_fraction = 0;  // during the load before: proof that there was one
  double loaded_calls_per_s = 0;
};

// Requires: this process runs no other pool. Blocks for load + window.
Made<IdleCost> measure_idle(const IdleSettings& settings);

}  // namespace samovar::bench
