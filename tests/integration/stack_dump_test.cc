// What a worker answers to DumpStacks: the Python stacks of its threads, whatever its interpreter does and its user's code has done.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>

#include "tests/support/lone_worker.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Fails the test where there is no answer at all.
std::string stacks(LoneWorker& worker) {
  const auto text = worker.stacks();
  EXPECT_TRUE(text);
  return text.value_or("(no answer)");
}

testing::AssertionResult tells(const std::string& stacks, std::string_view what) {
  if (stacks.find(what) != stacks.npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "no " << what << " in:\n" << stacks;
}

class StacksOf : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, StacksOf, testing::Values("sleeps", "loops", "computes_without_gil", "holds_gil", "waits_on_a_lock"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(StacksOf, a_busy_worker_name_the_running_method_within_their_bound) {
  LoneWorker worker("hangs.py");
  const Gate gate;
  worker.send(GetParam(), gate.path());
  ASSERT_TRUE(gate.reached());
  ASSERT_TRUE(wait_until([&] { return worker.pulse().probe_began_ns != 0; }));

  for (int dump = 0; dump < 3; ++dump) {
    const auto begin = Clock::now();
    const std::string text = stacks(worker);
    EXPECT_LE(Clock::now() - begin, 2s) << "300 ms, and what a busy machine adds";

    EXPECT_TRUE(tells(text, std::string("in ") + GetParam() + "\n"));
    EXPECT_TRUE(tells(text, "hangs.py"));
    EXPECT_EQ(text.find("<no Python frame>"), text.npos) << "the prober is no news:\n" << text;
  }
  EXPECT_TRUE(is_alive(worker.pid()));
}

TEST(Stacks, have_those_of_all_threads) {
  LoneWorker worker("hangs.py");
  const Gate gate;
  worker.send("waits_on_a_lock", gate.path());
  ASSERT_TRUE(gate.reached());

  EXPECT_TRUE(wait_until([&] { return stacks(worker).find("in background_work") != std::string::npos; }));
}

TEST(Stacks, of_an_idle_worker_do_not_disturb_it) {
  LoneWorker worker("hangs.py");
  for (int dump = 0; dump < 20; ++dump) {
    EXPECT_TRUE(tells(stacks(worker), "worker.py"));
    EXPECT_EQ(worker.call("answer"), Value(42));
  }
}

TEST(Stacks, of_a_worker_whose_request_lies_behind_a_hung_thread_name_that_thread) {
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call("leaves_gil_to_a_hung_thread"), Value(1));
  worker.send("answer");

  EXPECT_TRUE(tells(stacks(worker), "in pause_with_gil"));
}

TEST(Stacks, come_even_where_the_main_thread_takes_no_signals) {
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call("blocks_all_signals"), Value(1));
  const Gate gate;
  worker.send("sleeps", gate.path());
  ASSERT_TRUE(gate.reached());

  EXPECT_TRUE(tells(stacks(worker), "in sleeps"));
  EXPECT_TRUE(tells(stacks(worker), "in sleeps"));
}

class UsersCode : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, UsersCode, testing::Values("takes_the_signal", "unregisters_the_signal", "closes_the_file"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(UsersCode, that_takes_the_dump_away_makes_it_empty_and_does_no_harm) {
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call(GetParam()), Value(1));

  EXPECT_EQ(stacks(worker), "");
  EXPECT_EQ(worker.call("answer"), Value(42));
}

TEST(UsersFile, that_got_the_number_of_the_dumps_descriptor_is_not_written) {
  const Folder folder;
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call("puts_another_file_there", folder.file("precious")), Value(1));

  EXPECT_EQ(stacks(worker), "");
  EXPECT_EQ(folder.read("precious"), "");
}

TEST(StackSignal, that_somebody_else_sends_does_nothing) {
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call("signals_itself"), Value(0));
  EXPECT_EQ(worker.call("answer"), Value(42));
  EXPECT_TRUE(tells(stacks(worker), "worker.py"));
}

TEST(ForkedChild, has_none_of_the_descriptors_that_its_worker_uses) {
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call("forks"), Value(0));
}

}  // namespace
}  // namespace samovar::test
