// A pool that has run for long is as large as one that has not, and costs nothing while nobody calls.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/stress.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr double kMebibyte = 1 << 20;

TEST(Steady, memory_and_descriptors_stay_flat_over_calls) {
  const int calls = for_soak(100'000, 5'000'000);
  Pool pool = start(options("stress.py"));
  const std::string payload(64, 'x');
  const auto run = [&](int count) {
    int done = 0;
    for (int call = 0; call < count; ++call) {
      ASSERT_TRUE(pool.call("echo", bytes(payload.data(), payload.size())));
      if (call % 10 == 0) {
        ASSERT_TRUE(pool.submit("echo", text(payload), [&](Result<Reply>) { ++done; }, {.when_full = WhenFull::wait}));
      }
      if (call % 50 == 0) pool.poll();
    }
    ASSERT_TRUE(wait_until([&] { return pool.poll(), done == (count + 9) / 10; }));
  };
  run(20'000);
  const pid_t worker = worker_pid(pool);
  const Footprint before = Footprint::now();
  const std::uint64_t host_bytes = resident_bytes(getpid()), worker_bytes = resident_bytes(worker);
  run(calls);

  const auto growth = [](std::uint64_t from, std::uint64_t to) { return (static_cast<double>(to) - static_cast<double>(from)) / kMebibyte; };
  const double host = growth(host_bytes, resident_bytes(getpid())), python = growth(worker_bytes, resident_bytes(worker));
  std::printf("%d calls: host %+.2f MiB, worker %+.2f MiB\n", calls, host, python);
  EXPECT_EQ(Footprint::now(), before);
  if (kMeasures) {
    EXPECT_LT(host, 1.0);
    EXPECT_LT(python, 1.0);
  }
}

TEST(Steady, memory_and_descriptors_stay_flat_over_deaths) {
  const int deaths = for_soak(50, 1000);
  Options quiet = options("stress.py");
  quiet.log_level = LogLevel::error;
  Pool pool = start(quiet);
  const auto die = [&](int times) {
    for (int death = 0; death < times; ++death) {
      ASSERT_FALSE(pool.call("die", value(1)));
      ASSERT_TRUE(pool.call("echo"));
    }
  };
  die(10);
  Footprint before = Footprint::now();
  const std::uint64_t bytes = resident_bytes(getpid());
  die(deaths);

  const double growth = (static_cast<double>(resident_bytes(getpid())) - static_cast<double>(bytes)) / kMebibyte;
  std::printf("%d deaths: host %+.2f MiB\n", deaths, growth);
  const Footprint after = Footprint::now();
  EXPECT_EQ(after.descriptors.size(), before.descriptors.size()) << after.to_string();
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.children.size(), 1u);
  if (kMeasures) {
    EXPECT_LT(growth, 1.0);
  }
}

TEST(Steady, an_idle_pool_of_four_workers_costs_next_to_no_cpu) {
  for (const Dispatcher dispatcher : {Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}) {
    Options four = options("stress.py");
    four.workers = 4;
    four.dispatcher = dispatcher;
    Pool pool = start(four);
    int done = 0;
    for (int call = 0; call < 2000; ++call) {
      ASSERT_TRUE(pool.submit("echo", {}, [&](Result<Reply>) { ++done; }, {.when_full = WhenFull::wait}));
      pool.poll();
    }
    ASSERT_TRUE(wait_until([&] { return pool.poll(), done == 2000; }));

    // Right after load. What is measured is time, so here a test does sleep.
    const auto spent = [] {
      double seconds = cpu_seconds(getpid());
      for (pid_t worker : workers_of(getpid())) seconds += cpu_seconds(worker);
      return seconds;
    };
    const double before = spent();
    const auto begin = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(for_soak<std::chrono::seconds>(3s, 30s));
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const double share = (spent() - before) / elapsed;
    std::printf("%s: %.3f %% of one core\n", std::string(to_string(dispatcher)).c_str(), 100 * share);
    if (kMeasures) {
      EXPECT_LE(share, 0.02) << to_string(dispatcher);
    }
  }
}

}  // namespace
}  // namespace samovar::test
