#include "core/topology/cores.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <tuple>
#include <utility>

namespace samovar::core {

Cores cores_of(const std::vector<Cpu>& cpus) {
  std::vector<Cpu> threads = cpus;
  std::sort(threads.begin(), threads.end(), [](const Cpu& a, const Cpu& b) {
    return std::tuple(a.core, a.thread, a.number) < std::tuple(b.core, b.thread, b.number);
  });
  Cores cores;
  for (const Cpu& cpu : threads) {
    if (cores.empty() || cores.back().number != cpu.core) {
      cores.push_back({.number = cpu.core, .cache = cpu.cache, .node = cpu.node, .package = cpu.package});
    }
    cores.back().cpus.push_back(cpu.number);
  }
  return cores;
}

const Core* core_with(const Cores& cores, int cpu) {
  const auto found = std::find_if(cores.begin(), cores.end(), [cpu](const Core& core) {
    return std::find(core.cpus.begin(), core.cpus.end(), cpu) != core.cpus.end();
  });
  return found == cores.end() ? nullptr : &*found;
}

std::vector<int> cpus_for(const Cores& cores, std::size_t workers) {
  std::vector<int> cpus;
  for (const Core& core : cores) {
    cpus.insert(cpus.end(), core.cpus.begin(), workers <= cores.size() ? core.cpus.begin() + 1 : core.cpus.end());
  }
  std::sort(cpus.begin(), cpus.end());
  return cpus;
}

void sort_nearest_first(Cores& cores, const Core& home) {
  const auto distance = [&](const Core& core) {
    return std::tuple(core.node != home.node, core.package != home.package, core.cache != home.cache, std::abs(core.number - home.number));
  };
  std::stable_sort(cores.begin(), cores.end(), [&](const Core& a, const Core& b) { return distance(a) < distance(b); });
}

Core heart_of(const Cores& cores) {
  std::map<std::tuple<int, int, int>, std::pair<std::size_t, const Core*>> groups;  // how many, and the last one
  for (const Core& core : cores) {
    auto& [size, last] = groups[{core.node, core.package, core.cache}];
    ++size;
    last = &core;
  }
  const std::pair<std::size_t, const Core*>* best = nullptr;
  for (const auto& [where, group] : groups) {
    if (!best || std::pair(group.first, group.second->number) > std::pair(best->first, best->second->number)) best = &group;
  }
  return *best->second;
}

}  // namespace samovar::core
