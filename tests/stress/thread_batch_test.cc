// Batches of workers that are threads and die in the middle of them: each call has one outcome, what was answered keeps its reply, and
// what had not begun runs elsewhere. How a batch travels is not looked at, only what its calls see.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fleet_checks.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

// Submitted calls of numbered samples, and what became of each.
class Calls {
 public:
  explicit Calls(std::size_t count) : ran_(count), told_(count), replied_(count) {}

  // What a worker tells as it begins a call.
  void note_run(std::span<const std::byte> payload) { ++ran_[Sample::number(payload)]; }

  void submit(Fleet& fleet, std::size_t number, const CallOptions& options = {}) {
    const auto payload = Sample::make(number, 12 + number % 40);
    const auto outcome = [this, number, payload](Result<Reply> reply) {
      replied_[number] = reply.has_value();
      if (reply ? !Sample::is_reply_to(reply->data(), payload) : reply.error().code != Code::worker_lost) ++wrong_;
      ++told_[number];
    };
    if (!fleet->submit("batched", bytes(payload), outcome, options)) ++wrong_;
  }

  bool all_told() const {
    return std::ranges::all_of(told_, [](const auto& times) { return times > 0; });
  }
  int wrong() const { return wrong_; }
  std::size_t replied() const {
    return static_cast<std::size_t>(std::ranges::count_if(replied_, [](const auto& yes) { return yes.load(); }));
  }

  // Requires: no call is idempotent, and none had a deadline.
  void expect_one_outcome_each() {
    EXPECT_EQ(wrong_, 0) << "each has its own reply, or was lost with its worker";
    for (std::size_t i = 0; i < told_.size(); ++i) {
      EXPECT_EQ(told_[i], 1) << "call " << i;
      EXPECT_LE(ran_[i], 1) << "call " << i << " ran again";
      EXPECT_GE(ran_[i], replied_[i] ? 1 : 0) << "call " << i;
    }
  }

 private:
  std::vector<std::atomic<int>> ran_, told_;
  std::vector<std::atomic<bool>> replied_;
  std::atomic<int> wrong_{0};
};

struct DeathCase {
  Point point;
  const char* name;
};

class EachDeathInBatches : public testing::TestWithParam<std::tuple<Dispatcher, DeathCase>> {
 protected:
  Dispatcher mode() const { return std::get<0>(GetParam()); }
  Point point() const { return std::get<1>(GetParam()).point; }
};
INSTANTIATE_TEST_SUITE_P(Modes, EachDeathInBatches,
                         testing::Combine(testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                                          testing::Values(DeathCase{Point::before_start, "before_start"}, DeathCase{Point::after_start, "after_start"},
                                                          DeathCase{Point::in_handler, "in_handler"}, DeathCase{Point::after_consume, "after_consume"},
                                                          DeathCase{Point::after_response, "after_response"})),
                         [](const auto& info) { return std::string(to_string(std::get<0>(info.param))) + "_" + std::get<1>(info.param).name; });

TEST_P(EachDeathInBatches, each_call_has_one_outcome) {
  constexpr std::size_t kCalls = 8 * 12;
  Calls calls(kCalls);
  Fleet::Plan plan;
  plan.fate = [&](int, std::uint64_t incarnation) { return incarnation <= 6 ? Fate{point(), 3 + 2 * incarnation} : Fate{}; };
  plan.on_run = [&](std::uint64_t, std::span<const std::byte> payload) { calls.note_run(payload); };
  Fleet fleet(fleet_options(2, mode()), std::move(plan));
  for (std::size_t i = 0; i < kCalls; ++i) calls.submit(fleet, i);
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), calls.all_told(); }));
  calls.expect_one_outcome_each();
  EXPECT_GE(fleet.deaths(), 2u);
  EXPECT_GE(calls.replied(), kCalls - 8 * 6) << "a death costs its own batch at most";
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

TEST_P(EachDeathInBatches, threads_that_submit_while_others_are_told) {
  constexpr std::size_t kThreads = 3, kCallsEach = 120;
  Calls calls(kThreads * kCallsEach);
  Fleet::Plan plan;
  plan.fate = [&](int, std::uint64_t incarnation) { return incarnation % 3 != 0 ? Fate{point(), 5 * incarnation % 32} : Fate{}; };
  plan.on_run = [&](std::uint64_t, std::span<const std::byte> payload) { calls.note_run(payload); };
  Fleet fleet(fleet_options(2, mode()), std::move(plan));
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kCallsEach; ++i) {
        calls.submit(fleet, t * kCallsEach + i);
        if (i % 8 == 7) fleet->poll();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), calls.all_told(); }));
  calls.expect_one_outcome_each();
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

