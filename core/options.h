// Options, checked and with their defaults resolved on this machine. Pure but for what it is given.
#pragma once

#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar::core {

// `usable_cpus`: the CPUs this process may run on. Fails: invalid_option, naming the option, its value and the range.
Result<Options> resolve(Options options, const std::vector<int>& usable_cpus);

// How many workers there may be at one time, but for one that is about to replace another.
inline unsigned seats_max(const Options& options) {
  return (options.workers_max > options.workers ? options.workers_max : options.workers) + options.max_overflow;
}

}  // namespace samovar::core
