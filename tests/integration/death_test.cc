// Workers that die, in every way and at every time.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Deaths : public testing::Test {
 protected:
  bool all_ready(std::uint32_t workers = 1) {
    return wait_until([&] { return pool.stats().workers_ready == workers; });
  }
  Pool pool = start(options());
};

TEST_F(Deaths, an_idle_worker_that_is_killed_is_replaced) {
  const pid_t first = worker_pid(pool);
  kill(first, SIGKILL);
  ASSERT_TRUE(wait_until([&] { return pool.stats().workers_lost == 1; }));
  ASSERT_TRUE(all_ready());

  const pid_t second = worker_pid(pool);
  EXPECT_NE(second, first);
  EXPECT_TRUE(wait_until([&] { return state_of(first) == '\0'; })) << "not reaped";
  EXPECT_EQ(pool.stats().calls_lost, 0u);
}

TEST_F(Deaths, a_call_to_a_worker_that_has_just_been_killed_runs_on_its_successor_or_is_lost_but_never_hangs) {
  for (int round = 0; round < 5; ++round) {
    const pid_t pid = worker_pid(pool);
    kill(pid, SIGKILL);
    const auto reply = pool.call("echo", text("after the kill"));
    if (!reply) {
      EXPECT_EQ(code_of(reply), Code::worker_lost);
    }
    EXPECT_TRUE(wait_until([&] { return !is_alive(pid); }));
  }
  EXPECT_TRUE(pool.call("echo"));
}

TEST(Successors, that_lack_a_method_refuse_calls_of_it_and_serve_the_others) {
  Folder folder;
  folder.write("models.py", "import os\nimport samovar\n\n@samovar.method\ndef pid():\n    return os.getpid()\n"
                            "\n@samovar.method\ndef gone():\n    return None\n");
  Options with_gone = options();
  with_gone.module = folder.file("models.py");
  with_gone.worker_start = WorkerStart::exec;
  Pool pool = start(with_gone);
  ASSERT_TRUE(pool.call("gone"));
  const auto pid = pool.call("pid");
  ASSERT_TRUE(pid);
  folder.write("models.py", "import os\nimport samovar\n\n@samovar.method\ndef pid():\n    return os.getpid()\n");
  kill(static_cast<pid_t>(*pid->value()->as_int()), SIGKILL);
  ASSERT_TRUE(wait_until([&] { return pool.stats().workers_lost == 1 && pool.stats().workers_ready == 1; }));

  EXPECT_EQ(code_of(pool.call("gone")), Code::unknown_method);
  EXPECT_EQ(code_of(pool.call("gone")), Code::unknown_method);
  EXPECT_TRUE(pool.call("pid")) << "the dispatch token was not given back";
  EXPECT_EQ(pool.stats().accepted, pool.stats().replied + pool.stats().failed);
}

TEST_F(Deaths, a_busy_worker_that_is_killed_loses_its_running_call_at_once) {
  const pid_t pid = worker_pid(pool);
  Gate gate;
  Clock::time_point killed;
  std::jthread killer([&] {
    EXPECT_TRUE(gate.reached());
    killed = Clock::now();
    kill(pid, SIGKILL);
  });
  const auto reply = pool.call("wait_at", text(gate.path()));
  const auto noticed = Clock::now();
  killer.join();

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::worker_lost);
  EXPECT_EQ(reply.error().category, Category::worker);
  EXPECT_NE(reply.error().message.find("killed by signal 9 (Killed)"), std::string::npos) << reply.error().message;
  EXPECT_NE(reply.error().message.find("PID " + std::to_string(pid)), std::string::npos) << reply.error().message;
  EXPECT_EQ(reply.error().context.worker, 0);
  EXPECT_NE(reply.error().context.incarnation, 0u);
  EXPECT_EQ(reply.error().context.attempts, 1);
  EXPECT_TRUE(reply.error().context.started);
  EXPECT_FALSE(reply.error().context.retryable);
  EXPECT_LE(noticed - killed, 200ms) << "told at once";
  EXPECT_NE(worker_pid(pool), pid);
  EXPECT_EQ(pool.stats().calls_lost, 1u);
}

