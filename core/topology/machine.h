// Machine: what of this machine the process may use. The one place that asks hwloc.
#pragma once

#include <string>
#include <vector>

namespace samovar::core {

// Numbers of the logical CPUs this process may run on (affinity, cpuset and cgroup taken together), in order; never empty.
std::vector<int> usable_cpus();

// Of the parts in which this process may run. For `samovar doctor`.
struct Topology {
  unsigned cpus = 0;        // logical
  unsigned cores = 0;       // fewer than cpus where two share one
  unsigned packages = 0;
  unsigned numa_nodes = 0;
  std::string cpu_model;    // or empty
};

Topology topology();

}  // namespace samovar::core
