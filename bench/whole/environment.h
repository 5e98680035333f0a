// Environment: where the benchmark finds its Python, and what a reader must know of the machine to read its figures.
#pragma once

#include <string>
#include <vector>

#include "bench/whole/pinning.h"

namespace samovar::bench {

// The peers' scripts and the module of no-op methods: below an installed tool's share/, else in the source tree.
std::string bench_directory();

// Where bench/schemas was compiled to: below an installed tool's share/, else in the tool's build tree.
std::string compiled_schemas();

// `asked` if it is not empty, else $SAMOVAR_PYTHON, else the interpreter that the extension was built for.
std::string choose_python(const std::string& asked);

// This process's environment, with this tool's `samovar` package in front of PYTHONPATH.
std::vector<std::string> environment_with_samovar();

struct HostFacts {
  std::string cpu_model;
  int cpus = 0;  // that this process may use
  int threads_per_core = 0;
  std::string kernel;
  std::string clock_source;
  std::string governor;  // empty: the kernel shows none
  std::string machine;   // by the hypervisor flag of the processor
  std::string compiler;
  std::string build_type;
  double load_average = 0;  // of the last minute, when the run began
};

HostFacts read_host_facts();

}  // namespace samovar::bench