TEST_F(Deaths, exits_and_signals_are_told_apart) {
  EXPECT_NE(pool.call("die", value(7)).error().message.find("exited with status 7"), std::string::npos);
  EXPECT_NE(pool.call("die", value(0)).error().message.find("exited with status 0"), std::string::npos);
  EXPECT_NE(pool.call("kill_self", value(SIGSEGV)).error().message.find("signal 11 (Segmentation fault)"), std::string::npos);
  EXPECT_NE(pool.call("kill_self", value(SIGABRT)).error().message.find("signal 6 (Aborted)"), std::string::npos);
  EXPECT_EQ(pool.stats().workers_lost, 4u);
}

TEST_F(Deaths, an_idempotent_call_runs_again) {
  Folder folder;
  const auto reply = pool.call("die_unless_marked", text(folder.file("mark")), {.idempotent = true});

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(integer(reply), worker_pid(pool));
  EXPECT_EQ(pool.stats().requeued, 1u);
  EXPECT_EQ(pool.stats().calls_lost, 0u);
}

TEST_F(Deaths, an_idempotent_call_that_always_kills_is_given_up_after_max_attempts) {
  const auto reply = pool.call("die", value(1), {.idempotent = true});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::worker_lost);
  EXPECT_EQ(reply.error().context.attempts, static_cast<int>(pool.options().max_attempts));
  EXPECT_EQ(pool.stats().workers_lost, pool.options().max_attempts);
  EXPECT_TRUE(pool.call("echo"));
}

TEST(Attempts, end_with_the_deadline_where_it_passes_between_two) {
  Folder folder;
  setenv("SAMOVAR_TEST_MARKER", folder.file("marker").c_str(), 1);
  Pool pool = start(options("fails_later.py"));  // its worker is not replaced
  const auto begin = Clock::now();
  const auto reply = pool.call("die", value(1), {.timeout = 100ms, .idempotent = true});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
  EXPECT_GE(Clock::now() - begin, 99ms);
  EXPECT_EQ(reply.error().context.attempts, 1);
  EXPECT_TRUE(reply.error().context.started);
  EXPECT_FALSE(reply.error().context.retryable);
}

TEST_F(Deaths, a_stopped_worker_costs_its_caller_the_deadline_and_no_more) {
  const pid_t pid = worker_pid(pool);
  kill(pid, SIGSTOP);
  ASSERT_TRUE(wait_until([&] { return state_of(pid) == 'T'; }));

  const auto begin = Clock::now();
  const auto reply = pool.call("echo", {}, {.timeout = 100ms});
  const auto took = Clock::now() - begin;
  kill(pid, SIGCONT);

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
  EXPECT_GE(took, 99ms);
  EXPECT_LE(took, 200ms);
  EXPECT_EQ(worker_pid(pool), pid) << "it goes on where it stopped";
  EXPECT_EQ(pool.stats().accepted, pool.stats().replied + pool.stats().failed);
}

TEST_F(Deaths, a_pool_with_a_stopped_worker_ends_all_the_same) {
  Options impatient = options();
  impatient.stop_timeout = 50ms;
  const Footprint before = Footprint::now();
  {
    Pool other = start(impatient);
    const pid_t pid = worker_pid(other);
    kill(pid, SIGSTOP);
    ASSERT_TRUE(wait_until([&] { return state_of(pid) == 'T'; }));
  }
  EXPECT_EQ(Footprint::now(), before) << before.to_string() << "\nafter:\n" << Footprint::now().to_string();
}

TEST(Prefetched, calls_of_a_worker_that_dies_run_elsewhere_in_their_order) {
  Options prefetching = options();
  prefetching.prefetch = 16;
  Pool pool = start(prefetching);
  Folder folder;
  const std::string log = folder.file("order");
  Gate gate;
  std::vector<int> order;
  int lost = 0;
  const auto keep = [&](Result<Reply> reply) {
    if (reply) {
      order.push_back(static_cast<int>(if_integer(reply).value_or(-1)));
    } else {
      EXPECT_EQ(code_of(reply), Code::worker_lost);
      EXPECT_TRUE(reply.error().context.started);
      ++lost;
    }
  };
  // All twelve lie in the lane of one worker when the fifth kills it.
  bool gate_passed = false;
  ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [&](Result<Reply>) { gate_passed = true; }));
  ASSERT_TRUE(gate.reached());
  for (int call = 1; call <= 12; ++call) {
    ASSERT_TRUE(pool.submit(call == 5 ? "append_and_die" : "append", arguments({log, call}), keep));
  }
  ASSERT_TRUE(wait_until([&] { return pool.stats().in_flight == 13; }));
  gate.open();
  ASSERT_TRUE(wait_until([&] { return pool.poll(), order.size() + static_cast<std::size_t>(lost) == 12; }));

  EXPECT_TRUE(gate_passed);
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(folder.read("order"), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n") << "each began once, in order";
  EXPECT_EQ(pool.stats().requeued, 7u);
}

