#include "ipc/adaptive_spin.h"

#include <gtest/gtest.h>

namespace samovar::ipc {
namespace {

constexpr std::int64_t kMaxNs = 50'000;

bool yes() { return true; }

// A wait that ends `ns` after it began. Whether by spinning.
bool wait_ns(AdaptiveSpin& spin, std::int64_t ns, std::uint64_t payload_bytes = 0) {
  const std::int64_t begin = now_ns();
  if (spin.spin([&] { return now_ns() - begin >= ns; }, yes, payload_bytes)) return true;
  while (now_ns() - begin < ns) {
  }
  spin.slept();
  return false;
}

TEST(AdaptiveSpin, returns_at_once_when_done) {
  AdaptiveSpin spin(kMaxNs);
  int looks = 0;
  EXPECT_TRUE(spin.spin([&] { return ++looks == 3; }, yes));
  EXPECT_EQ(looks, 3);
}

TEST(AdaptiveSpin, of_nothing_looks_but_does_not_spin) {
  AdaptiveSpin spin(0);
  EXPECT_EQ(spin.budget(), 0);
  int looks = 0;
  EXPECT_FALSE(spin.spin([&] { return ++looks, false; }, yes));
  EXPECT_GT(looks, 0);
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(spin.spin([] { return false; }, yes));
    spin.slept();
  }
  EXPECT_EQ(spin.budget(), 0);
}

TEST(AdaptiveSpin, stops_where_it_may_not_keep_on) {
  AdaptiveSpin spin(1'000'000'000);
  int asked = 0;
  EXPECT_FALSE(spin.spin([] { return false; }, [&] { return ++asked < 1; }));
  EXPECT_EQ(asked, 1);
}

TEST(AdaptiveSpin, gives_up_within_its_maximum) {
  AdaptiveSpin spin(kMaxNs);
  std::int64_t shortest = INT64_MAX;  // this machine may be taken away from us meanwhile, but not always
  for (int i = 0; i < 50; ++i) {
    const std::int64_t begin = now_ns();
    EXPECT_FALSE(spin.spin([] { return false; }, yes));
    shortest = std::min(shortest, now_ns() - begin);
  }
  EXPECT_LT(shortest, 2'000'000);
}

TEST(AdaptiveSpin, a_budget_is_never_above_its_maximum) {
  for (std::int64_t max : {std::int64_t{0}, std::int64_t{1000}, kMaxNs}) {
    AdaptiveSpin spin(max);
    for (int i = 0; i < 50; ++i) {
      EXPECT_LE(spin.budget(), max);
      wait_ns(spin, i * 2000);
    }
  }
}

TEST(AdaptiveSpin, falls_to_nothing_where_waits_are_long_and_rises_where_they_are_short) {
  AdaptiveSpin spin(kMaxNs);
  EXPECT_GT(spin.budget(), 0);
  for (int i = 0; i < 100 && spin.budget() > 0; ++i) wait_ns(spin, 1'000'000);
  EXPECT_EQ(spin.budget(), 0) << "an idle pool costs no CPU";
  for (int i = 0; i < 200 && spin.budget() == 0; ++i) {
    EXPECT_TRUE(spin.spin(yes, yes));
  }
  EXPECT_GT(spin.budget(), 0) << "a busy one spins";
}

TEST(AdaptiveSpin, beside_a_payload_of_megabytes_spins_for_as_long_as_moving_it_takes) {
  constexpr std::uint64_t kPayloadBytes = 8 << 20;
  AdaptiveSpin spin(kMaxNs);
  int seen = 0;  // this machine may be taken away from us meanwhile, but not always
  for (int i = 0; i < 1000 && seen < 10; ++i) seen += wait_ns(spin, 300'000, kPayloadBytes);
  EXPECT_EQ(seen, 10);
  EXPECT_LE(spin.budget(), kMaxNs + static_cast<std::int64_t>(kPayloadBytes / 16));
  for (int i = 0; i < 100 && spin.budget() > 0; ++i) wait_ns(spin, 3'000'000, kPayloadBytes);
  EXPECT_EQ(spin.budget(), 0) << "where waits are longer all the same it does not";
}

TEST(AdaptiveSpin, waits_beside_payloads_say_nothing_of_others) {
  AdaptiveSpin spin(kMaxNs);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(spin.spin(yes, yes));
  const std::int64_t budget_ns = spin.budget();
  for (int i = 0; i < 20; ++i) wait_ns(spin, 3'000'000, 8 << 20);
  EXPECT_EQ(spin.budget(), 0);
  EXPECT_TRUE(spin.spin(yes, yes));
  EXPECT_EQ(spin.budget(), budget_ns);
}

TEST(AdaptiveSpin, of_nothing_does_not_spin_beside_payloads_either) {
  AdaptiveSpin spin(0);
  EXPECT_FALSE(spin.spin([] { return false; }, yes, 8 << 20));
  EXPECT_EQ(spin.budget(), 0);
}

TEST(AdaptiveSpin, one_long_pause_does_not_end_the_spinning) {
  AdaptiveSpin spin(kMaxNs);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(spin.spin(yes, yes));
  wait_ns(spin, 20'000'000);
  EXPECT_GT(spin.budget(), 0);
}

}  // namespace
}  // namespace samovar::ipc
