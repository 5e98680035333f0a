// Placement: which worker gets the next call. Pure functions.
//
// Late binding: a call stays with the host until a worker is idle. Only when none is, a busy worker with credit gets it into
// its lane, so that it finds its next call waiting.
#pragma once

#include <cstdint>
#include <span>

namespace samovar::core {

inline constexpr std::int64_t kPrefetchNs = 50'000;  // work that may lie ready in a busy worker's lane
inline constexpr std::uint32_t kPrefetchMax = 64;

// How many calls a worker may have in its lane, the running one included. `prefetch` is the option (0: by time);
// `mean_service_ns` is 0 while unknown.
std::uint32_t credit(std::uint32_t prefetch, std::int64_t mean_service_ns);

struct WorkerLoad {
  bool available = false;        // ready, not stopping, keeps to the protocol
  std::uint32_t in_flight = 0;
  std::uint32_t credit = 1;
  std::uint64_t last_used = 0;   // greater: more recently; its caches are warm and it may still spin
  int node = -1;                 // that it runs on; -1: not known, or of no interest
};

// Index of the worker for the next call, or -1: idle before busy, then the fewest calls, then the most recently used.
int choose_worker(std::span<const WorkerLoad> loads);

// The same for a caller on `node`: among workers with as few calls one of that node, and then the most recently used. So a call
// crosses over to another node rather than wait for a worker of its own.
int choose_worker_near(std::span<const WorkerLoad> loads, int node);

}  // namespace samovar::core
