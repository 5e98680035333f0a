// A worker, or the nursery that forks it, is killed at the beginning and at the end of every system call of its life, from the moment
// when it becomes Python until it has ended: a pool that starts says so and leaves nothing, one that runs starts another, one that
// drains is done.
// A sample by default, all of them in `make soak`.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/steps/points.h"
#include "tests/stress/steps/stage.h"
#include "tests/stress/stress.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kToItsEnd = UINT64_MAX;
constexpr std::uint64_t kStopsAroundFork = 60;

// Stands for the interpreter. Once it is armed, the next worker stops before it becomes Python, and waits for its tracer.
class Interpreter {
 public:
  Interpreter() {
    const std::string python = start(options()).options().python;
    const std::string armed = "if rm '" + folder_.file("armed") + "' 2>/dev/null; then kill -STOP $$; fi";
    folder_.write("python", "#!/bin/sh\n" + armed + "\nexec '" + python + "' \"$@\"\n");
  }

  std::string path() const { return folder_.file("python"); }
  void arm() const { folder_.write("armed", ""); }

  pid_t wait_for_stopped() const {
    pid_t stopped = 0;
    const bool found = wait_until([&] {
      for (const pid_t child : children_of(getpid())) {
        if (state_of(child) == 'T') stopped = child;
      }
      return stopped != 0;
    });
    if (!found) throw std::runtime_error("no worker has stopped before it became Python");
    return stopped;
  }

 private:
  Folder folder_;
};

// Lets the stopped worker run to stop `k` (each system call is two: its beginning and its end) and kills it there. Returns at
// which it was killed, or how many there were.
std::uint64_t run_and_kill(const Interpreter& interpreter, std::uint64_t k, std::atomic<std::uint64_t>* stops = nullptr) {
  Tracee worker(interpreter.wait_for_stopped());
  kill(worker.pid(), SIGCONT);
  for (std::uint64_t stop = 0; stop < k; ++stop) {
    if (stops) stops->store(stop);
    if (!worker.to_system_call()) return stop;
  }
  worker.kill();
  return k;
}

std::vector<std::uint64_t> choose_stops(std::uint64_t all, std::uint64_t sample) {
  std::vector<std::uint64_t> stops;
  const std::uint64_t count = for_soak(std::min(sample, all), all);
  for (std::uint64_t i = 0; i < count; ++i) stops.push_back((2 * i + 1) * all / (2 * count));
  return stops;
}

// --- start and drain --------------------------------------------------------------------------------------------------------

struct Life {
  bool started = false;
  std::uint64_t stops = 0;           // until it was killed or had ended
  std::uint64_t stops_at_start = 0;  // when the pool had started
};

// A pool starts, serves one call, drains and ends, while what it starts first, a worker or a nursery, is killed at stop `k`.
Life live(WorkerStart worker_start, const Interpreter& interpreter, const Folder& folder, std::uint64_t k) {
  SCOPED_TRACE("killed at stop " + std::to_string(k));
  const Footprint before = Footprint::now();
  std::filesystem::remove(folder.file("notes"));
  Options chosen = options("steps.py");
  chosen.python = interpreter.path();
  chosen.worker_start = worker_start;
  chosen.restart_delay = chosen.restart_delay_max = 1ms;
  chosen.log = [](LogLevel, std::string_view) {};
  chosen.spin_max = Duration::zero();
  Life life;
  {
    interpreter.arm();
    std::atomic<std::uint64_t> stops = 0;
    std::jthread tracer([&] { life.stops = run_and_kill(interpreter, k, &stops); });
    Result<Pool> pool = Pool::start(chosen);
    life.started = pool.has_value();
    life.stops_at_start = stops;
    if (!pool) {
      const bool is_told = pool.error().code == Code::incompatible_worker || pool.error().code == Code::worker_lost;
      EXPECT_TRUE(is_told) << pool.error().to_string();
      EXPECT_NE(pool.error().message.find("killed by signal 9"), std::string::npos) << pool.error().to_string();
    } else {
      const std::vector<std::byte> argument(16);
      int told = 0;
      std::optional<Result<Reply>> outcome;
      EXPECT_TRUE(pool->submit("told", bytes(argument.data(), argument.size()), [&](Result<Reply> reply) {
        ++told;
        outcome.emplace(std::move(reply));
      }));
      pool->drain(20s);
      while (pool->poll() > 0) {
      }
      EXPECT_EQ(told, 1);
      if (outcome && !*outcome) {
        EXPECT_EQ(outcome->error().code, Code::worker_lost) << outcome->error().to_string();
        EXPECT_TRUE(outcome->error().context.started);
        EXPECT_FALSE(folder.read("notes").size() > 2 * sizeof(Stage::Note)) << "ran twice";
      }
    }
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before; }))
      << before.to_string() << "\nafter: " << Footprint::now().to_string();
  return life;
}

