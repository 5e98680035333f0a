// Question: what does a call cost that finds its worker asleep?
// Both contestants wait for kWakeGap before each trip, until the other process sleeps: the pool is idle, its spins are over.
#pragma once

#include <sys/types.h>

#include <memory>

#include "bench/whole/contestant.h"

namespace samovar {
class Pool;
}

namespace samovar::bench {

inline constexpr std::chrono::milliseconds kWakeGap{2};

std::unique_ptr<Contestant> make_parked_call(Pool& pool, pid_t worker, std::size_t payload_bytes);

// FUTEX_WAKE there, FUTEX_WAKE back, between two pinned processes that do nothing else and never spin.
Made<std::unique_ptr<Contestant>> make_futex_pair(const Placement& placement);

}  // namespace samovar::bench
