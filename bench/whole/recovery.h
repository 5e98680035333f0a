// Question: when its worker is gone, how soon does a caller know, and how soon does the pool serve again? And one that hangs: how soon is
// it found out?
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "bench/whole/pinning.h"
#include "bench/whole/samples.h"

namespace samovar::bench {

struct RecoverySettings {
  std::string python;
  std::size_t kills = 200;
  std::size_t kills_1gb = 20;            // of a worker with 1 GiB of its own; 0: none
  std::chrono::seconds suspicion_max{30};  // how long a stopped or wedged worker may remain unsuspected; 0: neither is tried
};

// From the instant before kill(), nanoseconds. The pool has one worker, which is not pinned, and default options.
struct Recovery {
  Histogram kill_to_death;       // to its pidfd's polling readable in another thread: what the kernel takes, the floor of the next
  Histogram kill_to_error;       // to the return of call(), whose worker was busy with it
  Histogram kill_to_error_1gb;   // likewise, with 1 GiB to be unmapped
  Histogram kill_to_next_reply;  // to the reply of the call that follows: another worker has started
  std::optional<std::chrono::nanoseconds> stop_detect;   // SIGSTOP to the event worker_suspected, state "stopped"
  std::optional<std::chrono::nanoseconds> wedge_detect;  // a call that takes the GIL for good, to state "wedged"
  std::vector<std::string> failures;                     // of single figures
};

// Fails: the pool does not start. Blocks.
Made<Recovery> measure_recovery(const RecoverySettings& settings);

}  // namespace samovar::bench
