#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "tools/cli/demo.h"
#include "tools/cli/failure.h"

namespace samovar::cli {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

Result<void> kill_a_worker(const Demo& demo, const std::vector<int>& expected) {
  const auto reply = demo.pool.call("pid");
  const auto pid = integer_of(reply);
  if (!pid) return tl::unexpected(pid.error());
  const int victim = reply->worker();
  const Stats before = demo.pool.stats();

  demo.progress.step("killing worker " + std::to_string(victim));
  const std::size_t calls = demo.amounts.kill_calls;
  std::atomic<bool> killed{false};
  Clock::time_point killed_at;
  Load load{.method = "classify", .calls = calls, .threads = 4};
  load.options.idempotent = true;  // what ran when the worker died may run again
  load.progress = [&](std::size_t done) {
    if (done < calls / 2 || killed.exchange(true)) return;
    killed_at = Clock::now();
    kill(static_cast<pid_t>(*pid), SIGKILL);
  };
  const auto measured = measure(demo.pool, demo.digits.unseen(), load);
  if (!measured) return tl::unexpected(measured.error());

  const unsigned workers = demo.pool.options().workers;
  const auto deadline = Clock::now() + 30s;
  while ((demo.pool.stats().workers_ready < workers || demo.pool.stats().workers_lost == before.workers_lost) &&
         Clock::now() < deadline) {
    std::this_thread::sleep_for(5ms);
  }
  const double replaced_s = seconds_since(killed_at);
  const Stats after = demo.pool.stats();

  demo.progress.clear();
  std::size_t same = 0;
  for (std::size_t i = 0; i < calls; ++i) same += measured->answers[i] == expected[i % expected.size()] ? 1 : 0;
  std::printf("Killing worker %d (SIGKILL, pid %lld) in the middle of %s calls from 4 threads\n", victim,
              static_cast<long long>(*pid), grouped(calls).c_str());
  for (const std::string& line : demo.log.take()) std::printf("  log of the pool: %s\n", line.c_str());
  std::printf("  %s replies, no call lost, %s answers as before; slowest call %s\n",
              grouped(measured->latency.whole.count()).c_str(), grouped(same).c_str(),
              human_time(static_cast<double>(measured->latency.whole.max())).c_str());
  std::printf("  %u of %u workers ready, the new one %.1f s after the kill, forked with the trained model\n", after.workers_ready,
              workers, replaced_s);
  if (same != calls) return tl::unexpected(system_error("answers changed after the kill", 0));
  if (after.workers_ready < workers) return tl::unexpected(system_error("the killed worker was not replaced within 30 s", 0));
  return {};
}

}  // namespace samovar::cli
