// Workers are killed at random under load: each call has exactly one outcome, and replies are right.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

constexpr std::uint64_t kIdempotent = std::uint64_t{1} << 62;  // in a call's number
constexpr int kCallers = 6;
constexpr std::uint64_t kDeathsMin = 5;
constexpr int kSubmitters = 2;

struct Tally {
  std::atomic<std::uint64_t> accepted{0}, replied{0}, failed{0}, wrong{0}, refused{0};
  std::atomic<std::uint64_t> lost{0}, timed_out{0};

  void count(const CheckedPayload& sent, const Result<Reply>& reply) {
    if (!reply) {
      ++failed;
      lost += reply.error().code == Code::worker_lost;
      timed_out += reply.error().code == Code::deadline_exceeded;
      if (reply.error().code != Code::worker_lost && reply.error().code != Code::deadline_exceeded) {
        ADD_FAILURE() << reply.error().to_string();
      }
    } else {
      ++replied;
      if (!sent.is_answered_by(*reply)) ++wrong;
    }
  }
};

std::uint64_t number_of(std::uint64_t call, int thread, std::minstd_rand& dice) {
  return call << 8 | static_cast<unsigned>(thread) | (dice() % 4 == 0 ? kIdempotent : 0);
}

CallOptions some_options(std::uint64_t number, std::minstd_rand& dice) {
  CallOptions chosen;
  chosen.idempotent = (number & kIdempotent) != 0;
  chosen.timeout = dice() % 16 == 0 ? Duration(200us) : Duration(20s);
  chosen.when_full = WhenFull::wait;
  return chosen;
}

// Of those that may not. `log` is what all workers wrote: the number of each call that began.
std::size_t calls_that_ran_twice(const std::string& log) {
  std::vector<std::uint64_t> begun(log.size() / sizeof(std::uint64_t));
  std::memcpy(begun.data(), log.data(), begun.size() * sizeof(std::uint64_t));
  std::sort(begun.begin(), begun.end());
  std::size_t twice = 0;
  for (std::size_t i = 1; i < begun.size(); ++i) twice += begun[i] == begun[i - 1] && (begun[i] & kIdempotent) == 0;
  return twice;
}

class Kills : public testing::TestWithParam<Dispatcher> {};

INSTANTIATE_TEST_SUITE_P(, Kills, testing::Values(Dispatcher::caller, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(Kills, at_random_leave_each_call_one_outcome) {
  const auto duration = random_test_length(6s);
  (void)start(options("stress.py"));  // loads what stays loaded
  const Footprint before = Footprint::now();
  const Folder folder;
  setenv("SAMOVAR_TEST_LOG", folder.file("begun").c_str(), 1);
  Tally tally;
  std::atomic<std::uint64_t> deaths = 0;
  {
    Options chosen = options("stress.py");
    chosen.workers = 2;
    chosen.dispatcher = GetParam();
    chosen.log_level = LogLevel::error;
    chosen.quarantine_after = 1'000'000;  // on a slow machine three in a row are killed while they start
    Pool pool = start(chosen);
    const auto until = std::chrono::steady_clock::now() + duration;
    const auto running = [&] {  // longer where the machine is too busy for the killer
      const auto now = std::chrono::steady_clock::now();
      return now < until || (deaths <= kDeathsMin && now < until + 60s);
    };
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kCallers; ++thread) {
      threads.emplace_back([&, thread] {
        std::minstd_rand dice(static_cast<unsigned>(thread + 1));
        for (std::uint64_t call = 0; running(); ++call) {
          const std::uint64_t number = number_of(call, thread, dice);
          const CheckedPayload sent(number, dice() % (dice() % 8 ? 200 : 40'000), dice);  // some lie in the arena
          ++tally.accepted;
          tally.count(sent, pool.call("checked_and_logged", sent.payload(), some_options(number, dice)));
        }
      });
    }
    for (int thread = 0; thread < kSubmitters; ++thread) {
      threads.emplace_back([&, thread] {
        std::minstd_rand dice(static_cast<unsigned>(thread + 1000));
        std::atomic<int> outstanding = 0;
        for (std::uint64_t call = 0; running();) {
          if (outstanding < 40) {
            const std::uint64_t number = number_of(call++, 0x80 | thread, dice);
            auto sent = std::make_shared<CheckedPayload>(number, dice() % 300, dice);
            ++outstanding;
            ++tally.accepted;
            const auto accepted = pool.submit(
                "checked_and_logged", sent->payload(),
                [&tally, &outstanding, sent](Result<Reply> reply) {
                  tally.count(*sent, reply);
                  --outstanding;
                },
                some_options(number, dice));
            if (!accepted) {  // its deadline passed while it waited for a place
              --outstanding;
              --tally.accepted;
              ++tally.refused;
            }
          } else {
            pool.poll();
          }
        }
        // Callbacks of either thread run in whichever polls.
        EXPECT_TRUE(wait_until([&] { return pool.poll(), outstanding == 0; })) << outstanding;
      });
    }
    std::jthread killer([&] {
      std::minstd_rand dice(7);
      while (running()) {
        // Only workers at work are worth killing: some hundred replies later, the next.
        const std::uint64_t next = pool.stats().replied + dice() % 2000;
        if (!wait_until([&] { return !running() || pool.stats().replied >= next; })) break;
        const std::vector<ProcessStats> processes = pool.processes();  // the nursery, too
        if (processes.empty()) continue;
        kill(processes[dice() % processes.size()].pid, SIGKILL);
        ++deaths;
      }
    });
    threads.clear();
    killer.join();
    const Stats stats = pool.stats();
    const std::uint64_t rejected_calls = stats.rejected - tally.refused;  // of call(), whose refusals we counted as outcomes
    EXPECT_EQ(stats.accepted, stats.replied + stats.failed);
    EXPECT_EQ(stats.accepted + rejected_calls, tally.accepted);
    EXPECT_EQ(stats.replied, tally.replied);
    EXPECT_EQ(stats.calls_lost, tally.lost);
    EXPECT_EQ(stats.queued, 0u);
    EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 0; })) << pool.stats().in_flight;
    EXPECT_TRUE(wait_until([&] { return pool.stats().request_arena_in_use == 0; })) << pool.stats().request_arena_in_use;
    EXPECT_EQ(stats.violations, 0u);
    std::printf("%llu calls, %llu replies, %llu lost, %llu timed out, %llu requeued; %llu kills, %llu workers lost\n",
                static_cast<unsigned long long>(tally.accepted), static_cast<unsigned long long>(tally.replied),
                static_cast<unsigned long long>(tally.lost), static_cast<unsigned long long>(tally.timed_out),
                static_cast<unsigned long long>(stats.requeued), static_cast<unsigned long long>(deaths.load()),
                static_cast<unsigned long long>(stats.workers_lost));
  }
  EXPECT_EQ(calls_that_ran_twice(folder.read("begun")), 0u);
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_EQ(tally.accepted, tally.replied + tally.failed);
  EXPECT_GT(deaths, kDeathsMin);
  EXPECT_GT(tally.replied, 100u);
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before; })) << Footprint::now().to_string();
}

}  // namespace
}  // namespace samovar::test
