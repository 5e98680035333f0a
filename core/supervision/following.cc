// The supervisor's part that lets the number of workers follow the load, as elasticity.h decides: at each regular look, and in between
// when the dispatcher has told that calls wait.
#include <algorithm>
#include <utility>

#include "core/config/units.h"
#include "core/supervision/memory_room.h"
#include "core/supervision/supervisor.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kAskAgainNs = 1'000'000;

}  // namespace

void Supervisor::follow_load() {
  const std::int64_t now_ns = ipc::now_ns();
  load_due_ns_ = ipc::kNever;
  if (!follows_load_ || stopping_.load()) return;
  if (!ask_for_demand(now_ns)) {
    load_due_ns_ = now_ns + kAskAgainNs;
    return;
  }
  if (demand_.oldest != 0) read_room(now_ns);
  for (;;) {
    read_workers();
    const ElasticStep step = elasticity_.look({.now_ns = now_ns,
                                               .waiting = demand_.waiting,
                                               .oldest = demand_.oldest,
                                               .newest = demand_.newest,
                                               .room = room_,
                                               .workers = readings_});
    if (elasticity_.base() != seats_) resize(elasticity_.base());
    overflow_wanted_ = step.start;  // by fill_seats()
    waited_ns_ = step.waited_ns;
    refuse_overflow(step);
    load_due_ns_ = step.look_again_ns;
    if (!step.leave) return;
    const auto leaves = [&](const Worker& w) { return w.state == WorkerState::serving && w.seat == *step.leave; };
    retire(static_cast<std::size_t>(std::find_if(workers_.begin(), workers_.end(), leaves) - workers_.begin()), kNotNeeded);
  }
}

// False: whoever moves calls just now has not answered yet.
bool Supervisor::ask_for_demand(std::int64_t now_ns) {
  if (demand_asked_ns_ == 0) demand_asked_ns_ = now_ns;
  demand_ = dispatcher_->report(reports_);
  if (demand_.at_ns < demand_asked_ns_) return false;
  demand_asked_ns_ = 0;
  return true;
}

void Supervisor::read_workers() {
  readings_.clear();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const Worker& worker = workers_[i];
    if (worker.state == WorkerState::absent) continue;
    if (takes_or_has_calls(worker.state)) note_calls(i, worker.life.channel->pulse().started, demand_.at_ns);
    readings_.push_back({.seat = worker.seat, .state = worker.state, .is_busy = has_calls(i), .used_ns = worker.last_call_ns});
  }
}

void Supervisor::resize(unsigned base) {
  Event resized{.kind = EventKind::pool_resized, .message = std::to_string(base) + " workers instead of " + std::to_string(seats_), .pool = {},
                .took = {}, .method = {}, .state = {}, .count = base, .details = {}};
  resized.message += base > seats_ ? ": calls have waited for long" : ": the others had nothing to do";
  seats_ = base;
  counters_.workers_base.set(base);
  count_overflow();
  std::fill(vacated_ns_.begin() + base, vacated_ns_.end(), 0);  // who comes there next replaces nobody
  events_.tell(std::move(resized));
}

// Not at each look under load: it costs more than the look.
void Supervisor::read_room(std::int64_t now_ns) {
  if (room_read_ns_ != 0 && now_ns - room_read_ns_ < health_limits_.beat_ns) return;
  room_read_ns_ = now_ns;
  room_ = workers_that_fit(memory_room(), worker_bytes());
}

// What a further worker is expected to take: as much as the largest of those that serve.
std::uint64_t Supervisor::worker_bytes() const {
  std::uint64_t most = 0;
  for (const Worker& worker : workers_) {
    if (worker.state == WorkerState::serving) most = std::max(most, worker.life.channel->pulse().rss_anon_bytes);
  }
  return most;
}

void Supervisor::refuse_overflow(const ElasticStep& step) {
  if (!step.lacks_memory) {
    lacks_memory_ = lacks_memory_ && step.start == 0;  // over when some could be started
    return;
  }
  if (std::exchange(lacks_memory_, true)) return;
  const MemoryRoom room = memory_room();
  events_.tell({.kind = EventKind::overflow_refused,
                .message = "calls wait, and memory is too short for a further worker: one takes " + format_bytes(worker_bytes()) + ", " +
                           format_bytes(room.available) + " of " + format_bytes(room.total) +
                           " are available, a twentieth is kept free; give the pool more memory or lower max_overflow",
                .pool = {},
                .took = std::chrono::nanoseconds(step.waited_ns),
                .method = {},
                .state = "memory",
                .details = {}});
}

std::optional<unsigned> Supervisor::vacant_overflow_seat() const {
  if (is_full()) return std::nullopt;
  for (unsigned seat = seats_; seat < vacated_ns_.size(); ++seat) {
    if (!is_taken(seat)) return seat;
  }
  return std::nullopt;
}

void Supervisor::overflow_started(std::size_t index) {
  counters_.overflow_started.add();
  Event started = event(EventKind::overflow_started, index, label(index) + " starts beyond the base of " + std::to_string(seats_) + ": calls wait");
  started.took = std::chrono::nanoseconds(workers_[index].waited_ns);
  events_.tell(std::move(started));
}

void Supervisor::overflow_ended(std::size_t index, std::int64_t now_ns) {
  Event ended = event(EventKind::overflow_ended, index, label(index) + " was no longer needed: drained and ended");
  ended.took = std::chrono::nanoseconds(now_ns - workers_[index].ready_ns);
  events_.tell(std::move(ended));
}

void Supervisor::count_overflow() {
  counters_.workers_overflow.set(static_cast<std::uint64_t>(std::count_if(
      workers_.begin(), workers_.end(), [this](const Worker& w) { return w.state != WorkerState::absent && is_overflow(w.seat); })));
}

// --- who is there ---------------------------------------------------------------------------------------------------------

// Those that end count, and so do overflow workers in whose midst a grown base has a vacant seat.
bool Supervisor::is_full() const { return follows_load_ && workers_.size() - count(WorkerState::absent) >= elasticity_.limit(); }

bool Supervisor::all_are_in() const {
  return !vacant_seat() && count(WorkerState::serving) + count(WorkerState::absent) == workers_.size();
}

}  // namespace samovar::core
