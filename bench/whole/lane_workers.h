// LaneWorkers: what sits at the other end of a bare lane.
#pragma once

#include <memory>
#include <string>

#include "bench/whole/bare_lane.h"

namespace samovar::bench {

struct PythonWorkerOptions {
  std::string python;
  std::string module;
  std::string method;
  int cpu = 1;
};

// `python -m samovar.worker`, without a pool. Fails: the interpreter does not start, the module does not import, it has no
// such method. Blocks.
Made<std::unique_ptr<LaneWorker>> start_python_worker(const PythonWorkerOptions& options);

// A pinned process around ipc::WorkerEnd that returns each payload. A Twin: make it before any pool.
Made<std::unique_ptr<LaneWorker>> start_echo_worker(int cpu);

}  // namespace samovar::bench
