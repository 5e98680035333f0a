#include "core/topology/machine.h"

#include <hwloc.h>

namespace samovar::core {

std::vector<int> usable_cpus() {
  std::vector<int> cpus;
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) == 0) {
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (hwloc_topology_load(topology) == 0 && hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_PROCESS) == 0) {
      hwloc_bitmap_and(set, set, hwloc_topology_get_allowed_cpuset(topology));
      for (int cpu = hwloc_bitmap_first(set); cpu >= 0; cpu = hwloc_bitmap_next(set, cpu)) cpus.push_back(cpu);
    }
    hwloc_bitmap_free(set);
    hwloc_topology_destroy(topology);
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

}  // namespace samovar::core
