// A worker scribbles over all pages it may write while calls run: the host kills it and goes on, every time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/stress.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Scribbles : public testing::TestWithParam<Dispatcher> {};

INSTANTIATE_TEST_SUITE_P(, Scribbles, testing::Values(Dispatcher::caller, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(Scribbles, over_all_its_pages_end_the_worker_and_nothing_else) {
  const auto rounds = for_soak<std::uint64_t>(50, 2000);
  Options chosen = options("stress.py");
  chosen.workers = 2;
  chosen.dispatcher = GetParam();
  chosen.log_level = LogLevel::error;
  chosen.log = [](LogLevel, std::string_view) {};
  chosen.prefetch = 4;
  chosen.response_arena_bytes = 64 * 1024;
  Pool pool = start(chosen);
  EXPECT_EQ(integer(pool.call("writable_bytes")), 4096 + 64 * 1024 + 32 * 1024 + 64 * 1024)
      << "the worker's own segment and arena, and nothing else";

  std::atomic<bool> running = true;
  std::atomic<std::uint64_t> calls = 0, outcomes = 0, wrong = 0, from_healthy = 0;
  const auto count = [&](const CheckedPayload& sent, const Result<Reply>& reply) {
    ++outcomes;
    if (!reply || reply->worker() == 0) return;  // what a scribbling worker says of its own call may be anything
    ++from_healthy;
    if (!sent.is_answered_by(*reply)) ++wrong;
  };
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::minstd_rand dice(static_cast<unsigned>(thread + 1));
      for (std::uint64_t call = 0; running; ++call) {
        const std::size_t bytes = dice() % 16 == 0 ? 5000 : dice() % 500;  // some lie in the request arena
        const CheckedPayload sent(call << 8 | static_cast<unsigned>(thread), bytes, dice);
        ++calls;
        count(sent, pool.call("checked_or_scribbled", sent.payload(), {.timeout = 1s}));
      }
    });
  }
  threads.emplace_back([&] {
    std::minstd_rand dice(99);
    std::atomic<int> outstanding = 0;
    for (std::uint64_t call = 0; running || outstanding > 0;) {
      if (running && outstanding < 8) {
        auto sent = std::make_shared<CheckedPayload>(call++ << 8 | 0x80, dice() % 500, dice);
        const auto submitted = pool.submit(
            "checked_or_scribbled", sent->payload(),
            [&, sent](Result<Reply> reply) {
              count(*sent, reply);
              --outstanding;
            },
            {.timeout = 1s});
        if (!submitted) continue;
        ++calls;
        ++outstanding;
      }
      pool.poll();
    }
  });

  std::uint64_t ended = 0;
  while (ended < rounds) {
    if (!wait_until([&] { return pool.stats().workers_lost > ended; }, 30s)) {
      const Stats s = pool.stats();
      ADD_FAILURE() << "after " << ended << " rounds a scribbling worker lives on: " << s.accepted << " accepted, " << s.replied
                    << " replied, " << s.failed << " failed, " << s.in_flight << " in flight, " << s.workers_ready << " ready";
      break;
    }
    ended = pool.stats().workers_lost;
  }
  running = false;
  threads.clear();

  const Stats stats = pool.stats();
  EXPECT_EQ(outcomes, calls) << "each call has one outcome";
  EXPECT_EQ(stats.accepted, stats.replied + stats.failed);
  EXPECT_EQ(wrong, 0u) << "a well-behaved worker's replies were touched";
  EXPECT_GT(from_healthy, 0u);
  EXPECT_GT(stats.violations, rounds / 2);
  std::printf("%llu workers ended (%llu for a violation), %llu calls, %llu replies, %llu late, %llu timed out\n",
              static_cast<unsigned long long>(stats.workers_lost), static_cast<unsigned long long>(stats.violations),
              static_cast<unsigned long long>(calls), static_cast<unsigned long long>(stats.replied),
              static_cast<unsigned long long>(stats.late_replies), static_cast<unsigned long long>(stats.timed_out));
}

}  // namespace
}  // namespace samovar::test
