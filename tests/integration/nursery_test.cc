// Workers that are forked from a nursery: what they share and do not share, and what becomes of it all where something fails.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Nurseries : public testing::Test {
 protected:
  Nurseries() {
    chosen.log_level = LogLevel::info;
    chosen.log = lines.sink();
    chosen.on_event = happenings.hook();
    chosen.heartbeat_interval = 10ms;
  }
  ~Nurseries() override { unsetenv("SAMOVAR_TEST_NURSERY"); }
  static void plan(const char* what) { setenv("SAMOVAR_TEST_NURSERY", what, 1); }

  // Process, parent, and who has loaded the module.
  struct Pids {
    std::int64_t worker, parent, loaded_by;
  };
  static Pids pids(Pool& pool) {
    const auto reply = pool.method<std::vector<std::int64_t>()>("pids")().value();
    return {reply.at(0), reply.at(1), reply.at(2)};
  }
  static pid_t nursery() {
    const std::vector<pid_t> nurseries = nurseries_of(getpid());
    EXPECT_EQ(nurseries.size(), 1u);
    return nurseries.empty() ? -1 : nurseries[0];
  }

  Happenings happenings;
  Lines lines;
  Options chosen = options("nursery.py");
};

TEST_F(Nurseries, load_the_module_once_and_fork_each_worker) {
  chosen.workers = 3;
  Pool pool = start(chosen);
  const pid_t parent = nursery();
  const std::vector<pid_t> workers = workers_of(getpid());
  EXPECT_EQ(workers.size(), 3u);
  const Pids found = pids(pool);
  EXPECT_EQ(found.loaded_by, parent);
  EXPECT_EQ(found.parent, parent);
  EXPECT_NE(std::find(workers.begin(), workers.end(), found.worker), workers.end());
  EXPECT_EQ(happenings.count(EventKind::nursery_ready), 1u);
  EXPECT_EQ(happenings.of(EventKind::nursery_ready)[0].pid, parent);
  EXPECT_EQ(text_of(pool.call("name")), "samovar-worker");
}

TEST_F(Nurseries, call_hooks_in_their_order_and_place) {
  Pool pool = start(chosen);
  const Pids found = pids(pool);
  EXPECT_EQ(value_of(pool.call("hooks")), Value::list({Value::list({"preload", found.parent}), Value::list({"before_fork", found.parent}),
                                                       Value::list({"after_fork", found.worker})}));
}

TEST_F(Nurseries, give_workers_random_numbers_of_their_own) {
  plan("numpy");
  Pool pool = start(chosen);
  std::set<std::int64_t> python, numpy;
  for (int incarnation = 0; incarnation < 4; ++incarnation) {
    const auto numbers = pool.method<std::vector<std::int64_t>()>("numbers")().value();
    python.insert(numbers.at(0));
    numpy.insert(numbers.at(1));
    EXPECT_EQ(code_of(pool.call("die", value(0))), Code::worker_lost);
  }
  EXPECT_EQ(python.size(), 4u);
  EXPECT_EQ(numpy.size(), 4u);
}

TEST_F(Nurseries, leave_workers_nothing_of_their_own) {
  Pool pool = start(chosen);
  const auto open = pool.method<std::vector<std::string>()>("descriptors")().value();
  const auto count = [&](std::string_view what) {
    return std::count_if(open.begin(), open.end(), [&](const std::string& target) { return target.find(what) != target.npos; });
  };
  EXPECT_EQ(count("socket:"), 1) << "to the host";
  EXPECT_EQ(count("pidfd"), 1) << "the host's";
}

TEST_F(Nurseries, and_workers_call_their_own_exit_handlers) {
  {
    Pool pool = start(chosen);
    ASSERT_TRUE(pool.call("pids"));
  }
  EXPECT_EQ(lines.with("atexit of a worker").size(), 1u) << lines.all();
  EXPECT_EQ(lines.with("atexit of what loaded").size(), 1u) << lines.all();
}

TEST_F(Nurseries, share_their_memory_with_their_workers) {
  plan("holds");  // 64 MiB
  chosen.workers = 4;
  Pool pool = start(chosen);
  for (int call = 0; call < 100; ++call) ASSERT_TRUE(pool.call("pids"));
  const std::vector<ProcessStats> processes = pool.processes();
  ASSERT_EQ(processes.size(), 5u);
  std::uint64_t sum = 0;
  for (const ProcessStats& process : processes) sum += process.proportional_bytes;
  EXPECT_LT(sum, 160u << 20) << "five times 64 MiB otherwise";
  for (int worker = 0; worker < 4; ++worker) {
    const ProcessStats& process = processes[static_cast<std::size_t>(worker)];
    EXPECT_EQ(process.worker, worker);
    EXPECT_EQ(process.state, "serving");
    EXPECT_GT(process.resident_bytes, 64u << 20);
    EXPECT_LT(process.private_bytes, 16u << 20);
    EXPECT_GT(process.private_bytes, 0u);
  }
  EXPECT_EQ(processes[4].worker, -1);
  EXPECT_EQ(processes[4].pid, nursery());
}

