// OneShots: calls that run in a fresh Python process each, because the pool cannot run them or is switched off.
//
// Same module, same protocol, same code that sends and takes the answer (a DutyCycle of its own), so the same results and the same
// errors; it costs a process start each. As many run at a time as the pool has workers, each driven by a thread that is there only
// while there is something to do. The rest wait here, at most queue_limit.
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

#include "core/arenas/request_arena.h"
#include "core/dispatch/call.h"
#include "core/dispatch/duty_cycle.h"
#include "core/dispatch/method_table.h"
#include "core/observe/call_events.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"
#include "core/observe/log.h"
#include "core/supervision/launcher.h"

namespace samovar::core {

class OneShots {
 public:
  // What the dispatcher does for the calls that end here.
  struct Ends {
    virtual void deliver(DutyCycle::Outbox& outbox) = 0;       // those that a duty cycle has ended
    virtual void finish_outside(Call& call, Error error) = 0;  // requires: claimed

   protected:
    ~Ends() = default;
  };

  // All outlive this.
  OneShots(const Options& options, const Launcher& launcher, const Methods& methods, Counters& counters, CallEvents& call_events,
           RequestArena& arena, Events& events, const Log& log, Ends& ends);
  ~OneShots();  // stop()

  // Whether fewer than queue_limit calls wait.
  bool has_room();

  // Takes over the dispatcher's reference of an admitted call that is queued. False: it has been stopped.
  bool enqueue(Call& call);

  // Ends calls whose deadlines have passed while they wait; those with a caller see to themselves.
  void expire(std::int64_t now_ns);

  // Ends all calls with `error`, and their processes. Blocks. Nothing is taken any more.
  void stop(const Error& error);

 private:
  class Run;

  void work();
  void end_waiting(Call& call, Error error);

  const Options& options_;
  const Options alone_;  // as a pool of one worker for one call
  const Launcher& launcher_;
  const Methods& methods_;
  Counters& counters_;
  CallEvents& call_events_;
  RequestArena& arena_;
  Events& events_;
  const Log& log_;
  Ends& ends_;

  std::mutex mutex_;
  std::deque<Call*> waiting_;          // guarded by mutex_
  std::vector<std::thread> threads_;   // guarded by mutex_; those that have ended are joined by the next
  std::vector<std::thread::id> ended_; // guarded by mutex_
  unsigned running_ = 0;               // guarded by mutex_
  bool stopped_ = false;               // guarded by mutex_
  std::atomic<bool> stopping_{false};
};

}  // namespace samovar::core
