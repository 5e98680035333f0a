// Events: what becomes of a pool's workers and of the calls that they do not get. Each is told to Options::on_event and is a log line.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <samovar/api.h>

namespace samovar {

enum class EventKind : std::uint8_t {
  worker_started,    // a process was spawned; pid
  worker_ready,      // it has answered its ping; pid, took: since its spawn
  worker_failed,     // it ended, or was ended, before it was ready; message has the reason, details the traceback or last output
  worker_suspected,  // it does not do what it should: state says what (overdue, wedged, stopped, blocked), took: for how long, method
  worker_recovered,  // a suspected worker goes on; state: what it was
  worker_killed,     // the pool has ended it; state: why (overdue, wedged, stopped, broken), details: the Python stacks of its threads
  worker_lost,       // it ended without being asked; message says how, details has its last output
  worker_restarted,  // another incarnation of a lost or recycled worker is ready; took: since the end of the former
  worker_recycled,   // it was drained and ended as planned; state: calls, age, memory, idle or reload
  nursery_started,   // the process from which workers are forked was spawned; pid
  nursery_ready,     // it has loaded the module; pid, took
  nursery_failed,    // it ended, or was ended, before it was ready; message has the reason, details the traceback or last output
  nursery_lost,      // it ended without being asked; its workers go on
  nursery_threads,   // loading the module has started threads: it cannot fork, and workers are started by exec
  overflow_started,  // a worker beyond the base was spawned; pid, took: how long calls had waited
  overflow_ended,    // it was no longer needed, drained and ended; pid, took: since it was ready
  overflow_refused,  // calls wait, and memory is too short for a further worker; said once
  pool_resized,      // the base follows the load; count: workers, from now on
  calls_timed_out,   // count calls of `method` have passed their deadlines since the last such event
  queue_full,        // count calls were refused since the last such event, because queue_limit waited already
  breaker_opened,    // of `method`, or of the pool where that is empty
  breaker_probing,   // half-open
  breaker_closed,
  pool_quarantined,  // no worker starts: calls fail at once, with the reason; details: the traceback
  pool_released,     // a worker has started again; took: since the quarantine began
  pool_reloaded,     // all workers run fresh code; took
  reload_failed,     // the old workers go on; message has the reason, details the traceback
  pool_drained,      // took
};

SAMOVAR_API std::string_view to_string(EventKind kind);  // "worker_ready"

struct Event {
  EventKind kind = EventKind::worker_started;
  std::string message;            // one sentence for people
  std::string pool;               // Options::name
  int worker = -1;                // its number, or -1
  std::uint64_t incarnation = 0;  // its life, or 0
  pid_t pid = 0;
  std::chrono::nanoseconds took{};
  std::string method;
  std::string state;
  std::uint64_t count = 0;
  std::string details;  // several lines

  // The message and then the fields that are set: "worker 0 (PID 4711) ready in 87 ms event=worker_ready pool=samovar worker=0 …".
  SAMOVAR_API std::string to_string() const;
};

// Called by the pool's supervisor thread (inside Pool::start: by its caller), one event at a time, in their order. While it runs no worker is
// started, replaced or ended: it must return soon and must not wait for a call of this pool. What it throws is logged.
using EventHook = std::function<void(const Event&)>;

}  // namespace samovar
