// Stats: a pool's counters, cumulative since its start, and its gauges of this moment.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace samovar {

struct Stats {
  std::uint64_t accepted = 0;         // calls that got, or will get, exactly one outcome
  std::uint64_t replied = 0;          // outcomes that were replies
  std::uint64_t failed = 0;           // outcomes that were errors, of any kind below
  std::uint64_t timed_out = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t workers_lost = 0;     // incarnations that ended without being asked to
  std::uint64_t workers_killed = 0;   // of them: by the pool, because they were overdue, wedged or stopped
  std::uint64_t workers_recycled = 0;  // incarnations that were drained and ended as planned
  std::uint64_t overflow_started = 0;  // workers spawned beyond the base, because calls waited
  std::uint64_t overflow_ended = 0;    // of them: drained and ended, because they were no longer needed
  std::uint64_t calls_lost = 0;       // outcomes worker_lost
  std::uint64_t one_shots = 0;        // Python processes started for one call: see Fallback
  std::uint64_t requeued = 0;         // calls that moved on from a dead worker: unstarted, or idempotent
  std::uint64_t taken_back = 0;       // unstarted calls taken back from a living worker's lane
  std::uint64_t late_replies = 0;     // replies to calls that had their outcome already; dropped
  std::uint64_t rejected = 0;         // calls not accepted: queue_full, breaker_open, unknown_method, payload_too_large, pool_stopped
  std::uint64_t violations = 0;       // workers killed because they broke the protocol

  std::uint32_t workers_ready = 0;
  std::uint32_t workers_base = 0;      // how many there ought to be: Options::workers, up to workers_max
  std::uint32_t workers_overflow = 0;  // processes beyond these: starting, serving or ending
  std::uint32_t queued = 0;
  std::uint32_t in_flight = 0;        // calls in workers' lanes

  std::uint64_t request_arena_in_use = 0;    // bytes: loans, large payloads of calls, replies that are their call's argument
  std::uint64_t request_arena_resident = 0;  // bytes of memory that the arena holds
  std::uint32_t escaped_views = 0;           // large payloads that workers still view after their calls
};

// One process of a pool, and the memory it has. Workers that a nursery has forked share its pages until one side writes to them.
struct ProcessStats {
  int worker = -1;                      // its number; -1: the nursery
  std::uint64_t incarnation = 0;        // of a worker
  pid_t pid = 0;
  std::string state;                    // of a worker: "serving", "starting", "retiring" and so on
  std::uint64_t resident_bytes = 0;     // RSS: each page counts for everyone who has it
  std::uint64_t proportional_bytes = 0; // PSS: each page counts for its share; these can be added up
  std::uint64_t private_bytes = 0;      // pages that nobody else has: what would come back if it ended
};

}  // namespace samovar
