// Workers beyond the base: started while calls wait, ended when they are no longer needed, never more than allowed.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Overflow : public testing::Test {
 protected:
  Overflow() {
    chosen.max_overflow = 1;
    chosen.overflow_linger = 1h;
    chosen.heartbeat_interval = 5ms;
    chosen.starts_at_once = 8;
    chosen.on_event = happenings.hook();
  }

  // So many calls that stand at the gate, or wait for a worker.
  void crowd(Pool& pool, int calls) {
    for (int call = 0; call < calls; ++call) {
      callers.emplace_back([&] { EXPECT_TRUE(pool.call("wait_at", text(gate.path()))); });
    }
  }
  void disperse() {
    gate.open();
    callers.clear();
  }
  std::uint64_t started() const { return happenings.count(EventKind::overflow_started); }
  std::uint64_t ended() const { return happenings.count(EventKind::overflow_ended); }

  Gate gate;
  Happenings happenings;
  Options chosen = options();
  std::vector<std::jthread> callers;
};

TEST_F(Overflow, serves_a_burst_of_four_times_the_base_and_leaves_after_lingering) {
  chosen.workers = 2;
  chosen.max_overflow = 6;
  chosen.overflow_linger = 100ms;
  Pool pool = start(chosen);
  const Footprint before = Footprint::now();
  crowd(pool, 8);
  ASSERT_TRUE(wait_until([&] { return pool.stats().in_flight == 8; })) << "all run at the same time";
  EXPECT_EQ(pool.stats().workers_overflow, 6u);
  EXPECT_EQ(pool.stats().workers_base, 2u);
  disperse();

  ASSERT_TRUE(wait_until([&] { return pool.stats().overflow_ended == 6 && pool.stats().workers_overflow == 0; }));
  const Stats stats = pool.stats();
  EXPECT_EQ(stats.overflow_started, 6u);
  EXPECT_EQ(stats.workers_ready, 2u);
  EXPECT_EQ(stats.failed, 0u);
  EXPECT_EQ(stats.workers_lost, 0u);
  EXPECT_EQ(stats.workers_recycled, 0u);
  ASSERT_EQ(started(), 6u);
  ASSERT_TRUE(happenings.have(EventKind::overflow_ended, 6));
  for (const Event& event : happenings.of(EventKind::overflow_started)) EXPECT_GE(event.took, chosen.overflow_after);
  for (const Event& event : happenings.of(EventKind::overflow_ended)) {
    EXPECT_GE(event.took, chosen.overflow_linger);
    EXPECT_GE(event.worker, 2) << "the base stays";
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now().descriptors.size() == before.descriptors.size(); })) << Footprint::now().to_string();
  EXPECT_EQ(pool.processes().size(), 2u + 1) << "and the nursery";
}

TEST_F(Overflow, keeps_to_its_limit) {
  chosen.max_overflow = 2;
  Pool pool = start(chosen);
  crowd(pool, 8);
  ASSERT_TRUE(wait_until([&] { return pool.stats().in_flight == 3 && pool.stats().queued == 5; }));
  disperse();
  EXPECT_TRUE(pool.call("echo"));
  EXPECT_EQ(pool.stats().replied, 9u);
  EXPECT_EQ(pool.stats().overflow_started, 2u);
  EXPECT_EQ(pool.processes().size(), 3u + 1) << "and the nursery";
}

TEST_F(Overflow, takes_calls_that_lie_in_a_busy_workers_lane) {
  chosen.prefetch = 8;
  Pool pool = start(chosen);
  crowd(pool, 2);
  EXPECT_TRUE(wait_until([&] { return pool.stats().taken_back == 1; }));
  EXPECT_EQ(started(), 1u);
  disperse();
  EXPECT_EQ(pool.stats().replied, 2u);
}

TEST_F(Overflow, comes_in_every_way_of_dispatching_also_where_nobody_polls) {
  for (const Dispatcher dispatcher : {Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}) {
    SCOPED_TRACE(to_string(dispatcher));
    chosen.dispatcher = dispatcher;
    Gate closed;
    Pool pool = start(chosen);
    int answered = 0;
    for (int call = 0; call < 2; ++call) {
      ASSERT_TRUE(pool.submit("wait_at", text(closed.path()), [&](Result<Reply> reply) noexcept { answered += reply ? 1 : 0; }));
    }
    EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 2; }));
    closed.open();
    EXPECT_TRUE(wait_until([&] {
      pool.poll();
      return answered == 2;
    }));
  }
}