TEST_F(Nurseries, load_memory_that_does_not_count_as_their_workers) {
  plan("holds");  // 64 MiB
  chosen.recycle_memory = 32 << 20;
  Pool pool = start(chosen);
  const auto until = Clock::now() + 20 * chosen.heartbeat_interval;
  while (Clock::now() < until) ASSERT_TRUE(pool.call("pids"));
  EXPECT_EQ(pool.stats().workers_recycled, 0u);
  ASSERT_TRUE(pool.call("allocate", value(48 << 20)));
  ASSERT_TRUE(happenings.have(EventKind::worker_recycled));
  EXPECT_EQ(happenings.of(EventKind::worker_recycled)[0].state, "memory");
}

// --- a start that fails -------------------------------------------------------------------------------------------------------

TEST_F(Nurseries, that_cannot_load_say_why) {
  plan("preload raises");
  const Error error = start_failure(chosen);
  EXPECT_EQ(error.code, Code::module_failed);
  EXPECT_NE(error.message.find("the preload hook load of"), std::string::npos) << error.message;
  EXPECT_EQ(error.context.python_type, "LookupError");
  EXPECT_NE(error.context.traceback.find("no model here"), std::string::npos);
}

TEST_F(Nurseries, that_load_for_ever_are_given_up_after_start_timeout) {
  plan("preload hangs");
  chosen.start_timeout = 500ms;
  const auto begin = Clock::now();
  const Error error = start_failure(chosen);
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_EQ(error.code, Code::start_timeout);
  EXPECT_NE(error.message.find("the nursery (PID "), std::string::npos) << error.message;
  EXPECT_NE(error.context.output.find("loading for ever"), std::string::npos);
}

TEST_F(Nurseries, are_limited_in_memory_as_workers_are) {
  if (kShadowed) GTEST_SKIP() << "shadow memory counts as data";
  plan("preload allocates");
  chosen.worker_memory_max = 512 << 20;
  const Error error = start_failure(chosen);
  EXPECT_EQ(error.context.python_type, "MemoryError") << error.to_string();
}

TEST_F(Nurseries, whose_hooks_fail_say_which) {
  for (const char* hook : {"before_fork", "after_fork"}) {
    SCOPED_TRACE(hook);
    plan((std::string(hook) + " raises").c_str());
    const Error error = start_failure(chosen);
    EXPECT_EQ(error.code, Code::module_failed);
    EXPECT_NE(error.message.find(std::string("the ") + hook + " hook "), std::string::npos) << error.message;
    EXPECT_EQ(error.context.python_type, "RuntimeError");
    EXPECT_EQ(error.context.worker, 0);
  }
}

TEST_F(Nurseries, that_do_not_get_to_fork_are_killed) {
  plan("before_fork hangs");
  chosen.start_timeout = 1s;
  const Error error = start_failure(chosen);
  EXPECT_NE(error.to_string().find("did not fork a worker within start_timeout"), std::string::npos) << error.to_string();
}

// --- threads and sockets ------------------------------------------------------------------------------------------------------

TEST_F(Nurseries, beside_threads_do_not_fork_and_workers_are_started_by_exec) {
  plan("preload starts a thread");
  chosen.workers = 2;
  Pool pool = start(chosen);
  const Pids found = pids(pool);
  EXPECT_EQ(found.parent, getpid());
  EXPECT_EQ(found.loaded_by, found.worker);
  EXPECT_EQ(value_of(pool.call("hooks")).as_list()->size(), 2u) << "preload and after_fork, which may be what connects";
  ASSERT_EQ(happenings.count(EventKind::nursery_threads), 1u);
  const Event told = happenings.of(EventKind::nursery_threads)[0];
  EXPECT_EQ(told.count, 1u);
  EXPECT_NE(told.message.find("model-refresher"), std::string::npos) << told.message;
  EXPECT_TRUE(wait_until([&] { return nurseries_of(getpid()).empty(); }));
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  EXPECT_TRUE(pool.call("pids")) << "replaced by exec, too";
  EXPECT_EQ(happenings.count(EventKind::nursery_started), 1u);
}

TEST_F(Nurseries, in_which_a_hook_starts_a_thread_refuse_to_fork) {
  plan("before_fork starts a thread");
  const Error error = start_failure(chosen);
  EXPECT_NE(error.message.find("cannot fork beside its threads (too-late)"), std::string::npos) << error.message;
}

TEST_F(Nurseries, that_open_sockets_are_warned_of) {
  plan("preload opens a socket");
  Pool pool = start(chosen);
  EXPECT_TRUE(wait_until([&] { return lines.contain("has left 1 sockets open"); })) << lines.all();
}

// --- death --------------------------------------------------------------------------------------------------------------------

