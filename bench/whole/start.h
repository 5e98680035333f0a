// Question: how soon does a further worker serve, where importing and loading takes a second? And what memory does it take?
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/whole/pinning.h"
#include "bench/whole/samples.h"

namespace samovar::bench {

struct StartSettings {
  std::string python;
  std::size_t forks = 200;
  std::size_t execs = 10;          // 0: none
  std::size_t bursts = 20;
  std::size_t predictions = 1000;  // and look-ups, in each worker, before memory is compared; 0: it is not
};

// Workers of model.py: NumPy, scikit-learn, a random forest of 50 MB and a dict of 50 MB. None is pinned; options are the defaults.
struct Start {
  Histogram fork_ready;          // request to the nursery -> its ping is answered, ns; each worker then answered a call, too
  Histogram exec_ready;          // the same with worker_start = exec: spawn to ping
  Histogram kill_to_next_reply;  // SIGKILL of the only worker, which rests, to the reply of a call made at once
  Histogram burst_ready;         // a burst of 8 calls on 2 workers, to when the last of 6 overflow workers begins one, less overflow_after; a light module
  Histogram model_burst_ready;   // the same with model.py
  struct Memory {
    std::uint64_t of_1 = 0, of_8 = 0;      // sum of PSS of the workers and their nursery, bytes
    std::uint64_t private_each = 0;        // of the 8: the mean of what nobody shares
    double ratio() const { return static_cast<double>(of_8) / static_cast<double>(of_1); }
  };
  std::optional<Memory> memory;
  std::uint64_t model_bytes = 0;      // what the preload hook has allocated
  std::vector<std::string> failures;  // of single figures
};

// Fails: there is no model, or its pool does not start. Blocks.
Made<Start> measure_start(const StartSettings& settings);

}  // namespace samovar::bench
