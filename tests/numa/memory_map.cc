#include "tests/numa/memory_map.h"

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "ipc/memory_policy.h"

namespace samovar::numa {
namespace {

std::string in_proc(pid_t pid, const char* file) { return "/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/" + file; }

std::map<std::uintptr_t, std::string> policies_of(pid_t pid) {
  std::map<std::uintptr_t, std::string> policies;
  std::ifstream file(in_proc(pid, "numa_maps"));
  for (std::string line; std::getline(file, line);) {
    std::uintptr_t begin = 0;
    char policy[64] = "";
    if (std::sscanf(line.c_str(), "%" SCNxPTR " %63s", &begin, policy) == 2) policies[begin] = policy;
  }
  return policies;
}

}  // namespace

std::vector<Mapping> mappings_of(pid_t pid) {
  const std::map<std::uintptr_t, std::string> policies = policies_of(pid);
  std::vector<Mapping> mappings;
  std::ifstream file(in_proc(pid, "maps"));
  for (std::string line; std::getline(file, line);) {
    Mapping mapping;
    int name = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &mapping.begin, &mapping.end, &name) != 2) continue;
    mapping.name = line.substr(static_cast<std::size_t>(name));
    if (const auto policy = policies.find(mapping.begin); policy != policies.end()) mapping.policy = policy->second;
    mappings.push_back(std::move(mapping));
  }
  return mappings;
}

std::map<int, std::size_t> pages_by_node(pid_t pid, std::uintptr_t begin, std::size_t bytes) {
  const std::uintptr_t first = begin / 4096 * 4096;
  const auto nodes = ipc::nodes_of_pages(pid, {reinterpret_cast<const std::byte*>(first), begin + bytes - first});
  if (!nodes) throw std::runtime_error(nodes.error().to_string());
  std::map<int, std::size_t> pages;
  for (const int node : *nodes) {
    if (node >= 0) ++pages[node];
  }
  return pages;
}

std::string to_string(const std::map<int, std::size_t>& pages) {
  std::string text;
  for (const auto& [node, count] : pages) {
    text += (text.empty() ? "" : ", ") + ("node " + std::to_string(node)) + ": " + std::to_string(count) + " pages";
  }
  return text.empty() ? "no pages" : text;
}

}  // namespace samovar::numa
