// Workers that run several calls at once and answer them in any order, as threads, so that ThreadSanitizer sees both sides.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fleet_checks.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

Options with_concurrency(std::uint32_t concurrency, unsigned workers, Dispatcher dispatcher) {
  Options options = fleet_options(workers, dispatcher);
  options.concurrency = concurrency;
  return options;
}

Fleet::Plan plan_with(std::uint32_t concurrency) {
  Fleet::Plan plan;
  plan.concurrency = concurrency;
  return plan;
}

// From several threads, by call() and submit(). Each outcome is a right reply, or worker_lost where workers die.
struct Traffic {
  std::atomic<std::uint64_t> good{0}, lost{0}, wrong{0};

  void drive(Fleet& fleet, int threads, std::uint64_t calls_each) {
    std::vector<std::jthread> drivers;
    for (int thread = 0; thread < threads; ++thread) {
      drivers.emplace_back([this, &fleet, thread, calls_each] {
        for (std::uint64_t i = 0; i < calls_each; ++i) {
          const auto payload = Sample::make(static_cast<std::uint64_t>(thread) * calls_each + i, 12 + i * 37 % 6000);
          if (i % 3 == 0) {
            note(fleet->call("echo", bytes(payload), {}), payload);
          } else {
            submit(fleet, payload);
          }
          if (i % 16 == 0) fleet->poll();
        }
      });
    }
  }

  void submit(Fleet& fleet, const std::vector<std::byte>& payload) {
    submitted_.fetch_add(1);
    CallOptions options;
    options.when_full = WhenFull::wait;
    const auto accepted = fleet->submit("echo", bytes(payload), [this, payload](Result<Reply> reply) noexcept {
      note(std::move(reply), payload);
      told_.fetch_add(1);
    }, options);
    if (!accepted) wrong.fetch_add(1);
  }

  bool all_told() const { return told_.load() == submitted_.load(); }

  void note(Result<Reply> reply, const std::vector<std::byte>& payload) {
    if (reply) {
      (Sample::is_reply_to(reply->data(), payload) ? good : wrong).fetch_add(1);
    } else {
      (reply.error().code == Code::worker_lost ? lost : wrong).fetch_add(1);
    }
  }

 private:
  std::atomic<std::uint64_t> submitted_{0}, told_{0};
};

class EventLoopWorkers : public testing::TestWithParam<Dispatcher> {};
INSTANTIATE_TEST_SUITE_P(Modes, EventLoopWorkers, testing::Values(Dispatcher::caller, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EventLoopWorkers, answer_in_any_order_and_each_call_gets_its_own_reply) {
  Fleet fleet(with_concurrency(8, 2, GetParam()), plan_with(8));
  Traffic traffic;
  traffic.drive(fleet, 3, 1500);
  EXPECT_TRUE(poll_until(fleet, [&] { return traffic.all_told(); }));
  EXPECT_EQ(traffic.good.load(), 4500u);
  EXPECT_EQ(traffic.wrong.load(), 0u);
  EXPECT_TRUE(fleet.violations().empty()) << fleet.violations().front();
  expect_settled(fleet);
}

TEST_P(EventLoopWorkers, die_at_every_point_and_each_call_still_has_one_outcome) {
  Fleet::Plan plan = plan_with(6);
  plan.fate = [](int, std::uint64_t incarnation) { return Fate{kDeaths[incarnation % std::size(kDeaths)], 7 + incarnation * 13 % 40}; };
  Fleet fleet(with_concurrency(6, 2, GetParam()), std::move(plan));
  Traffic traffic;
  traffic.drive(fleet, 3, 500);
  EXPECT_TRUE(poll_until(fleet, [&] { return traffic.all_told(); }));
  EXPECT_EQ(traffic.good.load() + traffic.lost.load(), 1500u);
  EXPECT_EQ(traffic.wrong.load(), 0u);
  EXPECT_GT(fleet.deaths(), 10u);
  EXPECT_TRUE(fleet.violations().empty()) << fleet.violations().front();
  expect_settled(fleet);
}

TEST_P(EventLoopWorkers, that_run_a_long_call_take_thousands_of_short_ones_beside_it) {
  Fleet fleet(with_concurrency(3, 1, GetParam()), plan_with(3));
  std::atomic<bool> ended{false};
  const auto held = Sample::make(1, 40);
  ASSERT_TRUE(fleet->submit("hold", bytes(held), [&](Result<Reply> reply) noexcept { ended.store(reply.has_value()); }, {}));
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 1; }));
  Traffic traffic;
  traffic.drive(fleet, 2, 1500);
  EXPECT_TRUE(poll_until(fleet, [&] { return traffic.all_told(); }));
  EXPECT_EQ(traffic.good.load(), 3000u);
  EXPECT_FALSE(ended.load());
  fleet.release(0);
  EXPECT_TRUE(poll_until(fleet, [&] { return ended.load(); }));
  expect_settled(fleet);
}

