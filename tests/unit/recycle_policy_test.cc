#include "core/supervision/recycle_policy.h"

#include <gtest/gtest.h>

#include <set>

namespace samovar::core {
namespace {

TEST(RecycleLimit, of_each_seat_is_another_from_the_whole_down_to_four_fifths) {
  for (unsigned seats : {1u, 2u, 3u, 4u, 16u, 64u}) {
    std::set<std::uint64_t> limits;
    for (unsigned seat = 0; seat < seats; ++seat) {
      const std::uint64_t limit = limit_of_seat(std::uint64_t{100'000}, seat, seats);
      EXPECT_LE(limit, 100'000u);
      EXPECT_GE(limit, 80'000u);
      limits.insert(limit);
    }
    EXPECT_EQ(limits.size(), seats);
    EXPECT_TRUE(limits.contains(100'000));
  }
}

TEST(RecycleLimit, is_none_where_it_is_zero) {
  const WorkerUse old{.seat = 0, .calls = UINT64_MAX, .age_ns = INT64_MAX, .memory_bytes = UINT64_MAX, .idle_ns = INT64_MAX};
  EXPECT_EQ(recycle_reason({}, old, 4), std::nullopt);
}

TEST(RecycleReason, names_the_limit_that_is_reached) {
  const RecycleLimits limits{.calls = 10, .age_ns = 100, .memory_bytes = 1000, .idle_ns = 50};
  EXPECT_EQ(recycle_reason(limits, {.calls = 9, .age_ns = 99, .memory_bytes = 999, .idle_ns = 49}, 1), std::nullopt);
  EXPECT_EQ(recycle_reason(limits, {.calls = 10}, 1), "calls");
  EXPECT_EQ(recycle_reason(limits, {.age_ns = 100}, 1), "age");
  EXPECT_EQ(recycle_reason(limits, {.memory_bytes = 1000}, 1), "memory");
  EXPECT_EQ(recycle_reason(limits, {.idle_ns = 50}, 1), "idle");
  EXPECT_EQ(recycle_reason(limits, {.seat = 3, .calls = 10}, 4), "calls");
}

}  // namespace
}  // namespace samovar::core
