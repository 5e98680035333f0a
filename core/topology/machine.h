// Machine: what of this machine the process may use. The one place that asks hwloc; the value itself knows nothing of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace samovar::core {

struct Cpu {        // a logical one
  int number = 0;   // the kernel's
  int core = 0;     // the same for the threads of one
  int thread = 0;   // of its core: 0 is the first
  int cache = -1;   // its last-level cache; -1: unknown
  int node = -1;    // of its memory, the kernel's number; -1: unknown
  int package = 0;
  friend bool operator==(const Cpu&, const Cpu&) = default;
};

struct Node {
  int number = 0;           // the kernel's
  std::uint64_t bytes = 0;  // 0: unknown
  friend bool operator==(const Node&, const Node&) = default;
};

struct Machine {
  std::vector<Cpu> cpus{};    // that this process may run on (affinity, cpuset and cgroup taken together), by number; never empty
  std::vector<Node> nodes{};  // that it may have memory of, by number; some may have no CPU
  double quota = 0;           // CPUs that its cgroup grants it at a time; 0: all of them
  std::string cpu_model{};    // or empty
};

// Blocks: some milliseconds. Where hwloc cannot tell, one CPU.
Machine this_machine();

// A machine that hwloc describes, such as "numa:2 core:8 pu:2"; of its CPUs those in `cut` ("0-5,8"; empty: all).
// Fails: with a sentence that quotes what is wrong.
tl::expected<Machine, std::string> synthetic_machine(const std::string& description, std::string_view cut = {});

unsigned count_cores(const Machine& machine);
unsigned count_packages(const Machine& machine);
unsigned count_nodes(const Machine& machine);  // those with CPUs; at least 1

}  // namespace samovar::core
