// Millions of small calls while workers are killed: none is lost, none runs twice that may not, and a kill costs one call at most.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/stress.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kBatch = 200;

bool is_idempotent(std::uint64_t number) { return number / kBatch % 4 == 0; }  // of whole batches

// The processes that serve, as events tell. Threads: any.
class Serving {
 public:
  EventHook hook() {
    return [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      if (event.kind == EventKind::worker_ready) pids_.insert(event.pid);
      if (event.kind == EventKind::worker_lost) pids_.erase(event.pid);
    };
  }
  bool kill_one(std::minstd_rand& dice) {
    const std::lock_guard lock(mutex_);
    if (pids_.empty()) return false;
    const auto chosen = std::next(pids_.begin(), static_cast<std::ptrdiff_t>(dice() % pids_.size()));
    kill(*chosen, SIGKILL);
    pids_.erase(chosen);
    return true;
  }

 private:
  std::mutex mutex_;
  std::set<pid_t> pids_;  // guarded by mutex_
};

TEST(LostCalls, none_in_a_flood_while_workers_are_killed) {
  const std::uint64_t calls = for_soak<std::uint64_t>(40'000, 10'000'000);
  const std::uint64_t kills = for_soak<std::uint64_t>(20, 1000);
  const std::uint64_t dice_seed = announced_seed();
  const Folder folder;
  setenv("SAMOVAR_TEST_LOG", folder.file("begun").c_str(), 1);

  std::vector<std::atomic<std::uint8_t>> told(calls);  // by number
  std::atomic<std::uint64_t> next = 0, replied = 0, wrong = 0, lost = 0, lost_idempotent = 0, others = 0, killed = 0;
  Stats stats;
  {
    Serving serving;
    Options chosen = options("stress.py");
    chosen.workers = 3;
    chosen.queue_limit = kThreads * kBatch;
    chosen.max_attempts = 10;  // or bad luck would end an idempotent call
    chosen.requeue_limit = 1000;
    chosen.restart_delay = 1ms;
    chosen.log_level = LogLevel::error;
    chosen.on_event = serving.hook();
    Pool pool = start(chosen);
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        std::minstd_rand dice(static_cast<unsigned>(dice_seed + thread));
        for (std::uint64_t first; (first = next.fetch_add(kBatch)) < calls;) {
          std::vector<CheckedPayload> sent;
          std::vector<Payload> payloads;
          for (std::uint64_t number = first; number < first + kBatch; ++number) sent.emplace_back(number, 8 + dice() % 8, dice);
          for (const CheckedPayload& payload : sent) payloads.push_back(payload.payload());
          const auto outcomes = pool.call_many("checked_and_logged", payloads, {.timeout = 10min, .idempotent = is_idempotent(first)});
          for (std::size_t i = 0; i < outcomes.size(); ++i) {
            ++told[first + i];
            if (outcomes[i]) {
              ++replied;
              wrong += !sent[i].is_answered_by(*outcomes[i]);
            } else if (outcomes[i].error().code == Code::worker_lost) {
              ++(is_idempotent(first) ? lost_idempotent : lost);
            } else if (others.fetch_add(1) == 0) {
              ADD_FAILURE() << outcomes[i].error().to_string();
            }
          }
        }
      });
    }
    std::jthread killer([&] {
      std::minstd_rand dice(static_cast<unsigned>(dice_seed + kThreads));
      for (; killed < kills; ++killed) {
        const std::uint64_t at = pool.stats().replied + dice() % (2 * calls / kills * 9 / 10);
        const auto over = [&] { return pool.stats().replied + kThreads * kBatch >= calls; };
        if (!wait_until([&] { return over() || pool.stats().replied >= at; }, 10min) || over()) return;
        if (!wait_until([&] { return serving.kill_one(dice); })) return;
      }
    });
    threads.clear();
    killer.join();
    stats = pool.stats();
    EXPECT_EQ(stats.accepted, calls);
    EXPECT_EQ(stats.accepted, stats.replied + stats.failed);
  }

  std::uint64_t not_told = 0, told_twice = 0, doubled = 0, never_ran = 0;
  std::vector<std::uint8_t> begun(calls);
  std::ifstream log(folder.file("begun"), std::ios::binary);
  for (std::uint64_t number; log.read(reinterpret_cast<char*>(&number), sizeof number);) {
    ASSERT_LT(number, calls);
    if (++begun[number] > 1) doubled += !is_idempotent(number);
  }
  for (std::uint64_t number = 0; number < calls; ++number) {
    not_told += told[number] == 0;
    told_twice += told[number] > 1;
    never_ran += begun[number] == 0;
  }
  std::printf("%llu calls, %llu kills (%llu workers lost): %llu calls lost without a word, %llu doubled, %llu told worker_lost while they ran "
              "(of idempotent ones %llu), %llu requeued, %llu never begun\n",
              static_cast<unsigned long long>(calls), static_cast<unsigned long long>(killed),
              static_cast<unsigned long long>(stats.workers_lost), static_cast<unsigned long long>(not_told),
              static_cast<unsigned long long>(doubled + told_twice), static_cast<unsigned long long>(lost),
              static_cast<unsigned long long>(lost_idempotent), static_cast<unsigned long long>(stats.requeued),
              static_cast<unsigned long long>(never_ran));
  EXPECT_EQ(not_told, 0u);
  EXPECT_EQ(told_twice, 0u);
  EXPECT_EQ(doubled, 0u);
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(lost_idempotent, 0u);
  EXPECT_LE(lost, stats.workers_lost) << "a kill costs the running call and no other";
  EXPECT_LE(never_ran, lost) << "all others were answered";
  EXPECT_EQ(stats.workers_lost, killed);
  EXPECT_GT(killed, kills / 2);
}

}  // namespace
}  // namespace samovar::test