TEST_F(Nurseries, that_die_are_replaced_and_their_workers_go_on) {
  Pool pool = start(chosen);
  const Pids before = pids(pool);
  kill(nursery(), SIGKILL);
  ASSERT_TRUE(happenings.have(EventKind::nursery_lost));
  EXPECT_NE(happenings.of(EventKind::nursery_lost)[0].message.find("was killed by signal 9"), std::string::npos);
  EXPECT_EQ(pids(pool).worker, before.worker);
  EXPECT_EQ(code_of(pool.call("die", value(3))), Code::worker_lost);

  const Pids after = pids(pool);
  EXPECT_NE(after.worker, before.worker);
  EXPECT_EQ(after.parent, nursery());
  EXPECT_EQ(happenings.count(EventKind::nursery_ready), 2u);
  EXPECT_EQ(pool.stats().workers_lost, 1u);
}

TEST_F(Nurseries, tell_how_their_workers_ended) {
  Pool pool = start(chosen);
  for (const int status : {3, 0}) {
    const auto lost = pool.call("die", value(status));
    ASSERT_FALSE(lost);
    EXPECT_NE(lost.error().message.find("exited with status " + std::to_string(status)), std::string::npos) << lost.error().message;
  }
  const auto pid = static_cast<pid_t>(pids(pool).worker);
  kill(pid, SIGKILL);
  ASSERT_TRUE(happenings.have(EventKind::worker_lost, 3));
  EXPECT_NE(happenings.of(EventKind::worker_lost)[2].message.find("was killed by signal 9"), std::string::npos);
  EXPECT_TRUE(wait_until([&] { return state_of(pid) == '\0'; })) << "it is reaped";
}

TEST_F(Nurseries, that_are_stopped_while_a_worker_is_waited_for_are_killed) {
  chosen.stopped_after = 100ms;
  Pool pool = start(chosen);
  const pid_t stopped = nursery();
  kill(stopped, SIGSTOP);
  ASSERT_TRUE(wait_until([&] { return state_of(stopped) == 'T'; }));
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  EXPECT_TRUE(pool.call("pids"));
  EXPECT_NE(nursery(), stopped);
}

TEST_F(Nurseries, and_all_they_have_forked_end_with_the_pool_whatever_they_do) {
  const Footprint before = Footprint::now();
  plan("before_fork hangs");
  chosen.start_timeout = 300ms;
  (void)start_failure(chosen);
  plan("");
  {
    chosen.workers = 2;
    Pool pool = start(chosen);
    kill(nursery(), SIGSTOP);
    kill(workers_of(getpid()).at(0), SIGKILL);
    ASSERT_TRUE(happenings.have(EventKind::worker_lost));
    chosen.stop_timeout = 100ms;
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before; })) << Footprint::now().to_string();
}

// --- fresh code ---------------------------------------------------------------------------------------------------------------

TEST_F(Nurseries, keep_the_code_they_have_loaded_until_reload) {
  const Folder folder;
  const auto write = [&](int version) {
    folder.write("versions.py", "import os, samovar\n\n@samovar.method\ndef version():\n    return " + std::to_string(version) +
                                    "\n\n@samovar.method\ndef die(status):\n    os._exit(status)\n");
  };
  write(1);
  chosen.module = folder.file("versions.py");
  Pool pool = start(chosen);
  write(2);
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  EXPECT_EQ(integer(pool.call("version")), 1);
  const pid_t old = nursery();
  ASSERT_TRUE(pool.reload());
  EXPECT_EQ(integer(pool.call("version")), 2);
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  EXPECT_EQ(integer(pool.call("version")), 2);
  EXPECT_TRUE(wait_until([&] { return !is_alive(old); }));

  folder.write("versions.py", "raise ValueError('broken')\n");
  const Result<void> reloaded = pool.reload();
  ASSERT_FALSE(reloaded);
  EXPECT_EQ(reloaded.error().code, Code::module_failed);
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  EXPECT_EQ(integer(pool.call("version")), 2) << "the old nursery still forks";
}

TEST_F(Nurseries, are_tried_again_by_a_reload_whose_code_starts_no_threads) {
  plan("preload starts a thread");
  Pool pool = start(chosen);
  EXPECT_TRUE(wait_until([&] { return nurseries_of(getpid()).empty(); }));
  plan("");
  ASSERT_TRUE(pool.reload());
  EXPECT_EQ(pids(pool).parent, nursery());
  plan("preload starts a thread");
  ASSERT_TRUE(pool.reload());
  EXPECT_EQ(pids(pool).parent, getpid());
  EXPECT_TRUE(wait_until([&] { return nurseries_of(getpid()).empty(); }));
}

TEST_F(Nurseries, fork_two_hundred_workers) {
  chosen.workers = 200;
  chosen.log_level = LogLevel::warning;
  const Footprint before = Footprint::now();
  {
    Pool pool = start(chosen);
    EXPECT_EQ(pool.stats().workers_ready, 200u);
    EXPECT_EQ(workers_of(getpid()).size(), 200u);
    for (int call = 0; call < 1000; ++call) ASSERT_TRUE(pool.call("name"));
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before; })) << Footprint::now().to_string();
}

}  // namespace
}  // namespace samovar::test
