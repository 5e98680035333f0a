#include "core/topology/machine.h"

#include <hwloc.h>

#include <memory>
#include <utility>

namespace samovar::core {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Loaded = std::unique_ptr<hwloc_topology, Destroy>;
using Bitmap = std::unique_ptr<hwloc_bitmap_s, Destroy>;

Loaded load() {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return nullptr;
  Loaded loaded(topology);
  return hwloc_topology_load(topology) == 0 ? std::move(loaded) : nullptr;
}

// Null where hwloc cannot tell. Without /proc it can tell of this thread alone.
Bitmap usable(const Loaded& topology) {
  Bitmap set(hwloc_bitmap_alloc());
  if (!topology || !set) return nullptr;
  if (hwloc_get_cpubind(topology.get(), set.get(), HWLOC_CPUBIND_PROCESS) != 0 &&
      hwloc_get_cpubind(topology.get(), set.get(), HWLOC_CPUBIND_THREAD) != 0) {
    return nullptr;
  }
  hwloc_bitmap_and(set.get(), set.get(), hwloc_topology_get_allowed_cpuset(topology.get()));
  return set;
}

}  // namespace

std::vector<int> usable_cpus() {
  std::vector<int> cpus;
  const Loaded loaded = load();
  if (const Bitmap set = usable(loaded)) {
    for (int cpu = hwloc_bitmap_first(set.get()); cpu >= 0; cpu = hwloc_bitmap_next(set.get(), cpu)) cpus.push_back(cpu);
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

Topology topology() {
  const Loaded loaded = load();
  const Bitmap set = usable(loaded);
  if (!set) return {.cpus = 1, .cores = 1, .packages = 1, .numa_nodes = 1, .cpu_model = {}};
  const auto count = [&](hwloc_obj_type_t type) {
    unsigned found = 0;
    for (hwloc_obj_t object = nullptr; (object = hwloc_get_next_obj_by_type(loaded.get(), type, object)) != nullptr;) {
      if (object->cpuset && hwloc_bitmap_intersects(object->cpuset, set.get())) ++found;
    }
    return found;
  };
  const hwloc_obj_t package = hwloc_get_next_obj_by_type(loaded.get(), HWLOC_OBJ_PACKAGE, nullptr);
  const char* model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : nullptr;
  return {.cpus = count(HWLOC_OBJ_PU),
          .cores = count(HWLOC_OBJ_CORE),
          .packages = count(HWLOC_OBJ_PACKAGE),
          .numa_nodes = count(HWLOC_OBJ_NUMANODE),
          .cpu_model = model ? model : ""};
}

}  // namespace samovar::core
