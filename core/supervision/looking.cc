// The supervisor's part that watches living workers: what they print, how they are, whether they have lived long enough.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/config/units.h"
#include "core/errors.h"
#include "core/supervision/process_reading.h"
#include "core/supervision/supervisor.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kStacksNs = 500'000'000;  // a worker's time to dump its stacks before it is killed

std::string seconds(std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) * 1e-9);
  return text;
}

}  // namespace

void Supervisor::read_output(std::size_t index) {
  Worker& worker = workers_[index];
  const std::string prefix = "worker " + std::to_string(worker.seat) + ": ";
  const auto on_line = [&](LogLevel level, std::string_view line) { log_.write(level, prefix + std::string(line)); };
  if (!worker.output.drain(worker.life.output_fd.get(), on_line)) {
    unwatch(worker.life.output_fd.get());
    worker.life.output_fd.reset();
  }
}

void Supervisor::look() {
  const std::int64_t now_ns = ipc::now_ns();
  look_due_ns_ = now_ns + health_limits_.beat_ns;
  dispatcher_->report(reports_);
  dispatcher_->expire_one_shots();
  dispatcher_->call_events().tell(events_);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (!takes_or_has_calls(workers_[i].state)) continue;
    const Diagnosis found = look_at(i, now_ns);
    look_due_ns_ = std::min(look_due_ns_, std::max(found.look_again_ns, now_ns + 1));
    suspect(i, found, now_ns);
    if (found.is_condemned) condemn(i, found, now_ns);
  }
  look_at_nurseries(now_ns);
  recycle_one(now_ns);
  if (follows_load_) load_due_ns_ = now_ns;
}

void Supervisor::note_processes() {
  std::vector<ProcessStats> now;
  for (const Worker& worker : workers_) {
    if (!worker.life.process) continue;
    now.push_back({.worker = static_cast<int>(worker.seat),
                   .incarnation = worker.life.number,
                   .pid = worker.life.process.pid(),
                   .state = std::string(to_string(worker.state))});
  }
  std::stable_sort(now.begin(), now.end(), [](const ProcessStats& a, const ProcessStats& b) { return a.worker < b.worker; });
  for (const auto& nursery : nurseries_) now.push_back({.pid = nursery->life().process.pid(), .state = {}});
  const std::lock_guard lock(processes_mutex_);
  processes_.swap(now);
}

std::vector<ProcessStats> Supervisor::processes() const {
  std::vector<ProcessStats> found;
  {
    const std::lock_guard lock(processes_mutex_);
    found = processes_;
  }
  for (ProcessStats& process : found) {
    const MemoryReading memory = read_memory(process.pid);
    process.resident_bytes = memory.resident;
    process.proportional_bytes = memory.proportional;
    process.private_bytes = memory.unshared;
  }
  return found;
}

Diagnosis Supervisor::look_at(std::size_t index, std::int64_t now_ns) {
  Worker& worker = workers_[index];
  const ipc::Pulse pulse = worker.life.channel->pulse();
  note_calls(index, pulse.started, now_ns);
  Vitals vitals{.now_ns = now_ns,
                .state = worker.state,
                .has_calls = false,
                .deadline_ns = ipc::kNever,
                .alive_ns = std::max(pulse.alive_ns, worker.ready_ns),
                .probe_began_ns = pulse.probe_began_ns,
                .probe_ended_ns = pulse.probe_ended_ns,
                .turn_began_ns = pulse.turn_began_ns,
                .process = {}};
  if (index < reports_.size() && reports_[index].incarnation == worker.life.number) {
    vitals.has_calls = reports_[index].in_flight > 0;
    vitals.deadline_ns = reports_[index].deadline_ns;
  }
  if (needs_process(vitals, health_limits_)) vitals.process = read_process(worker.life.process.pid());
  return diagnose(worker.health, vitals, health_limits_);
}

void Supervisor::note_calls(std::size_t index, std::uint64_t started, std::int64_t now_ns) {
  Worker& worker = workers_[index];
  const bool is_busy = has_calls(index);
  // One that was busy at the last look has been so until some moment since: it counts as used until now, never for less than it was.
  if (started != worker.calls_seen || is_busy || worker.was_busy) worker.last_call_ns = now_ns;
  worker.was_busy = is_busy;
  worker.calls_seen = started;
}

