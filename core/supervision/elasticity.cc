#include "core/supervision/elasticity.h"

#include <algorithm>
#include <cmath>

#include "core/supervision/restart_policy.h"

namespace samovar::core {
namespace {

constexpr double kFull = 7.0 / 8;  // of the base: as much mean need is enough to grow where calls had to wait
constexpr unsigned kGrowth = 2;    // times, at most, from one window to the next

}  // namespace

struct Elasticity::Census {
  unsigned there = 0;        // anything but absent; and those that fill the base in a moment
  unsigned coming = 0;       // start, or are to be started to fill the base
  unsigned busy = 0;
  unsigned beyond_base = 0;
  bool is_overdue = false;   // a call has waited too long
};

Elasticity::Elasticity(const ElasticLimits& limits)
    : limits_(limits), base_(limits.workers), inherited_ns_(std::max(limits.workers, limits.workers_max) + limits.overflow) {}

ElasticStep Elasticity::look(const LoadReading& reading) {
  ElasticStep step;
  watch_waiting(reading);
  Census census = take_census(reading);
  resize(reading, census);
  census = take_census(reading);  // the base may be another
  if (waiting_since_ns_ != INT64_MAX) {
    step.waited_ns = reading.now_ns - waiting_since_ns_;
    start(reading, census, step);
  } else if (census.beyond_base > 0) {
    leave(reading, step);
  }
  return step;
}

void Elasticity::watch_waiting(const LoadReading& reading) {
  if (reading.oldest == 0) {
    waiting_since_ns_ = INT64_MAX;
  } else if (waiting_since_ns_ == INT64_MAX || reading.oldest > watched_) {
    waiting_since_ns_ = reading.now_ns;
    watched_ = reading.newest;
  }
}

Elasticity::Census Elasticity::take_census(const LoadReading& reading) const {
  Census census;
  unsigned base_there = 0;
  for (const WorkerReading& worker : reading.workers) {
    if (worker.state == WorkerState::absent) continue;
    ++census.there;
    if (is_being_born(worker.state)) ++census.coming;
    if (worker.is_busy && takes_or_has_calls(worker.state)) ++census.busy;
    ++(worker.seat < base_ ? base_there : census.beyond_base);
  }
  if (base_there < base_) {
    census.coming += base_ - base_there;
    census.there += base_ - base_there;
  }
  census.is_overdue = waiting_since_ns_ != INT64_MAX && reading.now_ns - waiting_since_ns_ >= limits_.after_ns;
  return census;
}

void Elasticity::start(const LoadReading& reading, const Census& census, ElasticStep& step) const {
  if (!census.is_overdue) {
    step.look_again_ns = waiting_since_ns_ + limits_.after_ns;
    return;
  }
  const unsigned missing = reading.waiting > census.coming ? reading.waiting - census.coming : 0;
  const unsigned allowed = limit() > census.there ? limit() - census.there : 0;
  unsigned wanted = std::min(missing, allowed);
  if (wanted == 0) return;  // the next regular look is soon enough
  if (reading.now_ns < next_start_ns_) {
    step.look_again_ns = next_start_ns_;
    return;
  }
  if (failures_ > 0) wanted = 1;
  step.start = std::min(wanted, reading.room > census.coming ? reading.room - census.coming : 0);  // those that come have not taken theirs yet
  step.lacks_memory = step.start < wanted;
  step.look_again_ns = reading.now_ns + limits_.after_ns;
}

std::int64_t Elasticity::used_ns(const WorkerReading& worker, std::int64_t now_ns) const {
  if (worker.is_busy) return now_ns;
  return std::max(worker.used_ns, worker.seat < inherited_ns_.size() ? inherited_ns_[worker.seat] : 0);
}

// One too many is there if any has long been idle. The one that goes is of those beyond the base, and be it busy: the idle one takes
// its place, and with it the memory of when it was needed.
void Elasticity::leave(const LoadReading& reading, ElasticStep& step) {
  const WorkerReading* idle = nullptr;      // for long; beyond the base rather than in it
  const WorkerReading* leaving = nullptr;
  std::int64_t least_ns = INT64_MAX;
  const auto rank = [&](const WorkerReading& w) { return std::pair(!w.is_busy, w.seat); };
  for (const WorkerReading& worker : reading.workers) {
    if (worker.state != WorkerState::serving) continue;
    least_ns = std::min(least_ns, used_ns(worker, reading.now_ns));
    const bool long_idle = reading.now_ns - used_ns(worker, reading.now_ns) >= limits_.linger_ns;
    if (long_idle && (!idle || worker.seat > idle->seat)) idle = &worker;
    if (worker.seat >= base_ && (!leaving || rank(worker) > rank(*leaving))) leaving = &worker;
  }
  if (!leaving) return;
  if (!idle) {
    step.look_again_ns = least_ns + limits_.linger_ns;
    return;
  }
  if (idle->seat >= base_) leaving = idle;
  if (leaving != idle && idle->seat < inherited_ns_.size()) inherited_ns_[idle->seat] = used_ns(*leaving, reading.now_ns);
  step.leave = leaving->seat;
}

void Elasticity::failed(std::int64_t now_ns, std::uint8_t random) {
  failures_ = std::min(failures_ + 1, 64);
  next_start_ns_ = now_ns + restart_delay_ns(failures_, limits_.delay_ns, limits_.delay_max_ns, random);
}

void Elasticity::resize(const LoadReading& reading, const Census& census) {
  if (limits_.workers_max <= limits_.workers) return;
  const std::int64_t now_ns = reading.now_ns;
  if (began_ns_ == 0) began_ns_ = looked_ns_ = now_ns;
  worked_ns_ += need_ * static_cast<double>(now_ns - looked_ns_);
  looked_ns_ = now_ns;
  need_ = census.busy + (census.is_overdue ? reading.waiting : 0);
  starved_ |= census.is_overdue;
  if (now_ns - began_ns_ < limits_.window_ns) return;

  const double mean = worked_ns_ / static_cast<double>(now_ns - began_ns_);
  const bool starved = starved_;
  began_ns_ = now_ns;
  worked_ns_ = 0;
  starved_ = false;
  if (mean > base_ || (starved && mean >= kFull * base_)) {
    const auto needed = static_cast<unsigned>(std::min(std::ceil(mean / kFull), static_cast<double>(limits_.workers_max)));
    const unsigned grown = std::min({std::max(needed, base_ + 1), base_ * kGrowth, limits_.workers_max});
    const unsigned spare = census.beyond_base + std::min(reading.room, limits_.workers_max);  // overflow workers that become part of it
    base_ = std::min(grown, base_ + spare);
  } else if (base_ > limits_.workers && census.beyond_base == 0 && !starved) {
    unsigned idle = 0;
    for (const WorkerReading& worker : reading.workers) {
      if (worker.state == WorkerState::serving && now_ns - used_ns(worker, now_ns) >= limits_.window_ns) ++idle;
    }
    base_ -= std::min(idle, base_ - limits_.workers);
  }
}

}  // namespace samovar::core
