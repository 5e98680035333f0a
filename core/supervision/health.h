// Health: what a worker is doing, told from its pulse, from the host's books and from /proc. A pure function of readings.
//
// Only a pidfd proves death; all of this is suspicion. It frees no memory and ends no call: it decides when a worker is killed.
//   busy      it runs a call; the interpreter lives, be it that it computes or that it waits with the GIL released
//   native    the GIL is not to be had and the main thread computes, or would if it got a CPU: native code at work
//   blocked   its event loop is in one turn, in which all its other calls wait; the interpreter lives
//   wedged    the GIL is not to be had and the main thread's clock stands still
//   stopped   the kernel says so: SIGSTOP, or a tracer, which is never a reason to kill
//   overdue   the call it runs has passed its deadline; its caller has been answered
// A beat that is missing says nothing by itself: the guard may be starved of CPU, the machine paused. /proc knows.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/supervision/worker_state.h"

namespace samovar::core {

enum class Health : std::uint8_t { dead, starting, idle, busy, native, overdue, wedged, stopped, retiring, blocked };

std::string_view to_string(Health health);

struct HealthLimits {
  std::int64_t beat_ns = 0;     // between two stamps of a guard
  std::int64_t kill_grace_ns = 0;
  std::int64_t wedged_after_ns = 0;
  std::int64_t blocked_after_ns = 0;  // of one turn of an event loop
  std::int64_t stopped_after_ns = 0;
};

// What /proc says of a process.
struct ProcessReading {
  char state = '\0';          // as in proc(5): 'T' stopped, 't' traced
  std::int64_t cpu_ns = 0;    // of the main thread, on a CPU
  std::int64_t ready_ns = 0;  // of the main thread, waiting for one

  friend bool operator==(const ProcessReading&, const ProcessReading&) = default;
};

struct Vitals {
  std::int64_t now_ns = 0;
  WorkerState state = WorkerState::absent;
  bool has_calls = false;          // by the host's books
  std::int64_t deadline_ns = 0;    // of the call it runs; kNever: it has none
  std::int64_t alive_ns = 0;       // the last sign of its guard, or when it became ready; the pulse: see ipc::Pulse
  std::int64_t probe_began_ns = 0;
  std::int64_t probe_ended_ns = 0;
  std::int64_t turn_began_ns = 0;  // of its event loop; -1: that waits, and what it runs waits; 0: it has none
  std::optional<ProcessReading> process;  // read where needs_process() says so
};

// What is remembered of a worker between two looks.
struct HealthMemory {
  std::int64_t looked_ns = 0;       // when; 0: never
  std::int64_t resumed_ns = 0;      // when this host itself last went on after a pause, or looked first: what came before does not count
  std::int64_t stopped_ns = 0;      // since when; 0: it is not
  std::int64_t still_ns = 0;        // since when the main thread's clock stands still; 0: it does not
  std::int64_t probe_ns = 0;        // the probe that `still_ns` belongs to
  ProcessReading process;
};

struct Diagnosis {
  Health health = Health::dead;
  std::int64_t since_ns = 0;      // of overdue, native, wedged, stopped, blocked
  bool is_suspect = false;        // worth telling: overdue, blocked, or at the limit of wedged or stopped
  bool is_condemned = false;      // its limit has passed
  std::int64_t look_again_ns = 0; // sooner than the next beat; kNever: no need
};

// Whether the pulse alone does not tell: then /proc is read.
bool needs_process(const Vitals& vitals, const HealthLimits& limits);

Diagnosis diagnose(HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits);

}  // namespace samovar::core
