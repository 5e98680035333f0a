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

}  // namespace samovar::core
