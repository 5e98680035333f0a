// Chaos: every fault that we know of, by chance and under load. At the end the books balance and nothing is left.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/event_audit.h"
#include "tests/stress/load.h"
#include "tests/stress/stress.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kWorkers = 3;
constexpr Duration kLimit = 200ms;  // wedged_after, stopped_after, kill_grace
constexpr std::uint64_t kFaultsMin = 20;  // of a run
constexpr double kMebibyte = 1 << 20;

// Does one fault after the other, by its dice; and between them waits for some replies, or for a while where none come.
class Mischief {
 public:
  Mischief(Pool& pool, Load& load, const Folder& folder, std::uint64_t seed)
      : pool_(pool), load_(load), folder_(folder), dice_(static_cast<unsigned>(seed)) {}

  void go_on_until(std::chrono::steady_clock::time_point end) {
    const std::uint64_t least = done + kFaultsMin;  // on a machine that has other work
    while (std::chrono::steady_clock::now() < end || done < least) {
      do_one();
      await_replies();
    }
    folder_.write("plan", "0");  // of starts that follow
  }

  std::atomic<std::uint64_t> done = 0;

 private:
  void await_replies() {
    const std::uint64_t enough = pool_.stats().replied + dice_() % 600;
    (void)wait_until([&] { return pool_.stats().replied >= enough; }, std::chrono::milliseconds(dice_() % 80));
    if (dice_() % 8 == 0) return;  // or most faults would meet workers that start, and calls a pool in quarantine
    (void)wait_until([&] { return pool_.stats().workers_ready + 1 >= kWorkers; }, 2s);
  }

  pid_t some_process() {
    const std::vector<ProcessStats> processes = pool_.processes();  // the nursery, too
    const std::size_t index = dice_();
    return processes.empty() ? 0 : processes[index % processes.size()].pid;
  }
  void send_signal(pid_t worker, int number) {
    if (worker > 0) kill(worker, number);
  }

  void plan_start(const char* how) {
    folder_.write("plan.new", how);
    std::filesystem::rename(folder_.file("plan.new"), folder_.file("plan"));
    send_signal(some_process(), SIGKILL);
  }

  void do_one() {
    ++done;
    const bool idempotent = dice_() % 2 == 0;
    switch (dice_() % 16) {
      case 0:
      case 1:
      case 2: return send_signal(some_process(), SIGKILL);
      case 3: return send_signal(some_process(), SIGSTOP);
      case 4: {
        const pid_t worker = some_process();
        send_signal(worker, SIGSTOP);
        await_replies();
        return send_signal(worker, SIGCONT);
      }
      case 5: return load_.send(kLoops, idempotent, dice_);
      case 6: return load_.send(kWedges, false, dice_);
      case 7: return load_.send(kExits, idempotent, dice_);
      case 8: return load_.send(kCrashes, idempotent, dice_);
      case 9: return load_.send(kMeasures ? kHogs : kExits, idempotent, dice_);
      case 10: return load_.send(kScribbles, false, dice_);
      case 11: return load_.send(kLeavesAChild, idempotent, dice_);
      case 12: return storm();
      case 13: return plan_start("0.3");
      case 14: return plan_start(dice_() % 4 == 0 ? "5" : dice_() % 2 ? "exit" : "raise");  // 5 s: longer than start_timeout
      default: return load_.cancel_some();
    }
  }
  void storm() {
    for (int call = 0; call < 100; ++call) load_.send(kRaises, false, dice_);
  }

  Pool& pool_;
  Load& load_;
  const Folder& folder_;
  std::minstd_rand dice_;
};

struct Reading {
  std::uint64_t resident_bytes = 0;
  std::size_t descriptors = 0, mappings = 0, shared_mappings = 0, threads = 0, children = 0;

  static Reading now() {
    Reading reading{.resident_bytes = test::resident_bytes(getpid()),
                    .descriptors = open_descriptors().size(),
                    .threads = thread_count(),
                    .children = children_of(getpid()).size()};
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      ++reading.mappings;
      reading.shared_mappings += line.find("/memfd:") != std::string::npos;
    }
    return reading;
  }
};

class Chaos : public testing::TestWithParam<Dispatcher> {
 protected:
  void SetUp() override {
    seed_ = announced_seed();
    setenv("SAMOVAR_TEST_START_PLAN", folder_.file("plan").c_str(), 1);
    (void)start(options("chaos.py"));  // loads what stays loaded
    before_ = Footprint::now();
  }
  void TearDown() override { unsetenv("SAMOVAR_TEST_START_PLAN"); }

  Options chaotic() {
    Options chosen = options("chaos.py");
    chosen.workers = kWorkers;
    chosen.dispatcher = GetParam();
    chosen.heartbeat_interval = 20ms;
    chosen.probe_after = 20ms;
    chosen.kill_grace = chosen.wedged_after = chosen.stopped_after = kLimit;
    chosen.start_timeout = 3s;
    chosen.restart_delay = 5ms;
    chosen.restart_delay_max = 50ms;
    chosen.quarantine_after = 6;
    chosen.queue_limit = 100;
    chosen.recycle_calls = 2000;
    if (kMeasures) chosen.worker_memory_max = 192 << 20;  // a sanitizer's own memory is above any limit
    chosen.worker_core_bytes_max = 1;
    chosen.request_arena_bytes = 64 << 20;
    chosen.response_arena_bytes = 256 << 10;  // soon scribbled over
    chosen.arena_trim_delay = 100ms;
    chosen.log_level = LogLevel::error;
    chosen.log = [](LogLevel, std::string_view) {};
    chosen.on_event = audit_.hook();
    return chosen;
  }