TEST(Prefetched, calls_behind_a_stuck_one_move_to_an_idle_worker) {
  Options prefetching = options();
  prefetching.workers = 2;
  prefetching.prefetch = 16;
  Pool pool = start(prefetching);
  Gate first, second;
  int outcomes = 0;
  const auto keep = [&](Result<Reply> reply) {
    EXPECT_TRUE(reply);
    ++outcomes;
  };
  ASSERT_TRUE(pool.submit("wait_at", text(first.path()), keep));
  ASSERT_TRUE(pool.submit("wait_at", text(second.path()), keep));
  ASSERT_TRUE(first.reached() && second.reached());
  for (int call = 0; call < 10; ++call) ASSERT_TRUE(pool.submit("count", {}, keep));
  ASSERT_TRUE(wait_until([&] { return pool.poll(), pool.stats().in_flight == 12; }));

  second.open();  // one worker is free: it does its own, and then the other's
  EXPECT_TRUE(wait_until([&] { return pool.poll(), outcomes == 11; }));
  EXPECT_GT(pool.stats().taken_back, 0u);
  first.open();
  EXPECT_TRUE(wait_until([&] { return pool.poll(), outcomes == 12; }));
}

TEST(Prefetched, calls_of_a_dead_worker_go_to_the_other_one_in_front_of_the_queue) {
  Options two = options();
  two.workers = 2;
  two.prefetch = 4;
  Pool pool = start(two);
  Folder folder;
  const std::string log = folder.file("order");
  Gate dying, living;
  int outcomes = 0, lost = 0;
  const auto keep = [&](Result<Reply> reply) { ++(reply ? outcomes : lost); };
  ASSERT_TRUE(pool.submit("wait_at", text(dying.path()), keep));
  ASSERT_TRUE(dying.reached());
  ASSERT_TRUE(pool.submit("wait_at", text(living.path()), keep));
  ASSERT_TRUE(living.reached());
  for (int call = 1; call <= 12; ++call) ASSERT_TRUE(pool.submit("append", arguments({log, call}), keep));
  ASSERT_TRUE(wait_until([&] { return pool.poll(), pool.stats().in_flight == 8; }));

  const std::vector<pid_t> workers = workers_of(getpid());
  ASSERT_EQ(workers.size(), 2u);
  // Which of the two stands at the first gate does not matter: the other's gate is opened only when this one is gone.
  kill(workers[0], SIGKILL);
  ASSERT_TRUE(wait_until([&] { return pool.poll(), lost == 1; }));
  dying.open();
  living.open();
  ASSERT_TRUE(wait_until([&] { return pool.poll(), outcomes + lost == 14; }));

  EXPECT_EQ(lost, 1);
  std::istringstream order(folder.read("order"));
  std::vector<int> ran;
  for (int call; order >> call;) ran.push_back(call);
  std::sort(ran.begin(), ran.end());
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})) << "none is lost, none runs twice";
}

TEST(Replacement, is_tried_again_when_the_module_does_not_load_any_more) {
  Folder folder;
  setenv("SAMOVAR_TEST_MARKER", folder.file("marker").c_str(), 1);
  Options brittle = options("fails_later.py");
  brittle.restart_delay = 10ms;
  brittle.quarantine_after = 1'000'000;
  Lines lines;
  brittle.log = lines.sink();
  Pool pool = start(brittle);
  ASSERT_FALSE(pool.call("die", value(1)));

  // It cannot be replaced: calls wait for a worker, until their deadline.
  ASSERT_TRUE(wait_until([&] { return lines.with("cannot load twice").size() >= 2; })) << lines.all();
  const auto waiting = pool.call("pid", {}, {.timeout = 50ms});
  ASSERT_FALSE(waiting);
  EXPECT_EQ(waiting.error().code, Code::deadline_exceeded);
  EXPECT_EQ(pool.stats().workers_ready, 0u);

  std::filesystem::remove(folder.path() / "marker");
  EXPECT_TRUE(pool.call("pid")) << "mended";
}

}  // namespace
}  // namespace samovar::test
