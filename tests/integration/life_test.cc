// The life of a pool: dispatchers, several pools, drain, destruction, and what is left of it (nothing).
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

#define EXPECT_FOOTPRINT(before)                                        \
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == (before); })) \
      << "before: " << (before).to_string() << "\nafter: " << Footprint::now().to_string()

// A folder's descriptors and all libraries are there before the first pool, so that only pools make a difference.
Footprint warmed_up() {
  start(options());
  return Footprint::now();
}

// --- dispatchers ------------------------------------------------------------------------------------------------------------

class Dispatchers : public testing::TestWithParam<Dispatcher> {};

INSTANTIATE_TEST_SUITE_P(, Dispatchers, testing::Values(Dispatcher::automatic, Dispatcher::caller, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(Dispatchers, serve_calls_from_many_threads) {
  Options chosen = options();
  chosen.workers = 2;
  chosen.dispatcher = GetParam();
  Pool pool = start(chosen);
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&pool, thread] {
      for (int call = 0; call < 300; ++call) {
        const int number = thread * 1000 + call;
        const auto reply = pool.call("echo", value(number));
        if (!reply || integer(reply) != number) {
          ADD_FAILURE() << (reply ? "another call's reply" : reply.error().to_string());
          return;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(pool.stats().replied, 1800u);
  EXPECT_EQ(pool.stats().failed, 0u);
}

TEST_P(Dispatchers, survive_the_death_of_a_worker) {
  Options chosen = options();
  chosen.dispatcher = GetParam();
  Pool pool = start(chosen);
  for (int round = 0; round < 3; ++round) {
    const auto lost = pool.call("die", value(1));
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().code, Code::worker_lost);
    EXPECT_TRUE(pool.call("echo"));
  }
}

TEST_P(Dispatchers, answer_at_the_deadline) {
  Options chosen = options();
  chosen.dispatcher = GetParam();
  Pool pool = start(chosen);
  const auto begin = Clock::now();
  EXPECT_FALSE(pool.call("sleep", value(0.3), {.timeout = 30ms}));
  EXPECT_LE(Clock::now() - begin, 80ms);
  EXPECT_TRUE(pool.call("echo"));
}

TEST_P(Dispatchers, end_while_calls_are_in_flight) {
  const Footprint before = warmed_up();
  {
    Options chosen = options();
    chosen.dispatcher = GetParam();
    Pool pool = start(chosen);
    for (int call = 0; call < 10; ++call) ASSERT_TRUE(pool.submit("sleep", value(0.01), [](Result<Reply>) {}));
  }
  EXPECT_FOOTPRINT(before);
}

TEST(Pools, options_tell_what_is_in_force) {
  Options chosen = options();
  chosen.dispatcher = Dispatcher::automatic;
  Pool pool = start(chosen);

  EXPECT_NE(pool.options().dispatcher, Dispatcher::automatic);
  EXPECT_EQ(pool.options().workers, 1u);
  EXPECT_NE(pool.options().pinning, Pinning::automatic);
  EXPECT_EQ(pool.options().dispatcher_cpu >= 0, pool.options().dispatcher == Dispatcher::pinned);
}

// --- several pools ----------------------------------------------------------------------------------------------------------

TEST(Pools, two_in_one_process_do_not_meet) {
  Pool first = start(options());
  std::optional<Pool> second(start(options()));
  const pid_t pid = worker_pid(first);
  EXPECT_NE(pid, worker_pid(*second));
  for (int call = 0; call < 3; ++call) EXPECT_EQ(integer(first.call("count")), call + 1);
  EXPECT_EQ(integer(second->call("counted")), 0);

  std::jthread other([&] {
    for (int call = 0; call < 500; ++call) EXPECT_EQ(integer(second->call("echo", value(-call))), -call);
  });
  for (int call = 0; call < 500; ++call) EXPECT_EQ(integer(first.call("echo", value(call))), call);
  other.join();
  second.reset();
  EXPECT_EQ(worker_pid(first), pid);
}

TEST(Pools, can_be_moved) {
  const Footprint before = warmed_up();
  {
    Pool pool = start(options());
    Pool moved = std::move(pool);
    EXPECT_TRUE(moved.call("echo"));
    Pool other = start(options());
    other = std::move(moved);
    EXPECT_TRUE(other.call("echo"));
  }
  EXPECT_FOOTPRINT(before);
}

TEST(Pools, started_by_a_thread_that_ends_keep_their_workers) {
  std::optional<Pool> pool;
  std::thread([&] { pool.emplace(start(options())); }).join();
  const pid_t pid = worker_pid(*pool);

  std::thread([&] { EXPECT_TRUE(pool->call("echo")); }).join();
  EXPECT_EQ(worker_pid(*pool), pid);
  EXPECT_EQ(pool->stats().workers_lost, 0u);
}

// --- drain ------------------------------------------------------------------------------------------------------------------

TEST(Drain, lets_accepted_calls_finish_and_refuses_new_ones) {
  Pool pool = start(options());
  int replied = 0;
  for (int call = 0; call < 20; ++call) {
    ASSERT_TRUE(pool.submit("sleep", value(0.005), [&](Result<Reply> reply) { replied += reply.has_value(); }));
  }
  pool.drain(10s);

  EXPECT_EQ(replied, 0) << "callbacks run inside poll() only";
  while (pool.poll() > 0) {
  }
  EXPECT_EQ(replied, 20);
  const auto call = pool.call("echo");
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().code, Code::pool_stopped);
  EXPECT_EQ(call.error().category, Category::shutdown);
  EXPECT_EQ(pool.submit("echo", {}, [](Result<Reply>) {}).error().code, Code::pool_stopped);
  EXPECT_TRUE(children_of(getpid()).empty());
  EXPECT_EQ(pool.stats().workers_lost, 0u) << "they were asked to end";
}

TEST(Drain, ends_what_does_not_finish_in_time) {
  Options impatient = options();
  impatient.stop_timeout = 50ms;
  Pool pool = start(impatient);
  Gate gate;
  int stopped = 0;
  const auto count = [&](Result<Reply> reply) { stopped += !reply && reply.error().code == Code::pool_stopped; };
  ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), count));
  ASSERT_TRUE(gate.reached());
  for (int call = 0; call < 5; ++call) ASSERT_TRUE(pool.submit("echo", {}, count));

  const auto begin = Clock::now();
  pool.drain(50ms);
  EXPECT_LE(Clock::now() - begin, 3s);
  while (pool.poll() > 0) {
  }
  EXPECT_EQ(stopped, 6);
  EXPECT_TRUE(children_of(getpid()).empty());
}

