#include "core/observe/events.h"

#include <exception>
#include <string>
#include <utility>

namespace samovar {

std::string_view to_string(EventKind kind) {
  constexpr std::string_view kNames[] = {
      "worker_started",   "worker_ready",    "worker_failed",   "worker_suspected", "worker_recovered", "worker_killed", "worker_lost",
      "worker_restarted", "worker_recycled", "nursery_started", "nursery_ready", "nursery_failed", "nursery_lost", "nursery_threads", "overflow_started", "overflow_ended", "overflow_refused", "pool_resized", "calls_timed_out",
      "queue_full", "breaker_opened", "breaker_probing", "breaker_closed", "pool_quarantined", "pool_released", "pool_reloaded",
      "reload_failed", "pool_drained"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string Event::to_string() const {
  std::string text = message;
  const auto add = [&text](std::string_view name, std::string_view value) { ((text += ' ') += name) += '='; text += value; };
  add("event", samovar::to_string(kind));
  add("pool", pool);
  if (worker >= 0) add("worker", std::to_string(worker));
  if (incarnation != 0) add("incarnation", std::to_string(incarnation));
  if (pid > 0) add("pid", std::to_string(pid));
  if (took.count() > 0) add("ms", std::to_string(took.count() / 1'000'000));
  if (!method.empty()) add("method", method);
  if (!state.empty()) add("state", state);
  if (count > 0) add("count", std::to_string(count));
  if (!details.empty()) (text += '\n') += details;
  return text;
}

}  // namespace samovar

namespace samovar::core {

LogLevel level_of(EventKind kind) {
  switch (kind) {
    case EventKind::nursery_started:
    case EventKind::worker_started: return LogLevel::debug;
    case EventKind::nursery_ready:
    case EventKind::worker_ready:
    case EventKind::worker_restarted:
    case EventKind::worker_recovered:
    case EventKind::worker_recycled:
    case EventKind::breaker_probing:
    case EventKind::breaker_closed:
    case EventKind::overflow_started:
    case EventKind::overflow_ended:
    case EventKind::pool_resized:
    case EventKind::pool_released:
    case EventKind::pool_reloaded:
    case EventKind::pool_drained: return LogLevel::info;
    case EventKind::nursery_lost:
    case EventKind::nursery_threads:
    case EventKind::worker_suspected:
    case EventKind::worker_lost:
    case EventKind::overflow_refused:
    case EventKind::calls_timed_out:
    case EventKind::queue_full:
    case EventKind::breaker_opened: return LogLevel::warning;
    case EventKind::nursery_failed:
    case EventKind::worker_failed:
    case EventKind::worker_killed:
    case EventKind::pool_quarantined:
    case EventKind::reload_failed: return LogLevel::error;
  }
  return LogLevel::error;
}

void Events::tell(Event event) {
  event.pool = options_.name;
  const LogLevel level = level_of(event.kind);
  if (log_.writes(level)) log_.write(level, event.to_string());
  if (!options_.on_event) return;
  try {
    options_.on_event(event);
  } catch (const std::exception& thrown) {
    log_.error(std::string("Options::on_event threw: ") + thrown.what());
  } catch (...) {
    log_.error("Options::on_event threw");
  }
}

void Events::post(Event event) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(event));
  }
  bell_.ring();
}

void Events::tell_posted() {
  std::vector<Event> posted;
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (Event& event : posted) tell(std::move(event));
}

}  // namespace samovar::core