TEST_F(Overflow, is_not_started_by_calls_that_wait_for_short_times_without_end) {
  chosen.overflow_after = 5s;
  Pool pool = start(chosen);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int call = 0; call < 500; ++call) EXPECT_TRUE(pool.call("spin_us", value(100)));
    });
  }
  callers.clear();
  EXPECT_EQ(pool.stats().overflow_started, 0u);
  EXPECT_EQ(pool.stats().replied, 2000u);
}

TEST_F(Overflow, stays_as_long_as_a_steady_load_needs_it) {
  chosen.overflow_linger = 2s;
  Pool pool = start(chosen);
  const auto until = std::chrono::steady_clock::now() + 2 * chosen.overflow_linger;
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      while (std::chrono::steady_clock::now() < until) EXPECT_TRUE(pool.call("sleep", value(0.02)));
    });
  }
  callers.clear();
  EXPECT_EQ(started(), 1u);
  EXPECT_EQ(ended(), 0u);
}

TEST_F(Overflow, that_dies_is_not_replaced_before_calls_wait_again) {
  Pool pool = start(chosen);
  crowd(pool, 1);
  ASSERT_TRUE(gate.reached());
  EXPECT_EQ(code_of(pool.call("die", value(3))), Code::worker_lost);
  ASSERT_TRUE(happenings.have(EventKind::worker_lost));
  ASSERT_TRUE(wait_until([&] { return pool.stats().workers_overflow == 0; }));
  EXPECT_EQ(happenings.of(EventKind::worker_lost).front().message.find("replaced"), std::string::npos);
  EXPECT_EQ(pool.stats().workers_ready, 1u);

  EXPECT_TRUE(pool.call("echo"));
  EXPECT_EQ(started(), 2u);
  EXPECT_EQ(happenings.count(EventKind::worker_restarted), 0u);
  disperse();
}

TEST_F(Overflow, is_kept_where_a_worker_of_the_base_dies_and_that_one_is_replaced) {
  Pool pool = start(chosen);
  const pid_t base = worker_pid(pool);
  callers.emplace_back([&] { EXPECT_EQ(code_of(pool.call("wait_at", text(gate.path()))), Code::worker_lost); });
  ASSERT_TRUE(gate.reached());
  const pid_t overflow = worker_pid(pool);
  ASSERT_NE(overflow, base);
  kill(base, SIGKILL);
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  EXPECT_EQ(pool.stats().workers_overflow, 1u);
  EXPECT_EQ(started(), 1u);
  EXPECT_TRUE(is_alive(overflow));
}

TEST_F(Overflow, that_fails_to_start_costs_the_base_nothing) {
  Folder folder;
  folder.write("once.py",
               "import os\nimport time\nimport samovar\n\nhere = os.path.dirname(os.path.abspath(__file__))\n"
               "if os.path.exists(here + '/loaded'):\n    raise RuntimeError('once is enough')\nopen(here + '/loaded', 'w').close()\n\n"
               "@samovar.method\ndef stand():\n    while not os.path.exists(here + '/open'):\n        time.sleep(0.001)\n");
  chosen.module = folder.file("once.py");
  chosen.worker_start = WorkerStart::exec;
  chosen.restart_delay = 1ms;
  chosen.restart_delay_max = 2ms;
  Pool pool = start(chosen);
  for (int call = 0; call < 2; ++call) callers.emplace_back([&] { EXPECT_TRUE(pool.call("stand")); });
  EXPECT_TRUE(happenings.have(EventKind::worker_failed, 5)) << "more often than quarantine_after";
  folder.write("open", "");
  callers.clear();
  EXPECT_EQ(happenings.count(EventKind::pool_quarantined), 0u);
  EXPECT_EQ(pool.stats().workers_ready, 1u);
}

