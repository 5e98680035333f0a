// MemoryMap: what /proc/PID says of one process's mappings, and where their pages lie.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace samovar::numa {

struct Mapping {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::string name;    // a path, "[heap]", "/memfd:samovar-1-host (deleted)", or empty
  std::string policy;  // of numa_maps: "default", "prefer:1"

  std::size_t bytes() const { return end - begin; }
  bool is_memfd(const std::string& which) const { return name.find("memfd:" + which + " ") != name.npos; }
  bool is_private_memory() const { return name.empty() || name == "[heap]"; }
};

std::vector<Mapping> mappings_of(pid_t pid);

// How many of the pages that are there lie on each node. A page that is not there is on none.
std::map<int, std::size_t> pages_by_node(pid_t pid, std::uintptr_t begin, std::size_t bytes);

// "node 0: 17 pages, node 1: 3 pages".
std::string to_string(const std::map<int, std::size_t>& pages);

}  // namespace samovar::numa
