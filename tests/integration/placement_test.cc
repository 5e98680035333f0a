// Where workers really run. What is planned on machines that are not here is tests/unit/plan_test.cc's.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "core/arenas/request_arena.h"
#include "core/observe/log.h"
#include "core/supervision/launch_plan.h"
#include "core/supervision/launcher.h"
#include "core/topology/cpu_list.h"
#include "core/topology/machine.h"
#include "tests/support/child_host.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

std::vector<int> usable_cpus() {
  std::vector<int> cpus;
  for (const core::Cpu& cpu : core::this_machine().cpus) cpus.push_back(cpu.number);
  return cpus;
}

pid_t pid_of(Pool& pool) { return static_cast<pid_t>(integer(pool.call("pid"))); }

// What /proc says, of the main thread: "0-3,8".
std::string affinity_of(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  const std::string name = "Cpus_allowed_list:\t";
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return line.substr(name.size());
  }
  return "(unknown)";
}

// Children of this process that may run on these CPUs only.
int workers_on(const std::string& cpus) {
  const std::vector<pid_t> children = children_of(getpid());
  return static_cast<int>(std::count_if(children.begin(), children.end(), [&](pid_t child) { return affinity_of(child) == cpus; }));
}

bool be_on_cpu(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(cpu), &one);
  return sched_setaffinity(0, sizeof one, &one) == 0;
}

bool refuse_to_pin() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(Placed, worker_stays_on_its_core_and_off_the_dispatchers) {
  if (core::count_cores(core::this_machine()) < 2) GTEST_SKIP() << "one core";
  Options apart = options();
  apart.dispatcher = Dispatcher::pinned;
  apart.pinning = Pinning::core;
  Pool pool = start(apart);

  const pid_t first = pid_of(pool);
  const auto kept = core::parse_cpus(affinity_of(first));
  ASSERT_TRUE(kept) << affinity_of(first);
  EXPECT_LT(kept->size(), usable_cpus().size());
  EXPECT_EQ(std::count(kept->begin(), kept->end(), pool.options().dispatcher_cpu), 0);

  ASSERT_FALSE(pool.call("kill_self", value(SIGKILL)));
  ASSERT_TRUE(pool.call("echo"));
  EXPECT_NE(pid_of(pool), first);
  EXPECT_EQ(affinity_of(pid_of(pool)), core::format_cpus(*kept)) << "its place is the seat's, whoever sits there";
}

TEST(Placed, workers_keep_to_the_cpus_of_the_pool) {
  Options chosen = options();
  chosen.cpus = {usable_cpus().back()};
  Pool pool = start(chosen);
  EXPECT_EQ(affinity_of(pid_of(pool)), std::to_string(usable_cpus().back()));
}

TEST(Placed, nobody_where_nothing_is_gained) {
  Options chosen = options();
  chosen.dispatcher = Dispatcher::caller;
  if (core::count_nodes(core::this_machine()) > 1) GTEST_SKIP() << "several nodes: workers have one each";
  Pool pool = start(chosen);
  EXPECT_EQ(pool.options().pinning, Pinning::none);
  EXPECT_EQ(affinity_of(pid_of(pool)), affinity_of(getpid()));
}

TEST(Placed, on_one_cpu_a_pool_of_any_size_works) {
  EXPECT_EQ(in_child_host([] {
              if (!be_on_cpu(usable_cpus().front())) return std::string("cannot pin the host");
              Options chosen = options();
              chosen.workers = 0;
              {
                Pool one = start(chosen);
                if (one.options().workers != 1 || one.options().dispatcher != Dispatcher::caller) return std::string("not made for one core");
                if (!one.call("echo")) return std::string("not served by one");
              }
              for (const Dispatcher kind : {Dispatcher::caller, Dispatcher::pinned}) {
                chosen.workers = 3;
                chosen.dispatcher = kind;
                chosen.pinning = Pinning::core;
                Pool three = start(chosen);
                for (int call = 0; call < 20; ++call) {
                  if (!three.call("echo")) return std::string("not served by three");
                }
                if (three.call("kill_self", value(SIGKILL)) || !three.call("echo")) return std::string("does not come back");
              }
              return std::string("served");
            }),
            "served");
}

