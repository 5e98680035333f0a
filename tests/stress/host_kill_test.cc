// Hosts are killed at random, while they start and under load, with workers in every bad way: nothing of them is left.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/stress/load.h"
#include "tests/stress/stress.h"
#include "tests/support/child_host.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr const char* kMark = "SAMOVAR_TEST_HOST";  // in the environment of a host and of all that descend from it

// Everything that runs with this mark, whoever its parent is by now.
std::vector<pid_t> marked(const std::string& mark) {
  const std::string wanted = std::string(kMark) + "=" + mark;
  std::vector<pid_t> found;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "environ");
    for (std::string variable; std::getline(file, variable, '\0');) {
      if (variable != wanted) continue;
      if (is_alive(std::stoi(name))) found.push_back(std::stoi(name));
      break;
    }
  }
  return found;
}

std::string command_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
  std::string command((std::istreambuf_iterator<char>(file)), {});
  std::replace(command.begin(), command.end(), '\0', ' ');
  return command;
}

// A worker that has not come to code of ours, which on a machine with other work takes seconds. It ends when it does.
bool is_python_starting(pid_t pid) {
  if (command_of(pid).find("-m samovar.worker") == std::string::npos) return false;
  std::error_code gone;
  for (const fs::directory_entry& thread : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(thread.path() / "comm");
    std::string name;
    if (std::getline(file, name) && name == "samovar-guard") return false;
  }
  return true;
}

std::set<std::string> entries(const fs::path& folder, const std::string& part) {
  std::set<std::string> found;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename();
    if (name.find(part) != std::string::npos && !name.starts_with("samovar-test-")) found.insert(entry.path());  // tests' own folders
  }
  return found;
}

// What a host may leave neither here nor there. TMPDIR is the test's own.
std::set<std::string> files() {
  std::set<std::string> found = entries("/dev/shm", "");
  found.merge(entries("/tmp", "samovar"));
  return found;
}

void be_a_busy_host(const ChildHost::Say& say, std::uint64_t dice_seed) {
  Options chosen = options("chaos.py");
  chosen.workers = 2;
  chosen.heartbeat_interval = 20ms;
  chosen.kill_grace = chosen.wedged_after = chosen.stopped_after = 300ms;
  chosen.restart_delay = 1ms;
  chosen.log = [](LogLevel, std::string_view) {};
  Pool pool = start(chosen);
  Load load(pool, dice_seed);
  load.start();
  std::minstd_rand dice(static_cast<unsigned>(dice_seed));
  for (;;) {
    // No worker that leaves its children by itself: were the host killed in that moment, nobody would be left to end them.
    static constexpr Kind kFaults[] = {kLoops, kWedges, kLeavesAChild, kLeavesAChild};
    load.send(kFaults[dice() % std::size(kFaults)], false, dice);
    const std::uint64_t enough = pool.stats().replied + 1 + dice() % 200;
    (void)wait_until([&] { return pool.stats().replied >= enough; }, 100ms);
    say("busy");
  }
}

TEST(HostKills, leave_no_process_and_no_file) {
  const int rounds = for_soak(5, 200);
  const std::uint64_t dice_seed = announced_seed();
  std::minstd_rand dice(static_cast<unsigned>(dice_seed));
  const Folder folder;
  fs::create_directory(folder.path() / "tmp");
  setenv("SAMOVAR_TEST_START_PLAN", folder.file("plan").c_str(), 1);
  const std::set<std::string> before = files();
  std::size_t most = 0, killed_at_start = 0;
  Clock::duration longest{};
  for (int round = 0; round < rounds; ++round) {
    const std::string mark = std::to_string(getpid()) + "." + std::to_string(round);
    ChildHost host([&](const ChildHost::Say& say) {
      setenv(kMark, mark.c_str(), 1);
      setenv("TMPDIR", (folder.path() / "tmp").c_str(), 1);
      be_a_busy_host(say, dice_seed + static_cast<unsigned>(round));
    });
    const bool at_start = dice() % 8 == 0;
    if (at_start) {
      ++killed_at_start;
      ASSERT_TRUE(wait_until([&] { return !children_of(host.pid()).empty(); }));
    } else {
      for (auto lines = 1 + dice() % 20; lines > 0; --lines) ASSERT_EQ(host.hear().value_or("(nothing)"), "busy");
    }
    most = std::max(most, marked(mark).size());  // the host is not among them: it was marked after its start

    host.kill();
    const auto begin = Clock::now();
    const bool gone = wait_until([&] {
      const std::vector<pid_t> left = marked(mark);
      return std::all_of(left.begin(), left.end(), is_python_starting);
    }, 1000ms);
    longest = std::max(longest, Clock::now() - begin);
    EXPECT_TRUE(gone) << "round " << round << (at_start ? ", while it started" : "") << ": alive a second after their host: " << [&] {
      std::string alive;
      for (const pid_t pid : marked(mark)) {
        (alive += "\n  ") += std::to_string(pid) + " " + state_of(pid) + " " + command_of(pid);
      }
      return alive;
    }();
    EXPECT_TRUE(wait_until([&] { return marked(mark).empty(); })) << "round " << round;
    for (const pid_t pid : marked(mark)) kill(pid, SIGKILL);
    EXPECT_TRUE(fs::is_empty(folder.path() / "tmp")) << "round " << round;
    if (HasFailure()) break;
  }
  for (const std::string& file : files()) EXPECT_TRUE(before.contains(file)) << file;
  unsetenv("SAMOVAR_TEST_START_PLAN");
  std::printf("%d hosts killed, %zu of them while they started; of up to %zu processes of one the last (but for Python that started) was gone after %.0f ms\n", rounds,
              killed_at_start, most, std::chrono::duration<double, std::milli>(longest).count());
}

}  // namespace
}  // namespace samovar::test
