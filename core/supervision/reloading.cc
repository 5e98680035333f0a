// The supervisor's part that replaces workers by such with fresh code: for each seat a worker is started in the spare slot, and only
// when it serves the old one is retired. So no call waits for an import, and code that does not import replaces nothing.
#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/supervision/supervisor.h"

namespace samovar::core {

Result<void> Supervisor::reload() {
  const std::lock_guard one_at_a_time(reload_mutex_);
  std::unique_lock lock(notices_mutex_);
  if (ended_) return tl::unexpected(pool_stopped());
  reload_result_.reset();
  reload_wanted_ = true;
  bell_.ring();
  reload_done_.wait(lock, [this] { return reload_result_.has_value(); });
  return std::move(*reload_result_);
}

// By what the workers' states are now; called whenever one of them may have changed.
void Supervisor::step_reload() {
  if (stopping_.load()) return;
  if (reload_->fresh) {
    const WorkerState fresh = workers_[*reload_->fresh].state;
    if (is_being_born(fresh)) return;
    const Worker& old = workers_[*reload_->old];
    const bool old_is_there = old.state != WorkerState::absent && old.life.number == reload_->old_incarnation;
    if (fresh == WorkerState::serving) use_next_nursery();
    if (old_is_there && old.state == WorkerState::serving && fresh == WorkerState::serving) retire(*reload_->old, "reload");
    if (old_is_there && old.state != WorkerState::serving) return;  // it finishes its calls, and ends
    reload_->fresh.reset();
  }
  const auto is_stale = [this](const Worker& w) { return w.state == WorkerState::serving && w.generation != generation_; };
  const auto old = std::find_if(workers_.begin(), workers_.end(), is_stale);
  if (old == workers_.end()) {
    if (all_are_in()) finish_reload({});  // one that died meanwhile starts from fresh code anyway
    return;
  }
  if (!has_fresh_code()) return;
  const std::optional<std::size_t> slot = free_slot(old->seat);
  if (!slot) return;  // a worker is still ending
  const unsigned seat = old->seat;
  reload_->old = static_cast<std::size_t>(old - workers_.begin());
  reload_->old_incarnation = old->life.number;
  reload_->fresh = *slot;
  spawn(*slot, seat, fresh_forker());
}

// Whether a worker that is started now has the code that the reload is to bring in: by exec it has.
bool Supervisor::has_fresh_code() {
  if (fresh_forker()) return true;
  if (next_nursery_ || (nursery_ && nursery_->generation() == generation_)) return false;  // it is loading
  if (!wants_nursery()) return true;
  next_nursery_ = start_nursery();
  return false;
}

// From now on: one worker with its code has been seen to serve. Where that was started by exec no nursery is of use any more.
void Supervisor::use_next_nursery() {
  if (next_nursery_ || !wants_nursery()) nursery_ = std::move(next_nursery_);
}

void Supervisor::finish_reload(Result<void> result) {
  if (reload_) {
    const auto took = std::chrono::nanoseconds(ipc::now_ns() - reload_->began_ns);
    reload_.reset();
    next_nursery_.reset();
    Event done{.kind = EventKind::pool_reloaded, .message = "all workers run fresh code", .pool = {}, .took = took, .method = {}, .state = {}, .details = {}};
    if (result) {
      dispatcher_->extend_methods(methods_);
    } else {  // what has been replaced stays, the others go on with the code they have
      const Error& error = result.error();
      done.kind = EventKind::reload_failed;
      done.message = "the workers were not replaced: " + error.message;
      done.details = error.context.traceback.empty() ? error.context.output : error.context.traceback;
    }
    events_.tell(std::move(done));
  } else {
    const std::lock_guard lock(notices_mutex_);
    if (!std::exchange(reload_wanted_, false)) return;
  }
  {
    const std::lock_guard lock(notices_mutex_);
    reload_result_ = std::move(result);
  }
  reload_done_.notify_all();
}

}  // namespace samovar::core