TEST(Drain, answers_threads_that_wait_in_call) {
  Options impatient = options();
  impatient.stop_timeout = 50ms;
  Pool pool = start(impatient);
  Gate gate;
  std::vector<std::jthread> callers;
  std::atomic<int> stopped = 0;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      const auto reply = pool.call("wait_at", text(gate.path()));
      stopped += !reply && reply.error().code == Code::pool_stopped;
    });
  }
  ASSERT_TRUE(gate.reached());
  ASSERT_TRUE(wait_until([&] { return pool.stats().accepted == 4; }));
  pool.drain(20ms);
  callers.clear();
  EXPECT_EQ(stopped, 4);
}

TEST(Drain, is_told_once_all_calls_have_their_outcome) {
  Happenings happenings;
  Options chosen = options();
  chosen.on_event = happenings.hook();
  Pool pool = start(chosen);
  ASSERT_TRUE(pool.call("echo"));
  pool.drain(1s);
  EXPECT_EQ(happenings.count(EventKind::pool_drained), 1u);
  EXPECT_EQ(happenings.count(EventKind::worker_lost), 0u);
}

TEST(Drain, twice_is_no_harm) {
  Pool pool = start(options());
  pool.drain(1s);
  pool.drain(1s);
  EXPECT_EQ(pool.poll(), 0u);
}

TEST(Drain, from_inside_a_callback_is_no_harm) {
  Pool pool = start(options());
  bool done = false;
  ASSERT_TRUE(pool.submit("echo", {}, [&](Result<Reply>) {
    pool.drain(1s);
    done = true;
  }));
  EXPECT_TRUE(wait_until([&] { return pool.poll(), done; }));
}

// --- the end ----------------------------------------------------------------------------------------------------------------

TEST(End, leaves_no_process_thread_or_descriptor) {
  const Footprint before = warmed_up();
  for (const Dispatcher dispatcher : {Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}) {
    Options chosen = options();
    chosen.workers = 2;
    chosen.dispatcher = dispatcher;
    {
      Pool pool = start(chosen);
      if (dispatcher != Dispatcher::manual) {
        EXPECT_TRUE(pool.call("echo"));
        EXPECT_FALSE(pool.call("die", value(1)));
      }
    }
    EXPECT_FOOTPRINT(before);
  }
}

TEST(End, comes_quickly_to_an_idle_pool) {
  std::optional<Pool> pool(start(options()));
  const auto begin = Clock::now();
  pool.reset();
  EXPECT_LE(Clock::now() - begin, 1s);
}

TEST(End, gives_each_call_in_flight_its_one_outcome) {
  const Footprint before = warmed_up();
  Gate gate;
  std::vector<int> outcomes(8);
  {
    Options impatient = options();
    impatient.stop_timeout = 50ms;
    Pool pool = start(impatient);
    for (std::size_t call = 0; call < outcomes.size(); ++call) {
      ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [&outcomes, call](Result<Reply> reply) {
        EXPECT_EQ(code_of(reply), Code::pool_stopped);
        ++outcomes[call];
      }));
    }
    ASSERT_TRUE(gate.reached());
  }
  EXPECT_EQ(outcomes, std::vector<int>(8, 1));
  EXPECT_FOOTPRINT(before);
}

TEST(End, comes_to_workers_that_are_deaf_to_sigterm) {
  const Footprint before = warmed_up();
  Gate gate;
  const auto begin = Clock::now();
  {
    Options impatient = options();
    impatient.stop_timeout = 20ms;
    Pool pool = start(impatient);
    ASSERT_TRUE(pool.submit("busy_deaf", text(gate.path()), [](Result<Reply>) {}));
    ASSERT_TRUE(gate.reached());
  }
  EXPECT_LE(Clock::now() - begin, 5s);
  EXPECT_FOOTPRINT(before);
}

TEST(End, comes_while_a_worker_is_being_replaced) {
  const Footprint before = warmed_up();
  for (int round = 0; round < 5; ++round) {
    Pool pool = start(options());
    EXPECT_FALSE(pool.call("die", value(1)));
  }
  EXPECT_FOOTPRINT(before);
}

TEST(End, in_a_forked_child_leaves_the_pool_to_its_parent) {
  Pool pool = start(options());
  const pid_t pid = worker_pid(pool);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    { Pool mine = std::move(pool); }
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(worker_pid(pool), pid);
  EXPECT_EQ(pool.stats().workers_lost, 0u);
}

}  // namespace
}  // namespace samovar::test