  // Load and faults for a while, and then what is there when nothing goes on any more.
  Reading run(Pool& pool, Load& load, Mischief& mischief, std::chrono::milliseconds duration) {
    load.start();
    std::atomic<bool> over = false;
    std::jthread reloader([&] {
      for (std::uint64_t next = mischief.done + 10; !over; next = mischief.done + 30) {
        if (!wait_until([&] { return over || mischief.done >= next; }, 1h) || over) return;
        const Result<void> reloaded = pool.reload();
        ++(reloaded ? reloads_ : failed_reloads_);
      }
    });
    mischief.go_on_until(std::chrono::steady_clock::now() + duration);
    over = true;
    reloader.join();
    load.stop();
    expect_rest(pool, load.tally());
    return Reading::now();
  }

  void expect_rest(Pool& pool, const Tally& tally) {
    EXPECT_TRUE(wait_until([&] {
      return pool.stats().workers_ready == kWorkers && pool.processes().size() == kWorkers + 1 && nurseries_of(getpid()).size() == 1 &&
             audit_.contradictions_at_rest(kWorkers).empty();
    })) << pool.stats().workers_ready << " workers, " << Footprint::now().to_string();
    for (const std::string& contradiction : audit_.contradictions_at_rest(kWorkers)) ADD_FAILURE() << contradiction;
    const auto all_is_back = [&] { return pool.stats().in_flight == 0 && pool.stats().request_arena_in_use == 0; };
    EXPECT_TRUE(wait_until(all_is_back)) << pool.stats().in_flight << " calls, " << pool.stats().request_arena_in_use << " bytes";
    EXPECT_TRUE(wait_until([&] { return pool.stats().request_arena_resident == 0; })) << pool.stats().request_arena_resident;

    const Stats stats = pool.stats();
    EXPECT_EQ(stats.queued, 0u);
    EXPECT_EQ(stats.accepted, stats.replied + stats.failed);
    EXPECT_EQ(stats.accepted + stats.rejected, tally.sent);
    EXPECT_EQ(stats.replied, tally.replied);
    EXPECT_EQ(tally.sent, tally.replied + tally.failed);
    EXPECT_EQ(stats.calls_lost, tally.codes[static_cast<std::size_t>(Code::worker_lost)]);
    EXPECT_EQ(tally.told_twice, 0u);
    EXPECT_EQ(tally.wrong, 0u);
    EXPECT_EQ(tally.unexpected, 0u);
    EXPECT_EQ(stats.workers_lost, audit_.count(EventKind::worker_lost));
    EXPECT_EQ(stats.workers_recycled, audit_.count(EventKind::worker_recycled));
    EXPECT_EQ(stats.workers_killed + audit_.killed_for("broken"), audit_.count(EventKind::worker_killed));
  }

  std::uint64_t seed_ = 0;
  Folder folder_;
  EventAudit audit_;
  Footprint before_;
  std::atomic<std::uint64_t> reloads_ = 0, failed_reloads_ = 0;
};

INSTANTIATE_TEST_SUITE_P(, Chaos, testing::Values(Dispatcher::caller, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(Chaos, leaves_each_call_one_outcome_and_nothing_else) {
  const std::chrono::milliseconds duration = random_test_length(4s);
  {
    Pool pool = start(chaotic());
    Load load(pool, seed_);
    Mischief mischief(pool, load, folder_, seed_);
    const Reading warm = run(pool, load, mischief, duration / 3);
    const Reading after = run(pool, load, mischief, duration - duration / 3);

    const double growth = (static_cast<double>(after.resident_bytes) - static_cast<double>(warm.resident_bytes)) / kMebibyte;
    std::printf("%llu faults, %llu reloads and %llu that failed: %s\n%s\nmemory %.1f MiB %+.2f, mappings %zu %+lld, descriptors %zu\n",
                static_cast<unsigned long long>(mischief.done), static_cast<unsigned long long>(reloads_),
                static_cast<unsigned long long>(failed_reloads_), load.tally().to_string().c_str(), audit_.to_string().c_str(),
                static_cast<double>(warm.resident_bytes) / kMebibyte, growth, warm.mappings,
                static_cast<long long>(after.mappings) - static_cast<long long>(warm.mappings), after.descriptors);
    EXPECT_EQ(after.descriptors, warm.descriptors);
    EXPECT_EQ(after.shared_mappings, warm.shared_mappings);
    EXPECT_EQ(after.threads, warm.threads);
    if (kMeasures) {
      EXPECT_LT(growth, 4.0);
      EXPECT_LT(after.mappings, warm.mappings + 16);  // the C library's, for threads
    }
    EXPECT_GT(audit_.count(EventKind::worker_lost), 5u);
    EXPECT_GT(load.tally().replied, 500u);
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before_; })) << Footprint::now().to_string();
}

}  // namespace
}  // namespace samovar::test