class EachModeOfBatches : public testing::TestWithParam<Dispatcher> {};
INSTANTIATE_TEST_SUITE_P(Modes, EachModeOfBatches, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachModeOfBatches, half_answered_when_the_worker_ends) {
  constexpr std::size_t kCalls = 8;
  Calls calls(kCalls);
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t incarnation) { return incarnation == 1 ? Fate{Point::after_response, 4} : Fate{}; };  // behind `hold` and three
  plan.on_run = [&](std::uint64_t, std::span<const std::byte> payload) {
    if (Sample::number(payload) < kCalls) calls.note_run(payload);
  };
  Options options = fleet_options(1, GetParam());
  options.prefetch = 1;
  Fleet fleet(options, std::move(plan));
  const auto held = Sample::make(100, 20);
  std::atomic<bool> held_is_told{false};
  ASSERT_TRUE(fleet->submit("hold", bytes(held), [&](Result<Reply> reply) { held_is_told = reply.has_value(); }, {}));
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), fleet.holding(0) == 1; })) << "so that the others come together";
  for (std::size_t i = 0; i < kCalls; ++i) calls.submit(fleet, i);
  fleet.release(0);
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), calls.all_told() && held_is_told; }));
  calls.expect_one_outcome_each();
  EXPECT_GE(calls.replied(), 4u);
  EXPECT_LT(calls.replied(), kCalls) << "those that had begun and were not answered are lost";
  EXPECT_EQ(fleet.deaths(), 1u);
  expect_settled(fleet);
}

TEST_P(EachModeOfBatches, idempotent_calls_run_again_on_another_worker) {
  constexpr std::size_t kCalls = 64;
  Calls calls(kCalls);
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t incarnation) { return incarnation <= 4 ? Fate{Point::in_handler, 2} : Fate{}; };
  Options options = fleet_options(2, GetParam());
  options.max_attempts = 10;
  Fleet fleet(options, std::move(plan));
  for (std::size_t i = 0; i < kCalls; ++i) calls.submit(fleet, i, {.idempotent = true});
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), calls.all_told(); }));
  EXPECT_EQ(calls.wrong(), 0);
  EXPECT_EQ(calls.replied(), kCalls);
  expect_settled(fleet);
}

TEST_P(EachModeOfBatches, of_a_method_that_their_worker_lacks_fail_once_each) {
  constexpr std::size_t kCalls = 20;
  Fleet::Plan plan;
  plan.numbers[static_cast<std::size_t>(Method::batched) - 1] = 0;
  Fleet fleet(fleet_options(1, GetParam()), std::move(plan));
  std::vector<std::atomic<int>> told(kCalls);
  for (std::size_t i = 0; i < kCalls; ++i) {
    const auto payload = Sample::make(i, 20);
    const auto outcome = [&told, i](Result<Reply> reply) { told[i] += !reply && reply.error().code == Code::unknown_method ? 1 : 100; };
    ASSERT_TRUE(fleet->submit("batched", bytes(payload), outcome, {}));
  }
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), std::ranges::all_of(told, [](const auto& times) { return times > 0; }); }));
  const auto payload = Sample::make(1, 20);
  for (const auto& outcome : fleet->call_many("batched", std::vector(kCalls, bytes(payload)), {})) EXPECT_EQ(outcome.error().code, Code::unknown_method);
  for (std::size_t i = 0; i < kCalls; ++i) EXPECT_EQ(told[i], 1) << "call " << i;
  expect_settled(fleet);
}

TEST_P(EachModeOfBatches, call_many_of_several_threads_while_workers_die) {
  constexpr std::size_t kThreads = 3, kRounds = 60, kCalls = 27;  // three whole batches, and a part of one
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t incarnation) { return incarnation % 2 != 0 ? Fate{kDeaths[incarnation % std::size(kDeaths)], 7 * incarnation % 90} : Fate{}; };
  Fleet fleet(fleet_options(2, GetParam()), std::move(plan));
  std::atomic<std::size_t> right{0}, lost{0};
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t round = 0; round < kRounds; ++round) {
          std::vector<std::vector<std::byte>> samples;
          for (std::size_t i = 0; i < kCalls; ++i) samples.push_back(Sample::make((t * kRounds + round) * kCalls + i, 12 + i));
          std::vector<Payload> payloads;
          for (const auto& sample : samples) payloads.push_back(bytes(sample));
          const auto outcomes = fleet->call_many("batched", payloads, {});
          for (std::size_t i = 0; i < kCalls; ++i) {
            if (outcomes[i]) right += Sample::is_reply_to(outcomes[i]->data(), samples[i]);
            if (!outcomes[i]) lost += outcomes[i].error().code == Code::worker_lost;
          }
        }
      });
    }
    if (GetParam() == Dispatcher::manual) (void)wait_until([&] { return fleet->poll(), right + lost == kThreads * kRounds * kCalls; });
  }
  EXPECT_EQ(right + lost, kThreads * kRounds * kCalls);
  EXPECT_GE(right, kThreads * kRounds * kCalls / 2);
  EXPECT_TRUE(wait_until([&] { return fleet.deaths() > 0; }));
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

}  // namespace
}  // namespace samovar::test
