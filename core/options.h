// Options, checked and with their defaults resolved on this machine. Pure but for what it is given.
#pragma once

#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar::core {

// `usable_cpus`: the CPUs this process may run on. Fails: invalid_option, naming the option, its value and the range.
Result<Options> resolve(Options options, const std::vector<int>& usable_cpus);

}  // namespace samovar::core
