#include "core/supervision/elasticity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace samovar::core {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMs;
constexpr ElasticLimits kBurst{.workers = 2, .workers_max = 2, .overflow = 4};
constexpr ElasticLimits kAdaptive{.workers = 2, .workers_max = 8, .overflow = 0};

// A pool as the policy sees it: its workers, and the calls that wait.
struct Scene {
  Elasticity policy;
  std::vector<WorkerReading> workers;
  std::int64_t now_ns = kSecond;
  std::uint32_t waiting = 0;
  std::uint64_t oldest = 0;
  std::uint64_t newest = 100;
  std::uint32_t room = UINT32_MAX;

  explicit Scene(const ElasticLimits& limits) : policy(limits) {
    for (unsigned seat = 0; seat < limits.workers; ++seat) add(seat, WorkerState::serving);
  }
  void add(unsigned seat, WorkerState state, bool is_busy = false) {
    workers.push_back({.seat = seat, .state = state, .is_busy = is_busy, .used_ns = now_ns});
  }
  void all_busy() {
    for (WorkerReading& worker : workers) worker.is_busy = true;
  }
  // So many calls wait; the first of them came `ago_ns` ago.
  void wait(std::uint32_t calls, std::int64_t ago_ns = 0) {
    all_busy();
    waiting = calls;
    newest += calls;
    oldest = newest - calls + 1;
    if (ago_ns == 0) return;
    now_ns -= ago_ns;
    look();
    now_ns += ago_ns;
  }
  ElasticStep look() {
    return policy.look(
        {.now_ns = now_ns, .waiting = waiting, .oldest = oldest, .newest = newest, .room = room, .workers = workers});
  }
  ElasticStep after(std::int64_t ns) {
    now_ns += ns;
    return look();
  }
};

TEST(Overflow, starts_when_calls_have_waited_long_enough_and_says_when_to_look) {
  Scene scene(kBurst);
  scene.wait(3);
  const ElasticStep first = scene.look();
  EXPECT_EQ(first.start, 0u);
  EXPECT_EQ(first.look_again_ns, scene.now_ns + 10 * kMs);
  EXPECT_EQ(scene.after(9 * kMs).start, 0u);
  EXPECT_EQ(scene.after(1 * kMs).start, 3u) << "one for each that waits";
}

TEST(Overflow, does_not_start_where_each_call_waits_for_a_short_time_only) {
  Scene scene(kBurst);
  scene.wait(3);
  for (int look = 0; look < 100; ++look) {
    EXPECT_EQ(scene.after(6 * kMs).start, 0u);
    scene.oldest += 3;  // those that waited have left, as many others have come
    scene.newest += 3;
  }
}

TEST(Overflow, is_noticed_though_the_queue_moves) {
  Scene scene(kBurst);
  scene.wait(30);
  unsigned started = 0;
  for (int look = 0; look < 20 && started == 0; ++look) {
    started = scene.after(1 * kMs).start;
    ++scene.oldest;  // a call each millisecond, behind thirty
    ++scene.newest;
  }
  EXPECT_EQ(started, 4u);
}

TEST(Overflow, counts_the_workers_that_come_already_also_those_of_the_base) {
  Scene scene(kBurst);
  scene.wait(3, 10 * kMs);
  scene.add(2, WorkerState::starting);
  EXPECT_EQ(scene.look().start, 2u);
  scene.workers.erase(scene.workers.begin());  // it died; the supervisor is about to fill its seat
  EXPECT_EQ(scene.look().start, 1u);
}

TEST(Overflow, counts_those_that_end_towards_the_limit) {
  using enum WorkerState;
  for (const WorkerState state : {retiring, stopping, terminating, condemned, killed}) {
    Scene scene(kBurst);
    scene.add(2, state);
    scene.add(3, state);
    scene.wait(100, 10 * kMs);
    EXPECT_EQ(scene.look().start, 2u);
  }
}

TEST(Overflow, is_refused_where_memory_is_short) {
  Scene scene(kBurst);
  scene.wait(3, 10 * kMs);
  scene.room = 1;
  EXPECT_EQ(scene.look().start, 1u);
  EXPECT_TRUE(scene.look().lacks_memory);
  scene.room = 0;
  EXPECT_EQ(scene.look().start, 0u);
  EXPECT_TRUE(scene.look().lacks_memory);
  scene.room = 3;
  EXPECT_FALSE(scene.look().lacks_memory);
}

TEST(Overflow, that_fails_to_start_is_tried_again_later_and_alone) {
  Scene scene(kBurst);
  scene.wait(4, 10 * kMs);
  scene.policy.failed(scene.now_ns, 0);
  EXPECT_EQ(scene.look().start, 0u);
  EXPECT_EQ(scene.look().look_again_ns, scene.now_ns + 50 * kMs);
  EXPECT_EQ(scene.after(50 * kMs).start, 1u);
  scene.policy.failed(scene.now_ns, 0);
  EXPECT_EQ(scene.after(99 * kMs).start, 0u);
  EXPECT_EQ(scene.after(1 * kMs).start, 1u);
  scene.policy.started();
  EXPECT_EQ(scene.look().start, 4u);
}

TEST(Overflow, leaves_after_lingering_without_need) {
  Scene scene(kBurst);
  scene.add(2, WorkerState::serving);
  EXPECT_EQ(scene.look().look_again_ns, scene.now_ns + 10 * kSecond);
  EXPECT_EQ(scene.after(10 * kSecond - 1).leave, std::nullopt);
  EXPECT_EQ(scene.after(1).leave, 2u);
}