TEST(Placed, where_pinning_is_refused_who_asked_for_it_is_told) {
  const std::pair<const char*, void (*)(Options&)> cases[] = {
      {"worker_cpus", [](Options& o) { o.worker_cpus = {usable_cpus().front()}; }},
      {"cpus", [](Options& o) { o.cpus = {usable_cpus().front()}; }},
      {"pinning", [](Options& o) { o.pinning = Pinning::core; }},
  };
  for (const auto& [option, ask] : cases) {
    EXPECT_EQ(in_child_host([&] {
                Options asked = options();
                ask(asked);
                if (!refuse_to_pin()) return std::string("no seccomp here");
                const Error error = start_failure(asked);
                const bool clear = error.category == Category::system && error.message.find(std::string("(") + option + ")") != std::string::npos &&
                                   error.message.find("permitted") != std::string::npos;
                return clear ? std::string("clear") : error.to_string();
              }),
              "clear")
        << option;
  }
}

// hwloc tells of a machine that is not there, so the plan is one that this one cannot grant.
TEST(Placed, where_a_plan_nobody_asked_for_cannot_be_had_the_pool_serves_all_the_same) {
  EXPECT_EQ(in_child_host([] {
              setenv("HWLOC_SYNTHETIC", "core:4096 pu:1", 1);
              Lines lines;
              Options chosen = options();
              chosen.workers = 2;
              chosen.dispatcher = Dispatcher::automatic;
              chosen.log_level = LogLevel::warning;
              chosen.log = lines.sink();
              Pool pool = start(chosen);
              if (pool.options().dispatcher != Dispatcher::pinned || pool.options().pinning != Pinning::core) return std::string("nothing is pinned");
              if (!pool.call("echo")) return std::string("not served");
              if (lines.with("a worker could not be pinned to CPU").size() != 1) return "not told once: " + lines.all();
              return std::string(lines.contain("the dispatcher could not be pinned") ? "told and served" : "not told of the dispatcher");
            }),
            "told and served");
}

// These two CPUs are told to be on two nodes, and workers are kept to them.
TEST(Placed, on_two_nodes_each_has_a_group_of_workers) {
  const std::vector<int> usable = usable_cpus();
  if (usable.size() < 2 || usable[0] != 0 || usable[1] != 1) GTEST_SKIP() << "CPUs 0 and 1 are not ours";
  EXPECT_EQ(in_child_host([] {
              setenv("HWLOC_SYNTHETIC", "numa:2 core:1 pu:1", 1);
              Options chosen = options();
              chosen.workers = 4;
              chosen.dispatcher = Dispatcher::automatic;
              Pool pool = start(chosen);
              if (pool.options().pinning != Pinning::node) return std::string("no nodes seen");
              std::string places;
              for (const char* cpu : {"0", "1"}) places += std::to_string(workers_on(cpu)) + " on " + cpu + " ";
              return places;
            }),
            "2 on 0 2 on 1 ");
}

// A place that nobody has asked for, as on a machine where pinning is automatic, and that this process may not have.
TEST(Placed, where_pinning_is_refused_and_nobody_asked_the_log_is_told_once) {
  Lines lines;
  Options chosen = options();
  chosen.log_level = LogLevel::warning;
  chosen.log = lines.sink();
  const core::Log log(chosen);
  const core::Plan nowhere{.seats = {{.cpus = {65535}}}, .further = {{.cpus = {65535}}}};
  auto arena = core::RequestArena::create("placement-test", chosen.request_arena_bytes).value();
  const core::Launcher launcher(chosen, core::plan_launch(chosen).value(), nowhere, *arena, log);

  for (unsigned seat = 0; seat < 3; ++seat) {
    core::Incarnation life;
    const Result<void> launched = launcher.launch(seat, life);
    EXPECT_TRUE(launched) << launched.error().to_string();
    if (!life.process) continue;
    life.process.signal(SIGKILL);
    pollfd ended{life.process.pidfd(), POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 10'000), 1);
    life.process.bury_group();
  }
  EXPECT_TRUE(lines.contain("could not be pinned to CPU 65535"));
  const std::string all = lines.all();
  EXPECT_EQ(all.find("could not be pinned"), all.rfind("could not be pinned")) << all;
}

}  // namespace
}  // namespace samovar::test
