// Questions of workers that are threads: functions of the host under ThreadSanitizer, abandoned questions, workers that die while theirs
// runs, more answers than the note lane holds, and workers that break the protocol.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <samovar/host.h>

#include "tests/support/fleet_checks.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

// The payload of `ask`: how many questions.
std::vector<std::byte> questions(std::uint32_t count, std::uint64_t number = 0) { return Sample::make(number, 20, count); }

template <typename F>
void expose(Fleet& fleet, F function) {
  fleet->expose("double", detail::host_function(std::move(function)));
}

bool is_right(const Result<Reply>& reply, const std::vector<std::byte>& payload) { return reply && Sample::is_reply_to(reply->data(), payload); }

class EachModeOfQuestions : public testing::TestWithParam<Dispatcher> {};
INSTANTIATE_TEST_SUITE_P(Modes, EachModeOfQuestions, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachModeOfQuestions, many_workers_ask_at_once_and_each_gets_its_own_answers) {
  Fleet fleet(fleet_options(3, GetParam()));
  expose(fleet, [](std::int64_t n) { return 2 * n; });
  constexpr std::uint32_t kThreads = 4, kCalls = 40;
  std::atomic<std::uint32_t> right{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < kCalls; ++i) {
        const auto payload = questions(i % 5, t * kCalls + i);
        right += is_right(fleet->call("ask", bytes(payload), {}), payload);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kThreads * kCalls);
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

TEST_P(EachModeOfQuestions, calls_that_are_given_up_in_the_middle_leave_nothing_behind) {
  Fleet fleet(fleet_options(2, GetParam()));
  expose(fleet, [](std::int64_t n) {
    if (n % 3 == 0) std::this_thread::yield();
    return 2 * n;
  });
  std::atomic<int> wrong{0}, submitted{0}, told{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < 40; ++i) {
        const auto payload = questions(30, i);
        std::stop_source stop;
        CallOptions options{.stop = stop.get_token()};
        if (i % 2 == 0) options.timeout = std::chrono::microseconds(50 * (i + t));
        if (i % 4 == 1) {
          const auto outcome = [&told](Result<Reply>) { ++told; };
          submitted += fleet->submit("ask", bytes(payload), outcome, options).has_value();
          stop.request_stop();
          fleet->poll();
          continue;
        }
        const Result<Reply> reply = fleet->call("ask", bytes(payload), options);
        wrong += reply ? !is_right(reply, payload) : reply.error().code != Code::deadline_exceeded;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(wait_until([&] { return fleet->poll(), told == submitted; }));
  const auto payload = questions(3);
  EXPECT_TRUE(is_right(fleet->call("ask", bytes(payload), {}), payload));
  EXPECT_EQ(fleet.deaths(), 0u);
  expect_settled(fleet);
}

TEST_P(EachModeOfQuestions, deadline_frees_the_worker_whose_question_still_runs) {
  std::atomic<bool> go_on{false};
  std::atomic<int> begun{0}, ended{0};
  Fleet fleet(fleet_options(1, GetParam()));
  expose(fleet, [&](std::int64_t n) {
    ++begun;
    EXPECT_TRUE(wait_until([&] { return go_on.load(); }));
    ++ended;
    return 2 * n;
  });
  const auto payload = questions(1);
  for (int round = 0; round < 5; ++round) {
    const int before = begun;
    for (auto timeout = 5ms; begun == before && timeout < 20s; timeout *= 2) {  // on a busy machine it may pass before the question
      EXPECT_EQ(fleet->call("ask", bytes(payload), {.timeout = timeout}).error().code, Code::deadline_exceeded);
    }
    EXPECT_GT(begun, before);
    EXPECT_TRUE(is_right(fleet->call("echo", bytes(payload), {}), payload)) << "of the same worker";
    EXPECT_EQ(ended, 0);
  }
  go_on = true;
  EXPECT_TRUE(wait_until([&] { return ended == begun; }));
  EXPECT_EQ(fleet.deaths(), 0u);
  expect_settled(fleet);
}

TEST_P(EachModeOfQuestions, late_answer_to_a_dead_worker_reaches_nobody) {
  Fleet fleet(fleet_options(1, GetParam()));
  for (int round = 0; round < 10; ++round) {
    std::atomic<bool> asked{false}, go_on{false}, returned{false};
    expose(fleet, [&](std::int64_t n) {
      asked = true;
      returned = wait_until([&] { return go_on.load(); });
      return 2 * n;
    });
    const auto payload = questions(1);
    std::optional<Code> end;
    std::thread caller([&] { end = fleet->call("ask", bytes(payload), {}).error().code; });
    EXPECT_TRUE(wait_until([&] { return asked.load(); }));
    fleet.kill(0);
    caller.join();
    EXPECT_EQ(end, Code::worker_lost);
    std::thread opens([&] { go_on = true; });  // beside the successor's own questions
    EXPECT_TRUE(is_right(fleet->call("ask", bytes(payload), {}), payload));
    opens.join();
    EXPECT_TRUE(wait_until([&] { return returned.load(); }));
  }
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

TEST_P(EachModeOfQuestions, workers_that_die_once_they_have_asked_lose_that_call_alone) {
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t incarnation) { return Fate{Point::after_question, incarnation % 4}; };
  Fleet fleet(fleet_options(2, GetParam()), std::move(plan));
  expose(fleet, [](std::int64_t n) { return 2 * n; });
  std::atomic<int> right{0}, lost{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const auto payload = questions(2);
        const Result<Reply> reply = fleet->call("ask", bytes(payload), {});
        right += is_right(reply, payload);
        lost += !reply && reply.error().code == Code::worker_lost;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right + lost, 30);
  EXPECT_GT(lost, 0);
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

// The worker makes room as it reads, which tells the host nothing; model: stream.pml, WITHOUT_TIMER.
TEST_P(EachModeOfQuestions, more_answers_than_the_note_lane_holds_all_come) {
  Options options = fleet_options(1, GetParam());
  options.lane_bytes = ipc::kLaneBytesMin;
  options.inline_bytes_max = 256;
  options.timeout = 20s;
  Fleet fleet(options);
  constexpr std::uint32_t kQuestions = 500;  // of which the lane holds less than a hundred
  std::atomic<std::uint32_t> answered{0};
  expose(fleet, [&](std::int64_t n) {
    ++answered;
    return 2 * n;
  });
  const auto payload = questions(kQuestions);
  std::optional<Result<Reply>> reply;
  std::thread caller([&] { reply.emplace(fleet->call("ask_at_once", bytes(payload), {})); });
  EXPECT_TRUE(wait_until([&] { return answered == kQuestions && fleet.holding(0) == 1; }));
  fleet.release(0);
  caller.join();
  EXPECT_TRUE(is_right(*reply, payload)) << (*reply ? "another reply" : reply->error().to_string());
  expect_settled(fleet);
}

class EachLieInQuestions : public testing::TestWithParam<LieCase> {};
INSTANTIATE_TEST_SUITE_P(Lies, EachLieInQuestions,
                         testing::Values(LieCase{Lie::asks_for_another, "for_another"}, LieCase{Lie::asks_no_arguments, "no_arguments"},
                                         LieCase{Lie::asks_with_flags, "with_flags"}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EachLieInQuestions, ends_the_worker_and_its_call) {
  Fleet::Plan plan;
  plan.lie = [&](int, std::uint64_t incarnation) { return incarnation == 1 ? GetParam().lie : Lie::none; };
  Fleet fleet(fleet_options(1, Dispatcher::caller), std::move(plan));
  std::atomic<int> asked{0};
  expose(fleet, [&](std::int64_t n) { return ++asked, 2 * n; });
  const auto payload = questions(1);
  EXPECT_EQ(fleet->call("ask", bytes(payload), {}).error().code, Code::worker_lost);
  ASSERT_EQ(fleet.violations().size(), 1u);
  EXPECT_NE(fleet.violations().front().find("it sent a question that cannot be"), std::string::npos) << fleet.violations().front();
  EXPECT_EQ(asked, 0) << "no function runs for it";
  EXPECT_TRUE(is_right(fleet->call("ask", bytes(payload), {}), payload)) << "of its successor";
  expect_settled(fleet);
}

TEST(QuestionsOfLiars, one_behind_its_calls_answer_ends_the_worker_and_the_call_that_it_has_by_then) {
  Fleet::Plan plan;
  plan.lie = [](int, std::uint64_t incarnation) { return incarnation == 1 ? Lie::asks_after_answer : Lie::none; };
  Fleet fleet(fleet_options(1, Dispatcher::caller), std::move(plan));
  std::atomic<int> asked{0};
  expose(fleet, [&](std::int64_t n) { return ++asked, 2 * n; });
  const auto payload = questions(1);
  EXPECT_TRUE(fleet->call("ask", bytes(payload), {})) << "its answer came first";
  EXPECT_EQ(fleet->call("echo", bytes(payload), {}).error().code, Code::worker_lost) << "what it says it has begun is believed no more";
  ASSERT_EQ(fleet.violations().size(), 1u);
  EXPECT_NE(fleet.violations().front().find("it sent a question that cannot be"), std::string::npos) << fleet.violations().front();
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(is_right(fleet->call("ask", bytes(payload), {}), payload)) << "of its successor";
  expect_settled(fleet);
}

TEST(QuestionsOfLiars, one_that_is_no_arguments_vector_fails_and_ends_nobody) {
  Fleet::Plan plan;
  plan.lie = [](int, std::uint64_t) { return Lie::asks_garbage; };
  Fleet fleet(fleet_options(1, Dispatcher::caller), std::move(plan));
  expose(fleet, [](std::int64_t n) { return 2 * n; });
  const auto payload = questions(1);
  const Result<Reply> reply = fleet->call("ask", bytes(payload), {});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::method_failed);
  EXPECT_NE(reply.error().message.find("the question is malformed"), std::string::npos) << reply.error().message;
  EXPECT_TRUE(is_right(fleet->call("echo", bytes(payload), {}), payload));
  EXPECT_EQ(fleet.deaths(), 0u);
  expect_settled(fleet);
}

}  // namespace
}  // namespace samovar::test
