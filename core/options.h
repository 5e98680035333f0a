// Options, checked and with their defaults resolved on this machine. Pure but for what it is given.
#pragma once

#include <samovar/error.h>
#include <samovar/options.h>

#include "core/topology/plan.h"

namespace samovar::core {

struct Resolved {
  Options options;
  Plan plan;  // who runs where
};

// `one_thread_each`: whether workers compute with one thread; see compute_with_one_thread(). Fails: invalid_option, naming the
// option, its value and the range.
Result<Resolved> resolve(Options options, const Machine& machine, bool one_thread_each);

// How many workers there may be at one time, but for one that is about to replace another.
inline unsigned seats_max(const Options& options) {
  return (options.workers_max > options.workers ? options.workers_max : options.workers) + options.max_overflow;
}

}  // namespace samovar::core