TEST(Overflow, leaves_from_the_highest_seat_one_at_a_time) {
  Scene scene(kBurst);
  for (unsigned seat : {2u, 3u, 4u}) scene.add(seat, WorkerState::serving);
  scene.now_ns += 10 * kSecond;
  for (unsigned seat : {4u, 3u, 2u}) {
    EXPECT_EQ(scene.look().leave, seat);
    scene.workers[seat].state = WorkerState::retiring;
  }
  EXPECT_EQ(scene.look().leave, std::nullopt) << "the base stays";
}

TEST(Overflow, stays_while_it_is_needed_and_while_calls_wait) {
  Scene scene(kBurst);
  scene.add(2, WorkerState::serving);
  for (int second = 0; second < 60; ++second) {
    for (WorkerReading& worker : scene.workers) worker.used_ns = scene.now_ns;
    EXPECT_EQ(scene.after(9 * kSecond).leave, std::nullopt);
  }
  scene.now_ns += kSecond;
  scene.waiting = 1;
  scene.oldest = scene.newest;
  EXPECT_EQ(scene.look().leave, std::nullopt);
}

// Calls go to the worker that was used last: that may be one of the overflow, and one of the base idles.
TEST(Overflow, leaves_though_it_is_in_use_where_one_of_the_base_idles_and_that_counts_as_used_then) {
  Scene scene(kBurst);
  for (unsigned seat : {2u, 3u}) scene.add(seat, WorkerState::serving);
  scene.now_ns += 10 * kSecond;
  for (unsigned seat : {1u, 2u, 3u}) scene.workers[seat].used_ns = scene.now_ns - kSecond;
  scene.workers[3].is_busy = true;
  EXPECT_EQ(scene.look().leave, 2u) << "the one that runs nothing";
  scene.workers[2].state = WorkerState::stopping;
  EXPECT_EQ(scene.look().leave, std::nullopt) << "three were needed a second ago";
  scene.workers[3].is_busy = false;
  scene.workers[3].used_ns = scene.now_ns;
  EXPECT_EQ(scene.after(9 * kSecond - 1).leave, std::nullopt);
  EXPECT_EQ(scene.after(1).leave, 3u);
}

// So many busy for so long, with looks as often as heartbeats; `overdue` calls wait for ever.
unsigned base_after(Scene& scene, std::int64_t ns, unsigned busy, std::uint32_t overdue) {
  scene.waiting = overdue;
  scene.oldest = overdue > 0 ? scene.newest - overdue + 1 : 0;
  for (std::int64_t end = scene.now_ns + ns; scene.now_ns < end; scene.now_ns += kSecond / 4) {
    for (std::size_t i = 0; i < scene.workers.size(); ++i) {
      scene.workers[i].is_busy = i < busy;
      if (i < busy) scene.workers[i].used_ns = scene.now_ns;
    }
    scene.look();
    while (scene.workers.size() < scene.policy.base()) scene.add(static_cast<unsigned>(scene.workers.size()), WorkerState::serving);
    if (scene.workers.size() > scene.policy.base()) scene.workers.resize(scene.policy.base());
  }
  return scene.policy.base();
}

TEST(AdaptiveBase, grows_with_a_need_that_lasts_and_no_faster_than_twofold) {
  Scene scene(kAdaptive);
  EXPECT_EQ(base_after(scene, 29 * kSecond, 2, 3), 2u);
  EXPECT_EQ(base_after(scene, 2 * kSecond, 2, 3), 4u);
  EXPECT_EQ(base_after(scene, 31 * kSecond, 4, 100), 8u);
  EXPECT_EQ(base_after(scene, 90 * kSecond, 8, 100), 8u) << "workers_max";
}

TEST(AdaptiveBase, stays_where_all_are_busy_and_no_call_waits) {
  Scene scene(kAdaptive);
  EXPECT_EQ(base_after(scene, 120 * kSecond, 2, 0), 2u);
}

TEST(AdaptiveBase, stays_where_calls_wait_for_a_small_part_of_the_time) {
  Scene scene(kAdaptive);
  for (int burst = 0; burst < 20; ++burst) {
    EXPECT_EQ(base_after(scene, 1 * kSecond, 2, 4), 2u);
    EXPECT_EQ(base_after(scene, 9 * kSecond, 0, 0), 2u);
  }
}

TEST(AdaptiveBase, shrinks_by_what_a_whole_window_did_not_need) {
  Scene scene(kAdaptive);
  ASSERT_EQ(base_after(scene, 92 * kSecond, 8, 100), 8u);
  EXPECT_EQ(base_after(scene, 62 * kSecond, 5, 0), 5u);
  EXPECT_EQ(base_after(scene, 300 * kSecond, 5, 0), 5u);
  EXPECT_EQ(base_after(scene, 62 * kSecond, 0, 0), 2u);
}

TEST(AdaptiveBase, takes_the_overflow_workers_that_it_needs_into_itself_though_memory_is_short) {
  Scene scene({.workers = 2, .workers_max = 8, .overflow = 4});
  for (unsigned seat : {2u, 3u, 4u}) scene.add(seat, WorkerState::serving);
  scene.room = 0;
  for (int look = 0; look < 130; ++look) {
    scene.wait(2);
    scene.oldest = 1;
    scene.after(kSecond / 4);
  }
  EXPECT_EQ(scene.policy.base(), 4u);
  EXPECT_EQ(scene.policy.limit(), 8u);
}

}  // namespace
}  // namespace samovar::core
