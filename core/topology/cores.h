// Cores: the CPUs of a machine by the core that they are threads of. For the parts of the plan.
#pragma once

#include <vector>

#include "core/topology/machine.h"

namespace samovar::core {

struct Core {
  int number = 0;
  int cache = -1, node = -1, package = 0;
  std::vector<int> cpus{};  // its threads, the first one first
};

using Cores = std::vector<Core>;

// By number.
Cores cores_of(const std::vector<Cpu>& cpus);

const Core* core_with(const Cores& cores, int cpu);

// The CPUs on which `workers` may roam: the first thread of each core; the others, too, where there are more workers than cores.
std::vector<int> cpus_for(const Cores& cores, std::size_t workers);

// Those of `cores` near `home` first: of its node, package, cache; then those with the nearest numbers.
void sort_nearest_first(Cores& cores, const Core& home);

// The last core of the largest group that shares a node and a cache: where most others are near. Requires: there is one.
Core heart_of(const Cores& cores);

}  // namespace samovar::core