TEST_P(EventLoopWorkers, are_told_of_calls_that_nobody_waits_for) {
  Fleet fleet(with_concurrency(16, 1, GetParam()), plan_with(16));
  std::atomic<int> cancelled{0};
  std::vector<std::stop_source> stops(16);
  const auto held = Sample::make(1, 40);
  for (std::stop_source& stop : stops) {
    CallOptions options;
    options.stop = stop.get_token();
    ASSERT_TRUE(fleet->submit("hold", bytes(held), [&](Result<Reply> reply) noexcept {
      cancelled.fetch_add(!reply && reply.error().code == Code::cancelled);
    }, options));
  }
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 16; }));
  std::jthread canceller([&] {
    for (std::stop_source& stop : stops) stop.request_stop();
  });
  EXPECT_TRUE(poll_until(fleet, [&] { return cancelled.load() == 16; }));
  EXPECT_TRUE(poll_until(fleet, [&] { return fleet.counters().in_flight_ended.get() == 16; })) << "the notes came";
  EXPECT_TRUE(fleet->call("echo", bytes(held), {}));
  expect_settled(fleet);
}

TEST_P(EventLoopWorkers, that_die_lose_what_they_have_begun_and_nothing_else) {
  Options options = with_concurrency(4, 1, GetParam());
  options.prefetch = 8;
  Fleet fleet(std::move(options), plan_with(4));
  std::atomic<int> lost{0}, replied{0};
  const auto payload = Sample::make(1, 40);
  const auto count = [&](Result<Reply> reply) noexcept {
    replied.fetch_add(reply.has_value());
    lost.fetch_add(!reply && reply.error().code == Code::worker_lost);
  };
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(fleet->submit("hold", bytes(payload), count, {}));
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 4; }));
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(fleet->submit("echo", bytes(payload), count, {}));
  fleet.kill(0);
  EXPECT_TRUE(poll_until(fleet, [&] { return lost.load() + replied.load() == 11; }));
  EXPECT_EQ(lost.load(), 4);
  EXPECT_EQ(replied.load(), 7);
  expect_settled(fleet);
}

class EventLoopLiar : public testing::TestWithParam<Lie> {};
INSTANTIATE_TEST_SUITE_P(, EventLoopLiar, testing::Values(Lie::answers_twice, Lie::answers_unbegun),
                         [](const auto& info) { return info.param == Lie::answers_twice ? "answers_twice" : "answers_unbegun"; });

TEST_P(EventLoopLiar, is_killed_and_nobody_gets_another_calls_reply) {
  Fleet::Plan plan = plan_with(2);
  plan.lie = [](int, std::uint64_t incarnation) { return incarnation == 1 ? GetParam() : Lie::none; };
  Options options = with_concurrency(2, 1, Dispatcher::caller);
  options.prefetch = 8;
  Fleet fleet(std::move(options), std::move(plan));
  Traffic traffic;
  for (std::uint64_t i = 0; i < 40; ++i) traffic.submit(fleet, Sample::make(i, 60));
  EXPECT_TRUE(poll_until(fleet, [&] { return traffic.all_told(); }));
  EXPECT_EQ(traffic.wrong.load(), 0u);
  EXPECT_EQ(fleet.violations().size(), 1u);
  expect_settled(fleet);
}

}  // namespace
}  // namespace samovar::test
