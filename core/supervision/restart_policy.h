// RestartPolicy: when the next worker is started in the place of one that ended, and when a pool counts as one whose workers
// cannot start. Pure: time and chance arrive as arguments.
//
// A worker that had served is replaced at once, unless more than `intensity` were lost within `window_ns`. Then, and where
// workers fail to start, starts wait: a delay that doubles with each failure. While starts fail only one is tried at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace samovar::core {

// `first_ns`, doubling with each failure in a row up to `max_ns`, less up to a quarter by `random` (uniform in 0..255), so that
// the pools of a machine do not retry in step.
constexpr std::int64_t restart_delay_ns(int failures_in_a_row, std::int64_t first_ns, std::int64_t max_ns, std::uint8_t random) {
  if (failures_in_a_row <= 0) return 0;
  const int doublings = std::min(failures_in_a_row - 1, 20);
  const std::int64_t delay_ns = std::min(max_ns, first_ns > (max_ns >> doublings) ? max_ns : first_ns << doublings);
  return delay_ns - delay_ns / (4 * 255) * random;
}

struct RestartLimits {
  std::uint32_t intensity = 10;  // workers lost within the window before restarts wait
  std::int64_t window_ns = 10'000'000'000;
  std::int64_t delay_ns = 50'000'000;
  std::int64_t delay_max_ns = 5'000'000'000;
  std::uint32_t starts_at_once = 1;
  std::uint32_t quarantine_after = 3;  // starts in a row that failed, with no worker left
};

class RestartPolicy {
 public:
  explicit RestartPolicy(const RestartLimits& limits) : limits_(limits) {}

  // A worker that had served ended without being asked.
  void lost(std::int64_t now_ns, std::uint8_t random) {
    while (!lost_.empty() && now_ns - lost_.front() > limits_.window_ns) lost_.pop_front();
    lost_.push_back(now_ns);
    const auto count = lost_.size();
    if (count <= limits_.intensity) return;
    wait(now_ns, static_cast<int>(std::min<std::size_t>(count - limits_.intensity, 64)), random);
    lost_.resize(std::min<std::size_t>(count, std::size_t{limits_.intensity} + 64));  // no more is ever asked of it
  }

  void failed(std::int64_t now_ns, std::uint8_t random) {
    failures_ = std::min(failures_ + 1, 1 << 20);
    wait(now_ns, failures_, random);
  }

  void started() { failures_ = 0; }

  // How many starts may be under way together, and from when on the next may be.
  std::uint32_t starts_at_once() const { return failures_ > 0 ? 1 : limits_.starts_at_once; }
  std::int64_t next_start_ns() const { return next_start_ns_; }

  bool quarantines(bool any_serving) const { return !any_serving && failures_ >= static_cast<int>(limits_.quarantine_after); }
  int failures() const { return failures_; }

 private:
  void wait(std::int64_t now_ns, int failures, std::uint8_t random) {
    const std::int64_t delay_ns = restart_delay_ns(failures, limits_.delay_ns, limits_.delay_max_ns, random);
    next_start_ns_ = std::max(next_start_ns_, delay_ns < INT64_MAX - now_ns ? now_ns + delay_ns : INT64_MAX);
  }

  RestartLimits limits_;
  std::deque<std::int64_t> lost_;  // when, within the window
  int failures_ = 0;               // starts in a row
  std::int64_t next_start_ns_ = 0;
};

}  // namespace samovar::core