class KilledAtSystemCalls : public testing::TestWithParam<WorkerStart> {};

INSTANTIATE_TEST_SUITE_P(, KilledAtSystemCalls, testing::Values(WorkerStart::exec, WorkerStart::nursery), [](const auto& info) {
  return std::string(info.param == WorkerStart::exec ? "of_a_worker" : "of_a_nursery");
});

TEST_P(KilledAtSystemCalls, from_start_to_end_leaves_nothing_behind) {
  if (const std::string why = why_no_tracing(); !why.empty()) GTEST_SKIP() << why;
  const Interpreter interpreter;
  const Folder folder;
  setenv("SAMOVAR_TEST_LOG", folder.file("notes").c_str(), 1);
  const Life whole = live(GetParam(), interpreter, folder, kToItsEnd);
  ASSERT_TRUE(whole.started);
  ASSERT_GT(whole.stops_at_start, 100u);
  ASSERT_GT(whole.stops, whole.stops_at_start);

  std::size_t kills = 0, in_vain = 0;
  const auto kill_at = [&](std::uint64_t k) {
    ++kills;
    in_vain += !live(GetParam(), interpreter, folder, k).started;
  };
  for (const std::uint64_t k : choose_stops(whole.stops_at_start, 16)) {
    if (!HasFailure()) kill_at(k);
  }
  // The last before it serves are those in which it forks, where it is a nursery.
  const std::uint64_t late = whole.stops_at_start - kStopsAroundFork;
  for (const std::uint64_t k : choose_stops(whole.stops - late, 24)) {
    if (!HasFailure()) kill_at(late + k);
  }
  std::cout << kills << " kills at the beginnings and ends of system calls: " << whole.stops_at_start << " until the pool has started, "
            << whole.stops << " in all; " << in_vain << " starts failed\n";
  EXPECT_GT(in_vain, 0u);
  EXPECT_LT(in_vain, kills);
}

// --- replacement ------------------------------------------------------------------------------------------------------------

TEST(KilledReplacements, at_system_calls_bring_another_one) {
  if (const std::string why = why_no_tracing(); !why.empty()) GTEST_SKIP() << why;
  const Interpreter interpreter;
  Stage stage(Script{"replacement", "told", 64, 3, Until::sleep}, interpreter.path());

  // From here on calls wait for the worker's successor, which waits for its tracer.
  const auto begin = [&] {
    stage.begin();
    interpreter.arm();
    stage.kill_worker();
    stage.send_all(no_deadline(), false);
  };
  std::atomic<std::uint64_t> count = 0;
  std::uint64_t stops = 0;
  begin();
  {
    // A thread, for where its work is done the worker waits in a system call, and its tracer for the end of that.
    std::jthread tracer([&] { run_and_kill(interpreter, kToItsEnd, &count); });
    EXPECT_TRUE(stage.all_told());
    stops = count;
    stage.kill_worker();
  }
  stage.expect_at_rest();

  const std::vector<std::uint64_t> points = choose_stops(stops, 16);
  for (const std::uint64_t k : points) {
    if (HasFailure()) break;
    SCOPED_TRACE("killed at stop " + std::to_string(k));
    begin();
    run_and_kill(interpreter, k);
    ASSERT_TRUE(stage.all_told());
    for (const auto& call : stage.calls()) {
      EXPECT_TRUE(call->is_right()) << call->describe();
      if (call->error()) {
        EXPECT_EQ(call->error(), Code::worker_lost) << call->describe();
      }
      EXPECT_LE(stage.times_begun(*call), 1) << "ran twice. " << call->describe();
    }
    stage.expect_at_rest();
  }
  std::cout << points.size() << " kills at the " << stops << " beginnings and ends of system calls of a replacement\n";
}

}  // namespace
}  // namespace samovar::test
