// The host is killed: every worker and its children are gone within a second, whatever they were doing.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/child_host.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class HostDeath : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(, HostDeath,
                         testing::Values("idle", "busy_sleep", "busy_loop", "busy_native", "busy_deaf", "with_child"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(HostDeath, ends_all_workers_within_a_second) {
  const std::string method = GetParam();
  const Gate gate;
  ChildHost host([&](const ChildHost::Say& say) {
    Options two = options();
    two.workers = 2;
    Pool pool = start(two);
    if (method != "idle") {
      (void)pool.submit(method, text(gate.path()), [](Result<Reply>) {});
      (void)pool.submit(method, text(gate.path()), [](Result<Reply>) {});
    }
    say("ready");
    for (;;) pause();
  });
  ASSERT_EQ(host.hear().value_or("(nothing)"), "ready");
  if (method != "idle") {
    ASSERT_TRUE(gate.reached());
  }
  std::vector<pid_t> workers = workers_of(host.pid());
  ASSERT_EQ(workers.size(), 2u);
  std::vector<pid_t> all = nurseries_of(host.pid());
  ASSERT_EQ(all.size(), 1u);
  for (pid_t worker : workers) {
    for (pid_t member : group_members(worker)) all.push_back(member);
  }
  ASSERT_GE(all.size(), method == "with_child" ? 4u : 3u);

  host.kill();

  EXPECT_TRUE(wait_until(
      [&] {
        for (pid_t pid : all) {
          if (is_alive(pid)) return false;
        }
        return true;
      },
      1000ms))
      << "alive a second after their host: " << [&] {
           std::string alive;
           for (pid_t pid : all) alive += is_alive(pid) ? std::to_string(pid) + state_of(pid) + " " : "";
           return alive;
         }();
  for (pid_t pid : all) {
    if (is_alive(pid)) kill(pid, SIGKILL);
  }
}

TEST(HostDeaths, while_its_workers_start_ends_them_too) {
  ChildHost host([&](const ChildHost::Say& say) {
    Options hanging = options("preload_hangs.py");
    hanging.log_level = LogLevel::info;
    hanging.log = [&](LogLevel, std::string_view line) {
      if (line.find("loading for ever") != std::string_view::npos) say(std::string(line));
    };
    (void)Pool::start(hanging);
  });
  ASSERT_TRUE(host.hear());
  const std::vector<pid_t> nurseries = nurseries_of(host.pid());
  ASSERT_EQ(nurseries.size(), 1u);

  host.kill();

  EXPECT_TRUE(wait_until([&] { return !is_alive(nurseries[0]); }, 1000ms));
}

TEST(HostDeaths, by_exit_inside_a_callback_ends_all_workers_though_the_pool_is_static) {
  ChildHost host([](const ChildHost::Say& say) {
    static Pool pool = start(options());  // exit() destroys it, below the callback that called
    say(std::to_string(worker_pid(pool)));
    static Gate gate;
    (void)pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {});  // still runs then
    (void)pool.submit("echo", {}, [](Result<Reply>) { exit(0); });
    gate.open();
    while (true) pool.poll();
  });
  const auto pid = host.hear();
  ASSERT_TRUE(pid);
  EXPECT_EQ(host.exit_status(), 0);
  EXPECT_TRUE(wait_until([&] { return !is_alive(static_cast<pid_t>(std::stol(*pid))); }, 1s));
}

TEST(HostDeaths, by_exit_without_destroying_the_pool_ends_all_workers) {
  std::vector<pid_t> workers;
  {
    ChildHost host([&](const ChildHost::Say& say) {
      auto* pool = new Pool(start(options()));
      say(std::to_string(worker_pid(*pool)));
      _exit(0);
    });
    workers.push_back(std::stoi(host.hear().value_or("0")));
    ASSERT_GT(workers[0], 0);
    (void)host.exit_status();
  }
  EXPECT_TRUE(wait_until([&] { return !is_alive(workers[0]); }, 1000ms));
}

}  // namespace
}  // namespace samovar::test