TEST_F(Overflow, ends_with_the_pool_while_it_starts_serves_and_drains) {
  chosen.max_overflow = 3;
  {
    Pool pool = start(chosen);
    crowd(pool, 3);
    ASSERT_TRUE(wait_until([&] { return pool.stats().in_flight == 3; }));
    crowd(pool, 1);
    ASSERT_TRUE(wait_until([&] { return pool.stats().overflow_started == 3; }));
    gate.open();
    pool.drain(20s);
    callers.clear();
    EXPECT_EQ(pool.stats().failed, 0u);
    EXPECT_EQ(pool.stats().workers_overflow, 0u);
  }
  EXPECT_TRUE(children_of(getpid()).empty());
}

TEST_F(Overflow, gets_fresh_code_by_a_reload_like_the_base) {
  Folder folder;
  const auto write = [&](int version) {
    folder.write("versions.py", "import time\nimport samovar\n\n@samovar.method\ndef version(seconds):\n    time.sleep(seconds)\n    return " +
                                    std::to_string(version) + "\n");
  };
  write(1);
  chosen.module = folder.file("versions.py");
  Pool pool = start(chosen);
  const auto both = [&](int version) {
    std::vector<std::jthread> calls;
    for (int call = 0; call < 2; ++call) calls.emplace_back([&] { EXPECT_EQ(integer(pool.call("version", value(0.3))), version); });
  };
  both(1);
  ASSERT_EQ(pool.stats().workers_overflow, 1u);
  write(2);
  const Result<void> reloaded = pool.reload();
  ASSERT_TRUE(reloaded) << reloaded.error().to_string();
  EXPECT_EQ(happenings.count(EventKind::worker_recycled), 2u);
  EXPECT_EQ(pool.stats().workers_overflow, 1u);
  both(2);
  EXPECT_EQ(started(), 1u);
  EXPECT_EQ(ended(), 0u);
}

TEST_F(Overflow, does_not_keep_the_base_from_being_recycled) {
  chosen.recycle_calls = 30;
  chosen.workers = 2;
  Pool pool = start(chosen);
  crowd(pool, 3);
  ASSERT_TRUE(wait_until([&] { return pool.stats().in_flight == 3; }));
  disperse();
  while (pool.stats().workers_recycled < 3) ASSERT_TRUE(pool.call("echo"));
  EXPECT_EQ(pool.stats().failed, 0u);
}

class AdaptivePool : public Overflow {
 protected:
  AdaptivePool() {
    chosen.max_overflow = 0;
    chosen.workers_max = 2;
    chosen.resize_window = 100ms;
    chosen.overflow_linger = 50ms;
  }
};

TEST_F(AdaptivePool, grows_while_calls_wait_for_long_and_shrinks_again) {
  Pool pool = start(chosen);
  crowd(pool, 2);
  ASSERT_TRUE(wait_until([&] { return pool.stats().in_flight == 2; }));
  EXPECT_EQ(pool.stats().workers_base, 2u);
  EXPECT_EQ(pool.stats().workers_overflow, 0u);
  ASSERT_TRUE(happenings.have(EventKind::pool_resized));
  EXPECT_EQ(happenings.of(EventKind::pool_resized).front().count, 2u);
  EXPECT_EQ(started(), 0u);
  disperse();

  ASSERT_TRUE(wait_until([&] { return pool.stats().workers_base == 1 && pool.stats().workers_ready == 1; }));
  ASSERT_TRUE(happenings.have(EventKind::pool_resized, 2));
  EXPECT_EQ(happenings.of(EventKind::pool_resized).back().count, 1u);
  EXPECT_EQ(pool.stats().failed, 0u);
}

TEST_F(AdaptivePool, takes_overflow_workers_over_instead_of_starting_others) {
  chosen.max_overflow = 1;
  chosen.overflow_linger = chosen.resize_window = 500ms;
  Pool pool = start(chosen);
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      while (pool.stats().workers_base == 1) EXPECT_TRUE(pool.call("sleep", value(0.05)));
    });
  }
  callers.clear();
  EXPECT_EQ(pool.stats().overflow_started, 1u);
  EXPECT_EQ(pool.stats().workers_lost, 0u);
}

}  // namespace
}  // namespace samovar::test
