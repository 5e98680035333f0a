// WorkerState: the life of one incarnation, as one pure function. What the OS has to be asked for then stands in supervisor.cc.
//
//   absent ─spawned▶ starting ─ready▶ pinging ─ponged▶ serving ─stop▶ stopping ─exited▶ absent
//                       └────────┬───────┘                 └─violated, overstayed▶ killed ─exited▶ absent
//                                └─failed, overstayed, stop▶ killed
//
// A death (exited) leads to absent from everywhere: the pidfd is the one proof.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace samovar::core {

enum class WorkerState : std::uint8_t {
  absent,    // no process
  starting,  // spawned; it imports the user's module
  pinging,   // has said Ready; a ping is in its lane
  serving,   // takes calls
  stopping,  // asked to end
  killed,    // SIGKILL is on its way
};
inline constexpr int kWorkerStates = 6;

enum class WorkerEvent : std::uint8_t {
  spawned,
  ready,       // the message Ready
  ponged,      // answered the ping
  failed,      // StartFailed, or a control message that cannot be
  violated,    // broke the protocol of its lane
  stop,        // the pool ends
  overstayed,  // start_timeout or stop_timeout passed
  exited,      // its pidfd polls readable
};
inline constexpr int kWorkerEvents = 8;

// The state after `event`; nothing where `event` cannot happen in `state`.
constexpr std::optional<WorkerState> next(WorkerState state, WorkerEvent event) {
  using enum WorkerState;
  if (event == WorkerEvent::exited) return state == absent ? std::nullopt : std::optional(absent);
  switch (state) {
    case absent:
      if (event == WorkerEvent::spawned) return starting;
      break;
    case starting:
      if (event == WorkerEvent::ready) return pinging;
      if (event == WorkerEvent::failed || event == WorkerEvent::overstayed || event == WorkerEvent::stop) return killed;
      break;
    case pinging:
      if (event == WorkerEvent::ponged) return serving;
      if (event == WorkerEvent::failed || event == WorkerEvent::overstayed || event == WorkerEvent::stop ||
          event == WorkerEvent::violated) {
        return killed;
      }
      break;
    case serving:
      if (event == WorkerEvent::stop) return stopping;
      if (event == WorkerEvent::violated || event == WorkerEvent::failed) return killed;
      break;
    case stopping:
      if (event == WorkerEvent::stop) return stopping;
      if (event == WorkerEvent::violated || event == WorkerEvent::failed || event == WorkerEvent::overstayed) return killed;
      break;
    case killed:
      if (event != WorkerEvent::spawned && event != WorkerEvent::ready && event != WorkerEvent::ponged) return killed;
      break;
  }
  return std::nullopt;
}

constexpr std::string_view to_string(WorkerState state) {
  constexpr std::string_view kNames[] = {"absent", "starting", "pinging", "serving", "stopping", "killed"};
  return kNames[static_cast<int>(state)];
}

}  // namespace samovar::core
