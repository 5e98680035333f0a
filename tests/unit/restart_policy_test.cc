#include "core/supervision/restart_policy.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace samovar::core {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(RestartDelay, is_nothing_for_a_worker_that_had_served) {
  EXPECT_EQ(restart_delay_ns(0, 50 * kMs, 5000 * kMs, 0), 0);
  EXPECT_EQ(restart_delay_ns(0, 50 * kMs, 5000 * kMs, 255), 0);
  EXPECT_EQ(restart_delay_ns(-1, 50 * kMs, 5000 * kMs, 0), 0);
}

TEST(RestartDelay, doubles_with_each_failure_up_to_its_maximum) {
  const std::int64_t expected[] = {50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
  for (int failures = 1; failures <= 10; ++failures) {
    EXPECT_EQ(restart_delay_ns(failures, 50 * kMs, 5000 * kMs, 0), expected[failures - 1] * kMs) << failures;
  }
  EXPECT_EQ(restart_delay_ns(1'000'000, 50 * kMs, 5000 * kMs, 0), 5000 * kMs);
  EXPECT_EQ(restart_delay_ns(INT32_MAX, 1, 5000 * kMs, 0), 1 << 20) << "twenty doublings at most";
}

TEST(RestartDelay, is_at_most_the_maximum_where_the_first_is_more) {
  EXPECT_EQ(restart_delay_ns(1, 10'000 * kMs, 5000 * kMs, 0), 5000 * kMs);
}

TEST(RestartDelay, is_less_by_up_to_a_quarter_so_that_workers_do_not_retry_in_step) {
  std::int64_t last = INT64_MAX;
  for (int random = 0; random <= 255; ++random) {
    const std::int64_t delay = restart_delay_ns(3, 50 * kMs, 5000 * kMs, static_cast<std::uint8_t>(random));
    EXPECT_LE(delay, 200 * kMs);
    EXPECT_GE(delay, 150 * kMs);
    EXPECT_LT(delay, last);
    last = delay;
  }
  EXPECT_NEAR(static_cast<double>(last), 150e6, 1e3);
}

TEST(RestartDelay, of_the_longest_durations_does_not_overflow) {
  for (int failures : {1, 2, 20, 21, 64, INT32_MAX}) {
    for (std::uint8_t random : {0, 1, 255}) {
      const std::int64_t delay = restart_delay_ns(failures, INT64_MAX, INT64_MAX, random);
      EXPECT_GT(delay, INT64_MAX / 2);
      const std::int64_t hours = restart_delay_ns(failures, 3'600'000 * kMs, INT64_MAX, random);
      EXPECT_GT(hours, 0);
    }
  }
}

// --- the policy of a pool -----------------------------------------------------------------------------------------------

constexpr RestartLimits kPoolLimits{.intensity = 3, .window_ns = 10'000 * kMs, .delay_ns = 50 * kMs, .delay_max_ns = 5000 * kMs, .starts_at_once = 4, .quarantine_after = 3};

TEST(RestartPolicy, replaces_lost_workers_at_once_up_to_its_intensity) {
  RestartPolicy policy(kPoolLimits);
  for (int lost = 1; lost <= 3; ++lost) {
    policy.lost(lost * kMs, 0);
    EXPECT_LE(policy.next_start_ns(), lost * kMs) << lost;
  }
  policy.lost(4 * kMs, 0);
  EXPECT_EQ(policy.next_start_ns(), 54 * kMs);
  policy.lost(5 * kMs, 0);
  EXPECT_EQ(policy.next_start_ns(), 105 * kMs) << "twice as long";
}

TEST(RestartPolicy, forgets_what_is_older_than_its_window) {
  RestartPolicy policy(kPoolLimits);
  for (int lost = 0; lost < 100; ++lost) policy.lost(lost * 4000 * kMs, 0);
  EXPECT_LE(policy.next_start_ns(), 99 * 4000 * kMs);
}

TEST(RestartPolicy, waits_no_longer_than_its_maximum_however_many_are_lost) {
  RestartPolicy policy(kPoolLimits);
  for (int lost = 0; lost < 10'000; ++lost) policy.lost(kMs, 0);
  EXPECT_EQ(policy.next_start_ns(), 5001 * kMs);
}

TEST(RestartPolicy, tries_one_start_at_a_time_while_starts_fail) {
  RestartPolicy policy(kPoolLimits);
  EXPECT_EQ(policy.starts_at_once(), 4u);
  policy.failed(0, 0);
  EXPECT_EQ(policy.starts_at_once(), 1u);
  EXPECT_EQ(policy.next_start_ns(), 50 * kMs);
  policy.failed(50 * kMs, 0);
  EXPECT_EQ(policy.next_start_ns(), 150 * kMs);
  policy.started();
  EXPECT_EQ(policy.starts_at_once(), 4u);
}

TEST(RestartPolicy, quarantines_where_starts_fail_in_a_row_and_nobody_serves) {
  RestartPolicy policy(kPoolLimits);
  policy.failed(0, 0);
  policy.failed(0, 0);
  EXPECT_FALSE(policy.quarantines(false));
  policy.failed(0, 0);
  EXPECT_TRUE(policy.quarantines(false));
  EXPECT_FALSE(policy.quarantines(true)) << "somebody serves";
  policy.started();
  EXPECT_FALSE(policy.quarantines(false));
}

}  // namespace
}  // namespace samovar::core
