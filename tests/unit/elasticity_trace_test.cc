// Elasticity over whole traces of load: a simulated pool, milliseconds at a time, with looks as the supervisor makes them.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <random>
#include <vector>

#include "core/supervision/elasticity.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMs;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHeartbeat = 250 * kMs;
constexpr std::int64_t kEnding = 20 * kMs;
constexpr std::int64_t kSlack = 2 * kHeartbeat + kEnding + 5 * kMs;

class SimulatedPool {
 public:
  // How many calls come in the millisecond at `now_ns`, and how long each runs.
  using Load = std::function<unsigned(std::int64_t now_ns)>;

  SimulatedPool(const ElasticLimits& limits, std::int64_t start_ns) : policy_(limits), limits_(limits), start_ns_(start_ns) { fill_base(); }

  void run(std::int64_t ns, std::int64_t call_ns, const Load& load) {
    for (const std::int64_t end_ns = now_ns_ + ns; now_ns_ < end_ns; now_ns_ += kMs) {
      for (unsigned calls = load(now_ns_); calls > 0; --calls) waiting_.push_back({++tickets_, call_ns});
      advance();
      serve();
      if (!waiting_.empty() && armed_) due_ns_ = now_ns_;
      armed_ = waiting_.empty();
      if (now_ns_ >= std::min(due_ns_, beat_ns_)) look();
      if (!std::ranges::any_of(workers_, [](const Worker& w) { return w.busy_until_ns > 0; }) && waiting_.empty()) continue;
      last_load_ns_ = now_ns_;
    }
  }

  std::size_t size() const { return workers_.size(); }
  unsigned running() const {
    return static_cast<unsigned>(std::ranges::count_if(workers_, [](const Worker& w) { return w.busy_until_ns > 0; }));
  }
  std::size_t waiting() const { return waiting_.size(); }
  std::int64_t quiet_ns() const { return now_ns_ - last_load_ns_; }
  const Elasticity& policy() const { return policy_; }
  std::size_t changes() const { return started_.size() + left_.size(); }
  // The most workers that were started beyond the base within a minute.
  std::size_t most_starts_in_a_minute() const {
    std::size_t most = 0;
    for (std::size_t first = 0, i = 0; i < started_.size(); ++i) {
      while (started_[i] - started_[first] > kMinute) ++first;
      most = std::max(most, i - first + 1);
    }
    return most;
  }

 private:
  struct Call {
    std::uint64_t ticket;
    std::int64_t ns;
  };
  struct Worker {
    unsigned seat;
    WorkerState state;
    std::int64_t next_ns;            // of its state: when it serves, or is gone
    std::int64_t busy_until_ns = 0;  // 0: idle
    std::int64_t used_ns = 0;
    std::uint64_t last_used = 0;
  };

  void advance() {
    for (Worker& w : workers_) {
      if (w.busy_until_ns > 0 && now_ns_ >= w.busy_until_ns) w.busy_until_ns = 0;
      if (w.state == WorkerState::starting && now_ns_ >= w.next_ns) {
        w.state = WorkerState::serving;
        w.used_ns = now_ns_;
      } else if (w.state == WorkerState::retiring && w.busy_until_ns == 0) {
        w.state = WorkerState::stopping;
        w.next_ns = now_ns_ + kEnding;
      }
    }
    std::erase_if(workers_, [this](const Worker& w) { return w.state == WorkerState::stopping && now_ns_ >= w.next_ns; });
  }

  // To the idle worker that was used last.
  void serve() {
    while (!waiting_.empty()) {
      Worker* best = nullptr;
      for (Worker& w : workers_) {
        if (w.state == WorkerState::serving && w.busy_until_ns == 0 && (!best || w.last_used > best->last_used)) best = &w;
      }
      if (!best) return;
      best->busy_until_ns = now_ns_ + waiting_.front().ns;
      best->last_used = ++uses_;
      waiting_.pop_front();
    }
  }