bool Supervisor::has_calls(std::size_t index) const {
  return index < reports_.size() && reports_[index].incarnation == workers_[index].life.number && reports_[index].in_flight > 0;
}

void Supervisor::suspect(std::size_t index, const Diagnosis& found, std::int64_t now_ns) {
  Worker& worker = workers_[index];
  if (found.is_suspect == worker.suspected && (!found.is_suspect || found.health == worker.suspicion)) return;
  const Health named = found.is_suspect ? found.health : worker.suspicion;
  worker.suspected = found.is_suspect;
  worker.suspicion = named;
  Event event = this->event(found.is_suspect ? EventKind::worker_suspected : EventKind::worker_recovered, index, label(index));
  event.state = to_string(named);
  if (found.is_suspect) {
    event.took = std::chrono::nanoseconds(now_ns - found.since_ns);
    if (reports_[index].in_flight > 0) event.method = dispatcher_->methods().name(reports_[index].method);
    if (named == Health::blocked) tell_of_turn(index, event);
    else event.message += named == Health::overdue ? " still runs a call whose deadline has passed" : " is " + event.state;
  } else {
    event.message += " goes on; it was " + event.state;
  }
  events_.tell(std::move(event));
}

// What keeps an event loop from coming round. The pulse is the worker's word, and may be of a later turn.
void Supervisor::tell_of_turn(std::size_t index, Event& event) const {
  const Worker& worker = workers_[index];
  const std::uint16_t number = worker.life.channel->pulse().method;
  event.method = number > 0 && number <= worker.methods.size() ? worker.methods[number - 1u].name : std::string();
  event.message = "the event loop of " + event.message + " has not come round for " +
                  std::to_string(event.took.count() / 1'000'000) + " ms while running " +
                  (event.method.empty() ? "what is no method's own code" : event.method);
}

void Supervisor::condemn(std::size_t index, const Diagnosis& found, std::int64_t now_ns) {
  Worker& worker = workers_[index];
  if (!advance(index, WorkerEvent::condemn)) return;
  const std::string lasted = seconds(now_ns - found.since_ns);
  std::string why = label(index) + " was killed: ";
  switch (found.health) {
    case Health::overdue:
      why += "its call ran for " + lasted + " past the deadline (kill_grace = " + format_duration(options_.kill_grace) + ")";
      break;
    case Health::wedged:
      why += "for " + lasted + " its GIL was not to be had and its main thread did not run (wedged_after = " +
             format_duration(options_.wedged_after) + "); native code holds the GIL and waits";
      break;
    default: why += "it was stopped by a signal for " + lasted + " (stopped_after = " + format_duration(options_.stopped_after) + ")";
  }
  worker.failure = make_error(Category::worker, Code::worker_lost, std::move(why));
  worker.condemned_for = to_string(found.health);
  if (found.health == Health::stopped) {  // no thread of it could dump anything
    advance(index, WorkerEvent::dumped);
    return kill_now(index);
  }
  (void)worker.life.socket->send(ipc::encode_control(ipc::DumpStacks{}));  // gone already: its pidfd says so
  worker.due_ns = now_ns + kStacksNs;
}

void Supervisor::recycle_one(std::int64_t now_ns) {
  if (reload_ || !all_are_in()) return;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const Worker& worker = workers_[i];
    if (worker.state != WorkerState::serving) continue;
    const bool is_idle = i < reports_.size() && reports_[i].incarnation == worker.life.number && reports_[i].in_flight == 0;
    const std::uint64_t calls = worker.calls_seen > 0 ? worker.calls_seen - 1 : 0;  // but for the ping
    const auto why = recycle_reason(recycle_limits_,
                                    {.seat = worker.seat,
                                     .calls = calls,
                                     .age_ns = now_ns - worker.ready_ns,
                                     .memory_bytes = worker.life.channel->pulse().rss_anon_bytes,
                                     .idle_ns = is_idle && calls > 0 ? now_ns - worker.last_call_ns : 0},
                                    static_cast<unsigned>(vacated_ns_.size()));
    if (why) return retire(i, *why);
  }
}

void Supervisor::retire(std::size_t index, std::string_view why) {
  Worker& worker = workers_[index];
  if (!advance(index, WorkerEvent::retire)) return;
  worker.retired_for = why;
  dispatcher_->retire(static_cast<int>(index), worker.life.number);
}

}  // namespace samovar::core
