// WorkerState: the life of one incarnation, as one pure function. What the OS has to be asked for then stands with Supervisor.
//
//   absent ─requested▶ forking ─spawned▶ starting, or ─withdrawn, stop▶ absent
//   absent ─spawned▶ starting ─ready▶ pinging ─ponged▶ serving ─retire▶ retiring ─drained▶ stopping ─overstayed▶ terminating
//                       │                │                │ └───stop───────┴─stop────────▶    │               │
//                       │                │                └─condemn─┬──────┴─condemn▶ condemned               │
//                       └─failed, overstayed, stop▶ killed ◀─dumped, overstayed─┘             └─overstayed▶ killed
//
// From starting on, failed and violated lead to killed from wherever there is a process; a death (exited) leads to absent from everywhere:
// the pidfd is the one proof.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace samovar::core {

enum class WorkerState : std::uint8_t {
  absent,       // no process
  forking,      // the nursery has been asked for one
  starting,     // spawned; it imports the user's module
  pinging,      // has said Ready; a ping is in its lane
  serving,      // takes calls
  retiring,     // gets no new calls; finishes what it has begun
  stopping,     // asked to end
  terminating,  // SIGTERM sent
  condemned,    // will be killed; its Python stacks have been asked for
  killed,       // SIGKILL is on its way
};
inline constexpr int kWorkerStates = 10;

enum class WorkerEvent : std::uint8_t {
  requested,   // of the nursery
  withdrawn,   // the nursery has refused, or ended
  spawned,
  ready,       // the message Ready
  ponged,      // answered the ping
  failed,      // a control message that cannot be, or something of ours was refused
  violated,    // broke the protocol of its lane
  retire,      // to be recycled, or replaced by fresh code
  drained,     // a retiring worker's lane is empty
  stop,        // the pool ends
  condemn,     // overdue, wedged or stopped for longer than its limit
  dumped,      // its Python stacks have come
  overstayed,  // start_timeout, stop_timeout or the time for the stacks has passed
  exited,      // its pidfd polls readable
};
inline constexpr int kWorkerEvents = 14;

// The state after `event`; nothing where `event` cannot happen in `state`.
constexpr std::optional<WorkerState> next(WorkerState state, WorkerEvent event) {
  using enum WorkerState;
  if (state == absent) {
    if (event == WorkerEvent::requested) return forking;
    return event == WorkerEvent::spawned ? std::optional(starting) : std::nullopt;
  }
  if (state == forking) {
    if (event == WorkerEvent::withdrawn || event == WorkerEvent::stop) return absent;
    return event == WorkerEvent::spawned ? std::optional(starting) : std::nullopt;
  }
  switch (event) {
    case WorkerEvent::exited: return absent;
    case WorkerEvent::failed:
    case WorkerEvent::violated: return state == starting && event == WorkerEvent::violated ? std::nullopt : std::optional(killed);
    default: break;
  }
  switch (state) {
    case starting:
      if (event == WorkerEvent::ready) return pinging;
      if (event == WorkerEvent::overstayed || event == WorkerEvent::stop) return killed;
      break;
    case pinging:
      if (event == WorkerEvent::ponged) return serving;
      if (event == WorkerEvent::overstayed || event == WorkerEvent::stop) return killed;
      break;
    case serving:
      if (event == WorkerEvent::retire) return retiring;
      if (event == WorkerEvent::stop) return stopping;
      if (event == WorkerEvent::condemn) return condemned;
      break;
    case retiring:
      if (event == WorkerEvent::drained || event == WorkerEvent::stop) return stopping;
      if (event == WorkerEvent::condemn) return condemned;
      break;
    case stopping:
      if (event == WorkerEvent::stop) return stopping;
      if (event == WorkerEvent::overstayed) return terminating;
      break;
    case terminating:
      if (event == WorkerEvent::stop) return terminating;
      if (event == WorkerEvent::overstayed) return killed;
      break;
    case condemned:
      if (event == WorkerEvent::dumped || event == WorkerEvent::overstayed || event == WorkerEvent::stop) return killed;
      break;
    case killed:
      if (event == WorkerEvent::stop || event == WorkerEvent::dumped || event == WorkerEvent::drained) return killed;
      break;
    case absent:
    case forking: break;
  }
  return std::nullopt;
}

// Whether it is on its way to its first call.
constexpr bool is_being_born(WorkerState state) {
  return state == WorkerState::forking || state == WorkerState::starting || state == WorkerState::pinging;
}

// Whether it may have calls, and its health is of interest.
constexpr bool takes_or_has_calls(WorkerState state) { return state == WorkerState::serving || state == WorkerState::retiring; }

constexpr std::string_view to_string(WorkerState state) {
  constexpr std::string_view kNames[] = {"absent",   "forking",  "starting",    "pinging",   "serving",
                                         "retiring", "stopping", "terminating", "condemned", "killed"};
  return kNames[static_cast<int>(state)];
}

}  // namespace samovar::core
