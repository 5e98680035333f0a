// Machine: what of this machine the process may use. The one place that asks hwloc.
#pragma once

#include <vector>

namespace samovar::core {

// Numbers of the logical CPUs this process may run on (affinity, cpuset and cgroup taken together), in order; never empty.
std::vector<int> usable_cpus();

}  // namespace samovar::core
