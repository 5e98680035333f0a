#include "core/topology/machine.h"

#include <hwloc.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/topology/cpu_list.h"
#include "core/topology/quota.h"

namespace samovar::core {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Topology = std::unique_ptr<hwloc_topology, Destroy>;
using Bitmap = std::unique_ptr<hwloc_bitmap_s, Destroy>;

Topology create() {
  hwloc_topology_t topology;
  return Topology(hwloc_topology_init(&topology) == 0 ? topology : nullptr);
}

// Null where hwloc cannot tell. Without /proc it can tell of this thread alone.
Bitmap usable_by_us(const Topology& topology) {
  Bitmap set(hwloc_bitmap_alloc());
  if (!set) return nullptr;
  if (hwloc_get_cpubind(topology.get(), set.get(), HWLOC_CPUBIND_PROCESS) != 0 &&
      hwloc_get_cpubind(topology.get(), set.get(), HWLOC_CPUBIND_THREAD) != 0) {
    return nullptr;
  }
  hwloc_bitmap_and(set.get(), set.get(), hwloc_topology_get_allowed_cpuset(topology.get()));
  return set;
}

hwloc_obj_t last_level_cache(hwloc_obj_t cpu) {
  hwloc_obj_t cache = nullptr;
  for (hwloc_obj_t part = cpu->parent; part; part = part->parent) {
    if (hwloc_obj_type_is_dcache(part->type)) cache = part;
  }
  return cache;
}

// Of several nodes at a CPU, ordinary memory has the lowest number; what is wider than another is a slower kind for more of them.
int node_of(const Topology& topology, hwloc_obj_t cpu) {
  std::pair<int, int> best{};
  int node = -1;
  for (hwloc_obj_t object = nullptr; (object = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_NUMANODE, object)) != nullptr;) {
    if (!object->cpuset || !hwloc_bitmap_isincluded(cpu->cpuset, object->cpuset)) continue;
    const std::pair<int, int> rank{hwloc_bitmap_weight(object->cpuset), static_cast<int>(object->os_index)};
    if (node < 0 || rank < best) {
      best = rank;
      node = rank.second;
    }
  }
  return node;
}

// `usable`: CPUs that count; null: all.
Machine read(const Topology& topology, const hwloc_bitmap_s* usable) {
  Machine machine;
  std::map<hwloc_obj_t, int> caches;  // numbered as they are met: those of several levels have equal numbers in hwloc
  for (hwloc_obj_t cpu = nullptr; (cpu = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_PU, cpu)) != nullptr;) {
    if (usable && !hwloc_bitmap_isset(usable, cpu->os_index)) continue;
    const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology.get(), HWLOC_OBJ_CORE, cpu);
    const hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology.get(), HWLOC_OBJ_PACKAGE, cpu);
    const hwloc_obj_t cache = last_level_cache(cpu);
    machine.cpus.push_back({.number = static_cast<int>(cpu->os_index),
                            .core = static_cast<int>(core ? core->logical_index : cpu->logical_index),
                            .thread = core ? static_cast<int>(cpu->logical_index - hwloc_get_next_obj_inside_cpuset_by_type(
                                                                                       topology.get(), core->cpuset, HWLOC_OBJ_PU, nullptr)
                                                                                       ->logical_index)
                                           : 0,
                            .cache = cache ? caches.emplace(cache, static_cast<int>(caches.size())).first->second : -1,
                            .node = node_of(topology, cpu),
                            .package = package ? static_cast<int>(package->logical_index) : 0});
  }
  std::sort(machine.cpus.begin(), machine.cpus.end(), [](const Cpu& a, const Cpu& b) { return a.number < b.number; });
  for (hwloc_obj_t node = nullptr; (node = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    machine.nodes.push_back({.number = static_cast<int>(node->os_index), .bytes = node->attr->numanode.local_memory});
  }
  std::sort(machine.nodes.begin(), machine.nodes.end(), [](const Node& a, const Node& b) { return a.number < b.number; });
  const hwloc_obj_t package = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_PACKAGE, nullptr);
  const char* model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : nullptr;
  machine.cpu_model = model ? model : "";
  return machine;
}

unsigned count(const Machine& machine, int Cpu::*part) {
  std::set<int> numbers;
  for (const Cpu& cpu : machine.cpus) numbers.insert(cpu.*part);
  return static_cast<unsigned>(numbers.size());
}

}  // namespace

Machine this_machine() {
  Machine machine;
  if (const Topology topology = create(); topology && hwloc_topology_load(topology.get()) == 0) {
    if (const Bitmap usable = usable_by_us(topology)) machine = read(topology, usable.get());
  }
  if (machine.cpus.empty()) machine.cpus.push_back({});
  machine.quota = cpu_quota();
  return machine;
}

tl::expected<Machine, std::string> synthetic_machine(const std::string& description, std::string_view cut) {
  const Topology topology = create();
  if (!topology || hwloc_topology_set_synthetic(topology.get(), description.c_str()) != 0 || hwloc_topology_load(topology.get()) != 0) {
    return tl::unexpected("\"" + description + "\" describes no machine; write it like \"numa:2 core:8 pu:2\" (see hwloc(7), synthetic topologies)");
  }
  Machine machine = read(topology, nullptr);
  if (cut.empty()) return machine;
  const auto kept = parse_cpus(cut);
  if (!kept) return tl::unexpected(kept.error());
  std::erase_if(machine.cpus, [&](const Cpu& cpu) { return !std::binary_search(kept->begin(), kept->end(), cpu.number); });
  if (machine.cpus.empty()) return tl::unexpected("\"" + description + "\" has none of the CPUs " + std::string(cut));
  return machine;
}

unsigned count_cores(const Machine& machine) { return count(machine, &Cpu::core); }
unsigned count_packages(const Machine& machine) { return count(machine, &Cpu::package); }
unsigned count_nodes(const Machine& machine) { return count(machine, &Cpu::node); }

}  // namespace samovar::core