  void look() {
    beat_ns_ = std::max(beat_ns_, now_ns_ + kHeartbeat);
    for (;;) {
      std::vector<WorkerReading> readings;
      for (Worker& w : workers_) {
        if (w.busy_until_ns > 0) w.used_ns = now_ns_;
        readings.push_back({.seat = w.seat, .state = w.state, .is_busy = w.busy_until_ns > 0, .used_ns = w.used_ns});
      }
      const ElasticStep step = policy_.look({.now_ns = now_ns_,
                                             .waiting = static_cast<std::uint32_t>(waiting_.size()),
                                             .oldest = waiting_.empty() ? 0 : waiting_.front().ticket,
                                             .newest = tickets_,
                                             .workers = readings});
      due_ns_ = step.look_again_ns;
      fill_base();
      for (unsigned seat = policy_.base(), left = step.start; left > 0; ++seat) {
        if (is_taken(seat)) continue;
        add(seat);
        started_.push_back(now_ns_);
        --left;
      }
      if (step.start > 0) {
        EXPECT_LE(workers_.size(), policy_.limit());
      }
      EXPECT_LE(workers_.size(), std::max(limits_.workers, limits_.workers_max) + limits_.overflow);
      EXPECT_GE(policy_.base(), limits_.workers);
      if (!step.leave) return;
      EXPECT_TRUE(waiting_.empty());
      EXPECT_GE(*step.leave, policy_.base());
      const auto leaves = std::ranges::find_if(workers_, [&](const Worker& w) { return w.seat == *step.leave && w.state == WorkerState::serving; });
      ASSERT_NE(leaves, workers_.end());
      leaves->state = WorkerState::retiring;
      left_.push_back(now_ns_);
    }
  }

  bool is_taken(unsigned seat) const {
    return std::ranges::any_of(workers_, [&](const Worker& w) { return w.seat == seat; });
  }
  void fill_base() {
    for (unsigned seat = 0; seat < policy_.base() && workers_.size() < policy_.limit(); ++seat) {
      if (!is_taken(seat)) add(seat);
    }
  }
  void add(unsigned seat) { workers_.push_back({.seat = seat, .state = WorkerState::starting, .next_ns = now_ns_ + start_ns_}); }

  Elasticity policy_;
  const ElasticLimits limits_;
  const std::int64_t start_ns_;
  std::int64_t now_ns_ = kSecond;
  std::int64_t beat_ns_ = 0;
  std::int64_t due_ns_ = INT64_MAX;
  std::int64_t last_load_ns_ = 0;
  bool armed_ = true;
  std::uint64_t tickets_ = 0;
  std::uint64_t uses_ = 0;
  std::deque<Call> waiting_;
  std::vector<Worker> workers_;
  std::vector<std::int64_t> started_;  // beyond the base
  std::vector<std::int64_t> left_;
};

unsigned between(std::mt19937& random, unsigned low, unsigned high) { return std::uniform_int_distribution<unsigned>(low, high)(random); }

// What no load may break: limits, the bound on starts, and the way back.
TEST(ElasticTrace, any_load_keeps_the_limits_and_ends_at_the_base) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const unsigned workers = between(random, 1, 4);
    const ElasticLimits limits{.workers = workers,
                               .workers_max = workers + (seed % 2 == 0 ? 0 : between(random, 1, 6)),
                               .overflow = seed % 5 == 1 ? 0 : between(random, 1, 8),
                               .linger_ns = between(random, 1, 15) * kSecond,
                               .window_ns = between(random, 5, 30) * kSecond};
    SimulatedPool pool(limits, between(random, 1, 300) * kMs);
    for (int phase = 0; phase < 12; ++phase) {
      const std::int64_t call_ns = between(random, 1, 400) * kMs;
      const unsigned per_second = between(random, 0, 40);
      const unsigned period_ms = between(random, 50, 20'000);
      const unsigned on_ms = between(random, 1, period_ms);
      pool.run(between(random, 1, 40) * kSecond, call_ns, [&](std::int64_t now_ns) {
        return now_ns / kMs % period_ms < on_ms && between(random, 0, 999) < per_second ? 1u : 0u;
      });
    }
    const auto bound = limits.overflow * static_cast<std::size_t>(kMinute / limits.linger_ns + 1);
    EXPECT_LE(pool.most_starts_in_a_minute(), bound);

    const bool adaptive = limits.workers_max > limits.workers;
    const std::int64_t shrinking_ns = adaptive ? std::max(limits.linger_ns, 2 * limits.window_ns) + limits.window_ns : 0;
    const std::int64_t within_ns = shrinking_ns + limits.linger_ns + kSlack;
    while (pool.running() > 0 || pool.waiting() > 0) pool.run(kMs, 0, [](std::int64_t) { return 0u; });
    pool.run(within_ns - pool.quiet_ns(), 0, [](std::int64_t) { return 0u; });
    EXPECT_EQ(pool.size(), limits.workers);
    EXPECT_EQ(pool.policy().base(), limits.workers);
  }
}

