// Clock: CLOCK_MONOTONIC in nanoseconds, the one time that host and workers share.
#pragma once

#include <cstdint>
#include <ctime>

namespace samovar::ipc {

inline constexpr std::int64_t kNever = INT64_MAX;

inline std::int64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// The point in time that is `duration_ns` away; kNever where that is out of range.
inline std::int64_t in(std::int64_t duration_ns) {
  const std::int64_t now = now_ns();
  return duration_ns < kNever - now ? now + duration_ns : kNever;
}

// As of the last timer tick: behind now_ns() by up to kCoarseLagNs, and four times cheaper (5 ns against 22).
inline constexpr std::int64_t kCoarseLagNs = 20'000'000;

inline std::int64_t coarse_now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Exact, and cheap where the deadline is far: the coarse clock decides, the exact one only near the deadline.
inline bool has_passed(std::int64_t deadline_ns) {
  return coarse_now_ns() + kCoarseLagNs >= deadline_ns && now_ns() >= deadline_ns;
}

}  // namespace samovar::ipc
