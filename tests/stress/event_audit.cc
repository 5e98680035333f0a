#include "tests/stress/event_audit.h"

namespace samovar::test {

EventHook EventAudit::hook() {
  return [heard = heard_](const Event& event) {
    const std::lock_guard lock(heard->mutex);
    heard->hear(event);
  };
}

void EventAudit::Heard::hear(const Event& event) {
  ++counts.at(static_cast<std::size_t>(event.kind));
  if (event.message.empty()) contradict(event, "has no message");
  if (event.incarnation != 0) hear_of_worker(event);
}

void EventAudit::Heard::hear_of_worker(const Event& event) {
  const auto found = living.find(event.incarnation);
  if (event.kind == EventKind::worker_started) {
    if (found != living.end()) return contradict(event, "tells of an incarnation that lives already");
    if (event.pid <= 0) contradict(event, "has no PID");
    living[event.incarnation] = {.life = Life::started, .seat = event.worker};
    return;
  }
  if (found == living.end()) {  // a spawn that was refused is told as failed alone
    if (event.kind != EventKind::worker_failed) contradict(event, "tells of an incarnation that does not live");
    return;
  }
  Worker& worker = found->second;
  const bool serves = worker.life == Life::serving || worker.life == Life::suspected;
  if (event.worker != worker.seat) contradict(event, "gives a worker another seat");
  switch (event.kind) {
    case EventKind::worker_ready:
      if (worker.life != Life::started) contradict(event, "tells of a worker that was ready before");
      worker.life = Life::serving;
      return;
    case EventKind::worker_failed:
      if (worker.life != Life::started) contradict(event, "tells of a worker that was ready");
      living.erase(found);
      return;
    case EventKind::worker_suspected:
      if (!serves || event.state.empty()) contradict(event, "suspects one that does not serve, or of nothing");
      worker.life = Life::suspected;
      return;
    case EventKind::worker_recovered:
      if (worker.life != Life::suspected || event.state.empty()) contradict(event, "tells of one that was not suspected");
      worker.life = Life::serving;
      return;
    case EventKind::worker_killed:
      if (!serves) contradict(event, "tells of one that does not serve");
      if (event.state.empty()) contradict(event, "has no reason");
      ++killed[event.state];
      worker.life = Life::killed;
      return;
    case EventKind::worker_lost:
      if (!serves && worker.life != Life::killed) contradict(event, "tells of one that did not serve");
      living.erase(found);
      return;
    case EventKind::worker_recycled:
      if (!serves || event.state.empty()) contradict(event, "recycles one that does not serve, or for nothing");
      living.erase(found);
      return;
    case EventKind::overflow_ended:
      if (!serves) contradict(event, "ends one that does not serve");
      living.erase(found);
      return;
    case EventKind::worker_restarted:
      if (!serves) contradict(event, "tells of one that does not serve");
      return;
    default: return;
  }
}

void EventAudit::Heard::contradict(const Event& event, const char* why) {
  if (contradictions.size() < 20) contradictions.push_back(event.to_string() + ": " + why);
}

std::uint64_t EventAudit::count(EventKind kind) const {
  const std::lock_guard lock(heard_->mutex);
  return heard_->counts.at(static_cast<std::size_t>(kind));
}

std::uint64_t EventAudit::killed_for(const std::string& state) const {
  const std::lock_guard lock(heard_->mutex);
  const auto found = heard_->killed.find(state);
  return found == heard_->killed.end() ? 0 : found->second;
}

std::vector<std::string> EventAudit::contradictions() const {
  const std::lock_guard lock(heard_->mutex);
  return heard_->contradictions;
}

std::vector<std::string> EventAudit::contradictions_at_rest(unsigned workers) const {
  const std::lock_guard lock(heard_->mutex);
  std::vector<std::string> found = heard_->contradictions;
  for (unsigned seat = 0; seat < workers; ++seat) {
    std::size_t serving = 0, others = 0;
    for (const auto& [incarnation, worker] : heard_->living) {
      if (worker.seat == static_cast<int>(seat)) ++(worker.life == Life::serving ? serving : others);
    }
    if (serving == 1 && others == 0) continue;
    found.push_back("by its events, worker " + std::to_string(seat) + " has " + std::to_string(serving) + " incarnations that serve and " +
                    std::to_string(others) + " that do not");
  }
  return found;
}

std::string EventAudit::to_string() const {
  const std::lock_guard lock(heard_->mutex);
  std::string text;
  for (std::size_t kind = 0; kind < heard_->counts.size(); ++kind) {
    if (heard_->counts[kind] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string(samovar::to_string(static_cast<EventKind>(kind))) + " " +
            std::to_string(heard_->counts[kind]);
    if (static_cast<EventKind>(kind) != EventKind::worker_killed) continue;
    std::string states;
    for (const auto& [state, count] : heard_->killed) states += (states.empty() ? "" : ", ") + state + " " + std::to_string(count);
    text += " (" + states + ")";
  }
  return text;
}

}  // namespace samovar::test