// So many callers, each with the next call as soon as the last is answered.
SimulatedPool::Load callers(const SimulatedPool& pool, unsigned count) {
  return [&pool, count](std::int64_t) {
    const auto there = pool.running() + static_cast<unsigned>(pool.waiting());
    return count > there ? count - there : 0u;
  };
}

TEST(ElasticTrace, steady_load_starts_and_ends_nobody) {
  const ElasticLimits limits{.workers = 3, .workers_max = 3, .overflow = 4};
  for (unsigned count = 1; count <= 12; ++count) {
    for (const std::int64_t call_ns : {kMs, 7 * kMs, 60 * kMs, 900 * kMs}) {
      SimulatedPool pool(limits, 80 * kMs);
      pool.run(30 * kSecond, call_ns, callers(pool, count));
      const std::size_t before = pool.changes();
      pool.run(5 * kMinute, call_ns, callers(pool, count));
      EXPECT_EQ(pool.changes(), before) << count << " callers of " << call_ns / kMs << " ms";
    }
  }
}

TEST(ElasticTrace, load_that_comes_and_goes_faster_than_the_linger_starts_and_ends_nobody) {
  const ElasticLimits limits{.workers = 2, .workers_max = 2, .overflow = 4};
  for (const std::int64_t period_ns : {100 * kMs, kSecond, 9 * kSecond}) {
    for (const std::int64_t on_ns : {period_ns / 10, period_ns / 2}) {
      SimulatedPool pool(limits, 5 * kMs);
      const auto bursts = [&, six = callers(pool, 6)](std::int64_t now_ns) { return now_ns % period_ns < on_ns ? six(now_ns) : 0u; };
      pool.run(30 * kSecond, 30 * kMs, bursts);
      const std::size_t before = pool.changes();
      EXPECT_GT(before, 0u);
      pool.run(5 * kMinute, 30 * kMs, bursts);
      EXPECT_EQ(pool.changes(), before) << period_ns / kMs << " ms, " << on_ns / kMs << " ms of them on";
    }
  }
}

TEST(ElasticTrace, an_adaptive_base_settles_under_load_that_lasts_and_under_load_that_comes_and_goes) {
  const ElasticLimits limits{.workers = 2, .workers_max = 10, .overflow = 3};
  SimulatedPool steady(limits, 50 * kMs);
  steady.run(3 * kMinute, 40 * kMs, callers(steady, 7));
  EXPECT_GE(steady.policy().base(), 6u);
  EXPECT_LE(steady.policy().base(), 8u);
  const std::size_t before = steady.changes();
  const unsigned base = steady.policy().base();
  steady.run(5 * kMinute, 40 * kMs, callers(steady, 7));
  EXPECT_EQ(steady.changes(), before);
  EXPECT_EQ(steady.policy().base(), base);
}

TEST(ElasticTrace, a_burst_has_its_workers_as_soon_as_they_can_start) {
  SimulatedPool pool({.workers = 2, .workers_max = 2, .overflow = 6}, 5 * kMs);
  pool.run(kSecond, kSecond, [](std::int64_t) { return 0u; });
  pool.run(1 * kMs, kSecond, [](std::int64_t) { return 8u; });
  pool.run(17 * kMs, kSecond, [](std::int64_t) { return 0u; });
  EXPECT_EQ(pool.running(), 8u);
}

}  // namespace
}  // namespace samovar::core
