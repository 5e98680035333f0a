// Elasticity: how many workers a pool has, by what its calls need. Pure: time and readings arrive as arguments.
//
// The base is filled at all times. Beyond it come overflow workers, when calls have waited for longer than `after_ns` with no worker
// free: one for each that waits, as far as the limit goes. One leaves when some worker had nothing to do for `linger_ns`: calls go
// to the worker that was used last, so the idle time of the n-th says exactly when n calls were last under way together.
// Where workers_max > workers the base itself moves: up when the mean need of a whole window was more than it, or filled it while
// calls had to wait; down when a worker had nothing to do for a whole window. What it leaves behind is an overflow worker, and goes as such.
//
// Invariants: (1) workers <= base() <= workers_max. (2) None is started where those there are, starting and ending ones included,
// would be more than base() + overflow then. (3) Nobody leaves while a call waits, and none of the base.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/supervision/worker_state.h"

namespace samovar::core {

struct ElasticLimits {
  unsigned workers = 1;      // the base is never smaller
  unsigned workers_max = 1;  // nor larger
  unsigned overflow = 0;     // workers beyond the base
  std::int64_t after_ns = 10'000'000;
  std::int64_t linger_ns = 10'000'000'000;
  std::int64_t window_ns = 30'000'000'000;
  std::int64_t delay_ns = 50'000'000;  // after a start that failed; doubles
  std::int64_t delay_max_ns = 5'000'000'000;

  bool follow_load() const { return overflow > 0 || workers_max > workers; }
};

struct WorkerReading {
  unsigned seat = 0;
  WorkerState state = WorkerState::absent;
  bool is_busy = false;
  std::int64_t used_ns = 0;  // when it last had a call; before the first: when it became ready
};

struct LoadReading {
  std::int64_t now_ns = 0;
  std::uint32_t waiting = 0;      // calls for which no worker is free
  std::uint64_t oldest = 0;       // the ticket of the first of them; 0: none waits
  std::uint64_t newest = 0;       // the ticket that was given out last
  std::uint32_t room = UINT32_MAX;  // workers that still find memory; of interest where calls wait
  std::span<const WorkerReading> workers{};  // all that have a process
};

struct ElasticStep {
  unsigned start = 0;                // overflow workers, at once
  std::optional<unsigned> leave;     // the seat of the one to be retired; then there may be another
  bool lacks_memory = false;         // else more would be started
  std::int64_t waited_ns = 0;        // how long a call has waited at least, where calls wait
  std::int64_t look_again_ns = INT64_MAX;
};

class Elasticity {
 public:
  explicit Elasticity(const ElasticLimits& limits);

  // To be called now and then, as soon as calls wait, and when the last step asked for it.
  ElasticStep look(const LoadReading& reading);

  // Of an overflow worker's start. `random` as in restart_delay_ns().
  void failed(std::int64_t now_ns, std::uint8_t random);
  void started() { failures_ = 0; }

  unsigned base() const { return base_; }
  unsigned limit() const { return base_ + limits_.overflow; }
  const ElasticLimits& limits() const { return limits_; }

 private:
  struct Census;
  Census take_census(const LoadReading& reading) const;
  std::int64_t used_ns(const WorkerReading& worker, std::int64_t now_ns) const;
  void watch_waiting(const LoadReading& reading);
  void start(const LoadReading& reading, const Census& census, ElasticStep& step) const;
  void leave(const LoadReading& reading, ElasticStep& step);
  void resize(const LoadReading& reading, const Census& census);

  const ElasticLimits limits_;
  unsigned base_;

  // Some call waits since then, at least: the newest that there was then has not left yet.
  std::int64_t waiting_since_ns_ = INT64_MAX;
  std::uint64_t watched_ = 0;

  std::vector<std::int64_t> inherited_ns_;  // by seat: used_ns of one that left in its stead
  int failures_ = 0;
  std::int64_t next_start_ns_ = 0;

  // Of the window.
  std::int64_t began_ns_ = 0;
  std::int64_t looked_ns_ = 0;
  double need_ = 0;       // at the last look: busy workers, and calls that have waited too long
  double worked_ns_ = 0;  // its sum over time
  bool starved_ = false;  // some call has waited too long
};

}  // namespace samovar::core
