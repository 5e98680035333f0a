// Workers that have lived long enough: drained, replaced, never two at once; counted as planned.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Recycling : public testing::Test {
 protected:
  Recycling() {
    chosen.heartbeat_interval = 5ms;
    chosen.on_event = happenings.hook();
  }
  Happenings happenings;
  Options chosen = options();
};

TEST_F(Recycling, by_calls_drains_the_worker_first_and_counts_as_planned) {
  chosen.recycle_calls = 20;
  Pool pool = start(chosen);
  const pid_t first = worker_pid(pool);
  while (pool.stats().workers_recycled == 0) ASSERT_TRUE(pool.call("echo", text("none is lost")));
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));

  EXPECT_NE(worker_pid(pool), first);
  EXPECT_FALSE(is_alive(first));
  const Stats stats = pool.stats();
  EXPECT_EQ(stats.workers_lost, 0u);
  EXPECT_EQ(stats.failed, 0u);
  EXPECT_EQ(stats.requeued, 0u);
  const Event recycled = happenings.of(EventKind::worker_recycled).front();
  EXPECT_EQ(recycled.state, "calls");
  EXPECT_EQ(recycled.pid, first);
  EXPECT_EQ(happenings.count(EventKind::worker_lost), 0u);
}

TEST_F(Recycling, lets_the_running_call_finish) {
  chosen.recycle_age = 1ms;
  Gate gate;
  Pool pool = start(chosen);
  std::jthread caller([&] { EXPECT_TRUE(pool.call("wait_at", text(gate.path()))); });
  ASSERT_TRUE(gate.reached());
  gate.open();
  caller.join();
  EXPECT_TRUE(happenings.have(EventKind::worker_recycled));
  EXPECT_EQ(pool.stats().failed, 0u);
}

TEST_F(Recycling, never_takes_two_workers_out_at_once_though_all_reach_their_limits_together) {
  chosen.workers = 3;
  chosen.recycle_calls = 50;
  Pool pool = start(chosen);
  std::atomic<bool> enough{false};
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      while (!enough) EXPECT_TRUE(pool.call("spin_us", value(100)));
    });
  }
  EXPECT_TRUE(happenings.have(EventKind::worker_recycled, 3));
  enough = true;
  callers.clear();

  int in = 0;
  int least = 3;
  for (const Event& event : happenings.all()) {
    in += event.kind == EventKind::worker_ready ? 1 : 0;
    in -= event.kind == EventKind::worker_recycled ? 1 : 0;
    if (happenings.count(EventKind::worker_recycled) > 0 && event.kind == EventKind::worker_recycled) least = std::min(least, in);
  }
  EXPECT_EQ(least, 2);
  EXPECT_EQ(pool.stats().failed, 0u);
  EXPECT_EQ(pool.stats().workers_lost, 0u);
}

TEST_F(Recycling, by_idle_time_waits_until_there_was_a_call) {
  chosen.idle_timeout = 30ms;
  Pool pool = start(chosen);
  ASSERT_TRUE(pool.call("echo"));
  ASSERT_TRUE(happenings.have(EventKind::worker_recycled));
  EXPECT_EQ(happenings.of(EventKind::worker_recycled).front().state, "idle");
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  EXPECT_EQ(happenings.count(EventKind::worker_recycled), 1u) << "the fresh one has had no call";
}

}  // namespace
}  // namespace samovar::test
