#include "core/supervision/health.h"

#include <algorithm>

#include "ipc/clock.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kBeatsMissing = 2;  // until a stamp is called old
constexpr std::int64_t kPausedBeats = 6;   // between two looks, and at least
constexpr std::int64_t kPausedNs = 1'000'000'000;  // this: it was the host itself that did not run

bool probe_waits(const Vitals& vitals) { return vitals.probe_began_ns > vitals.probe_ended_ns; }

std::int64_t plus(std::int64_t time_ns, std::int64_t duration_ns) {
  return duration_ns < ipc::kNever - time_ns ? time_ns + duration_ns : ipc::kNever;
}

// Before the first look there may have been one, too.
void notice_pause(HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits) {
  if (memory.looked_ns == 0 || vitals.now_ns - memory.looked_ns > std::max(kPausedBeats * limits.beat_ns, kPausedNs)) {
    memory = {.resumed_ns = vitals.now_ns};
  }
  memory.looked_ns = vitals.now_ns;
}

// Since when it is stopped, from its last sign of life: that came at most a beat before.
void notice_stop(HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits) {
  const char state = vitals.process ? vitals.process->state : '\0';
  if (state != 'T' && state != 't') {
    memory.stopped_ns = 0;
  } else if (memory.stopped_ns == 0) {
    memory.stopped_ns = std::clamp(vitals.alive_ns + limits.beat_ns / 2, std::min(memory.resumed_ns, vitals.now_ns), vitals.now_ns);
  }
}

void notice_stillness(HealthMemory& memory, const Vitals& vitals) {
  if (!vitals.process || !probe_waits(vitals)) {
    memory.still_ns = 0;
    return;
  }
  const ProcessReading& process = *vitals.process;
  const bool moves = process.state == 'R' || process.cpu_ns != memory.process.cpu_ns || process.ready_ns != memory.process.ready_ns ||
                     vitals.probe_began_ns != memory.probe_ns;
  if (moves || memory.still_ns == 0) memory.still_ns = vitals.now_ns;
  memory.process = process;
  memory.probe_ns = vitals.probe_began_ns;
}

Diagnosis stopped(const HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits) {
  const std::int64_t due_ns = plus(memory.stopped_ns, limits.stopped_after_ns);
  const bool due = vitals.now_ns >= due_ns;
  return {.health = Health::stopped,
          .since_ns = memory.stopped_ns,
          .is_suspect = due,
          .is_condemned = due && vitals.process->state == 'T',
          .look_again_ns = due ? ipc::kNever : due_ns};
}

// The GIL is not to be had. Wedged: not for as long as the limit, and for the later half of that the clock stood still, too.
Diagnosis without_gil(const HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits) {
  const std::int64_t since_ns = std::max(vitals.probe_began_ns, memory.resumed_ns);
  const bool still = memory.still_ns != 0 && memory.still_ns < vitals.now_ns;
  if (!still) return {.health = Health::native, .since_ns = since_ns, .look_again_ns = ipc::kNever};
  const std::int64_t due_ns = std::max(plus(since_ns, limits.wedged_after_ns), plus(memory.still_ns, limits.wedged_after_ns / 2));
  const bool due = vitals.now_ns >= due_ns;
  return {.health = Health::wedged, .since_ns = since_ns, .is_suspect = due, .is_condemned = due, .look_again_ns = due ? ipc::kNever : due_ns};
}

// An event loop that has been in one turn for as long as the limit: in what waits on it nobody would see that otherwise.
bool is_blocked(const HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits) {
  if (!vitals.has_calls || vitals.turn_began_ns <= 0) return false;
  return vitals.now_ns >= plus(std::max(vitals.turn_began_ns, memory.resumed_ns), limits.blocked_after_ns);
}

}  // namespace

std::string_view to_string(Health health) {
  constexpr std::string_view kNames[] = {"dead", "starting", "idle", "busy", "native", "overdue", "wedged", "stopped", "retiring", "blocked"};
  return kNames[static_cast<int>(health)];
}

bool needs_process(const Vitals& vitals, const HealthLimits& limits) {
  if (!takes_or_has_calls(vitals.state)) return false;
  const bool is_late = vitals.now_ns - vitals.alive_ns > kBeatsMissing * limits.beat_ns;
  return is_late || probe_waits(vitals);
}

Diagnosis diagnose(HealthMemory& memory, const Vitals& vitals, const HealthLimits& limits) {
  notice_pause(memory, vitals, limits);
  notice_stop(memory, vitals, limits);
  notice_stillness(memory, vitals);

  const auto plain = [](Health health) { return Diagnosis{.health = health, .look_again_ns = ipc::kNever}; };
  switch (vitals.state) {
    case WorkerState::absent: return plain(Health::dead);
    case WorkerState::forking:
    case WorkerState::starting:
    case WorkerState::pinging: return plain(Health::starting);
    case WorkerState::stopping:
    case WorkerState::terminating:
    case WorkerState::condemned:
    case WorkerState::killed: return plain(Health::retiring);
    case WorkerState::serving:
    case WorkerState::retiring: break;
  }
  if (memory.stopped_ns != 0) return stopped(memory, vitals, limits);
  const bool is_busy = vitals.has_calls && vitals.turn_began_ns >= 0;
  Diagnosis found = plain(vitals.state == WorkerState::retiring ? Health::retiring : is_busy ? Health::busy : Health::idle);
  if (vitals.has_calls && probe_waits(vitals)) found = without_gil(memory, vitals, limits);
  if (!found.is_suspect && is_blocked(memory, vitals, limits)) {
    found.health = Health::blocked;
    found.since_ns = std::max(vitals.turn_began_ns, memory.resumed_ns);
    found.is_suspect = true;
  }
  if (found.is_condemned || !vitals.has_calls || vitals.now_ns < vitals.deadline_ns) {
    if (vitals.has_calls) found.look_again_ns = std::min(found.look_again_ns, vitals.deadline_ns);
    return found;
  }
  const std::int64_t since_ns = std::max(vitals.deadline_ns, memory.resumed_ns);
  const std::int64_t due_ns = plus(since_ns, limits.kill_grace_ns);
  const bool due = vitals.now_ns >= due_ns;
  return {.health = Health::overdue,
          .since_ns = since_ns,
          .is_suspect = true,
          .is_condemned = due,
          .look_again_ns = due ? ipc::kNever : std::min(due_ns, found.look_again_ns)};
}

}  // namespace samovar::core
