// RestartPolicy: when a worker that ended is started again. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace samovar::core {

// A worker that had served is replaced at once. One that failed to start waits `first_ns`, doubling with each failure in a
// row up to `max_ns`, less up to a quarter by `random` (uniform in 0..255), so that workers do not retry in step.
constexpr std::int64_t restart_delay_ns(int failures_in_a_row, std::int64_t first_ns, std::int64_t max_ns, std::uint8_t random) {
  if (failures_in_a_row <= 0) return 0;
  const int doublings = std::min(failures_in_a_row - 1, 20);
  const std::int64_t delay_ns = std::min(max_ns, first_ns > (max_ns >> doublings) ? max_ns : first_ns << doublings);
  return delay_ns - delay_ns / (4 * 255) * random;
}

}  // namespace samovar::core
