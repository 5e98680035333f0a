// What the pool does about workers that hang, are stopped, die too often, or do not start; and what it tells of it.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Supervision : public testing::Test {
 protected:
  Supervision() {
    chosen.heartbeat_interval = 10ms;
    chosen.log_level = LogLevel::error;
    chosen.on_event = happenings.hook();
  }
  Happenings happenings;
  Options chosen = options();
};

TEST_F(Supervision, an_overdue_worker_is_killed_after_the_grace_and_others_get_its_calls) {
  chosen.kill_grace = 100ms;
  Gate gate;
  Pool pool = start(chosen);
  const pid_t pid = worker_pid(pool);
  const auto begin = Clock::now();
  EXPECT_EQ(code_of(pool.call("busy_loop", text(gate.path()), {.timeout = 50ms})), Code::deadline_exceeded);
  EXPECT_LT(Clock::now() - begin, 150ms) << "the caller does not wait for the kill";
  EXPECT_TRUE(pool.call("echo", text("waited for the replacement")));

  EXPECT_FALSE(is_alive(pid));
  EXPECT_EQ(pool.stats().workers_killed, 1u);
  EXPECT_EQ(pool.stats().calls_lost, 0u);
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  const Event suspected = happenings.of(EventKind::worker_suspected).at(0);
  EXPECT_EQ(suspected.state, "overdue");
  EXPECT_EQ(suspected.method, "busy_loop");
  const Event killed = happenings.of(EventKind::worker_killed).at(0);
  EXPECT_EQ(killed.state, "overdue");
  EXPECT_EQ(killed.pid, pid);
  EXPECT_NE(killed.message.find("kill_grace = 100ms"), std::string::npos) << killed.message;
  EXPECT_NE(killed.details.find("in busy_loop"), std::string::npos) << killed.details;
}

TEST_F(Supervision, a_condemned_worker_that_ends_before_it_is_killed_is_told_as_it_ended) {
  chosen.kill_grace = 0ns;  // suspected and condemned at one look
  chosen.on_event = [hook = chosen.on_event](const Event& event) {
    hook(event);
    if (event.kind != EventKind::worker_suspected) return;
    kill(event.pid, SIGKILL);
    EXPECT_TRUE(wait_until([&] { return state_of(event.pid) == 'Z'; }));
  };
  Gate gate;
  Pool pool = start(chosen);
  EXPECT_EQ(code_of(pool.call("busy_loop", text(gate.path()), {.timeout = 50ms})), Code::deadline_exceeded);
  ASSERT_TRUE(happenings.have(EventKind::worker_lost));
  EXPECT_NE(happenings.of(EventKind::worker_lost).at(0).message.find("killed by signal 9"), std::string::npos)
      << happenings.of(EventKind::worker_lost).at(0).message;
  EXPECT_EQ(happenings.count(EventKind::worker_killed), 0u);
  EXPECT_EQ(pool.stats().workers_killed, 0u);
}

TEST_F(Supervision, a_wedged_worker_is_killed_and_its_caller_gets_its_stacks) {
  chosen.wedged_after = 300ms;
  Gate gate;
  Pool pool = start(chosen);
  const auto begin = Clock::now();
  const auto reply = pool.call("busy_wedged", text(gate.path()));
  const auto took = Clock::now() - begin;
  ASSERT_EQ(code_of(reply), Code::worker_lost);
  EXPECT_NE(reply.error().message.find("wedged_after = 300ms"), std::string::npos) << reply.error().message;
  EXPECT_NE(reply.error().context.stacks.find("in busy_wedged"), std::string::npos) << reply.error().context.stacks;
  EXPECT_NE(reply.error().to_string().find("in busy_wedged"), std::string::npos);
  EXPECT_GE(took, 300ms);
  EXPECT_LE(took, 2s);
  EXPECT_EQ(happenings.of(EventKind::worker_killed).at(0).state, "wedged");
  EXPECT_TRUE(pool.call("echo"));
}

TEST_F(Supervision, work_that_only_looks_like_a_hang_is_none) {
  chosen.wedged_after = 100ms;
  chosen.stopped_after = 100ms;
  chosen.kill_grace = 100ms;
  Pool pool = start(chosen);
  const pid_t pid = worker_pid(pool);
  const auto lasts = [&](const char* code) { return pool.call("runs_for", text(code), {.timeout = 20s}); };
  for (const char* code : {"time.sleep(0.5)", "subprocess.run(['sleep', '0.5'])", "sum(range(20_000_000))",
                           "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 600_000)", "re.match('(a+)+$', 'a' * 24 + 'b')"}) {
    EXPECT_TRUE(lasts(code)) << code;
  }
  EXPECT_EQ(worker_pid(pool), pid);
  EXPECT_EQ(happenings.count(EventKind::worker_suspected), 0u);
}

TEST_F(Supervision, the_children_of_a_worker_that_is_killed_go_with_it) {
  chosen.kill_grace = 10ms;
  Gate gate;
  Pool pool = start(chosen);
  EXPECT_EQ(code_of(pool.call("with_child", text(gate.path()), {.timeout = 1s})), Code::deadline_exceeded);
  const auto child = static_cast<pid_t>(std::stol(read_text(gate.path() + ".child")));
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  EXPECT_TRUE(wait_until([&] { return !is_alive(child); }));
}

TEST_F(Supervision, an_overdue_worker_that_comes_back_within_the_grace_goes_on) {
  chosen.kill_grace = 1h;
  Gate gate;
  Pool pool = start(chosen);
  const pid_t pid = worker_pid(pool);
  EXPECT_EQ(code_of(pool.call("wait_at", text(gate.path()), {.timeout = 20ms})), Code::deadline_exceeded);
  ASSERT_TRUE(happenings.have(EventKind::worker_suspected));
  gate.open();
  EXPECT_TRUE(happenings.have(EventKind::worker_recovered));
  EXPECT_EQ(worker_pid(pool), pid);
  EXPECT_EQ(pool.stats().late_replies, 1u);
}

TEST_F(Supervision, a_busy_worker_that_a_signal_stops_is_killed_and_its_caller_told) {
  chosen.stopped_after = 300ms;
  Gate gate;
  Pool pool = start(chosen);
  const pid_t pid = worker_pid(pool);
  Clock::time_point stopped;
  std::jthread stopper([&] {
    EXPECT_TRUE(gate.reached());
    stopped = Clock::now();
    kill(pid, SIGSTOP);
  });
  const auto reply = pool.call("busy_sleep", text(gate.path()));
  const auto told = Clock::now();
  stopper.join();

  ASSERT_EQ(code_of(reply), Code::worker_lost);
  EXPECT_NE(reply.error().message.find("stopped by a signal"), std::string::npos) << reply.error().message;
  EXPECT_GE(told - stopped, 250ms);
  EXPECT_LE(told - stopped, 1s);
  EXPECT_TRUE(pool.call("echo"));
  EXPECT_EQ(happenings.of(EventKind::worker_suspected).at(0).state, "stopped");
  EXPECT_EQ(happenings.of(EventKind::worker_killed).at(0).state, "stopped");
}

TEST_F(Supervision, an_idle_worker_that_a_signal_stops_is_replaced) {
  chosen.stopped_after = 50ms;
  Pool pool = start(chosen);
  const pid_t pid = worker_pid(pool);
  kill(pid, SIGSTOP);
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  EXPECT_FALSE(is_alive(pid));
  EXPECT_TRUE(pool.call("echo"));
}

TEST_F(Supervision, a_worker_that_is_stopped_shortly_goes_on) {
  chosen.stopped_after = 1h;
  Pool pool = start(chosen);
  const pid_t pid = worker_pid(pool);
  kill(pid, SIGSTOP);
  ASSERT_TRUE(wait_until([&] { return state_of(pid) == 'T'; }));
  kill(pid, SIGCONT);
  EXPECT_EQ(worker_pid(pool), pid);
  EXPECT_EQ(happenings.count(EventKind::worker_killed), 0u);
}

TEST_F(Supervision, events_tell_of_a_life_in_order) {
  std::string kinds;
  {
    Pool pool = start(chosen);
    EXPECT_FALSE(pool.call("die", value(3)));
    ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  }
  for (const Event& event : happenings.all()) kinds += std::string(to_string(event.kind)) + " ";
  EXPECT_EQ(kinds, "nursery_started nursery_ready worker_started worker_ready worker_lost worker_started worker_ready worker_restarted ");
  const Event lost = happenings.of(EventKind::worker_lost).at(0);
  EXPECT_EQ(lost.pool, "samovar");
  EXPECT_EQ(lost.worker, 0);
  EXPECT_EQ(lost.incarnation, 1u);
  EXPECT_NE(lost.message.find("exited with status 3"), std::string::npos);
  EXPECT_GT(happenings.of(EventKind::worker_ready).at(0).took, 1ms);
  EXPECT_GT(happenings.of(EventKind::worker_restarted).at(0).took, 1ms);
}

TEST_F(Supervision, an_event_is_a_log_line_with_its_fields) {
  Lines lines;
  chosen.log = lines.sink();
  chosen.log_level = LogLevel::debug;
  chosen.name = "teahouse";
  start(chosen);
  const auto ready = lines.with("event=worker_ready");
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_NE(ready[0].find("ready in"), std::string::npos);
  for (const char* field : {"pool=teahouse", "worker=0", "incarnation=1", "pid=", "ms="}) {
    EXPECT_NE(ready[0].find(field), std::string::npos) << ready[0];
  }
}

TEST_F(Supervision, a_hook_that_throws_is_logged_and_harms_nothing) {
  Lines lines;
  chosen.log = lines.sink();
  chosen.on_event = [](const Event&) { throw std::runtime_error("not my day"); };
  Pool pool = start(chosen);
  EXPECT_TRUE(pool.call("echo"));
  EXPECT_TRUE(lines.contain("not my day"));
}

// --- a pool whose workers do not start ----------------------------------------------------------------------------------

class Quarantine : public Supervision {
 protected:
  Quarantine() {
    setenv("SAMOVAR_TEST_MARKER", folder.file("marker").c_str(), 1);
    chosen.module = module("fails_later.py");
    chosen.restart_delay = 5ms;
    chosen.restart_delay_max = 20ms;
  }
  ~Quarantine() override { unsetenv("SAMOVAR_TEST_MARKER"); }
  void mend() { std::filesystem::remove(folder.file("marker")); }
  Folder folder;
};

TEST_F(Quarantine, ends_waiting_calls_with_the_reason_and_refuses_new_ones_at_once) {
  Pool pool = start(chosen);
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  const auto waited = pool.call("pid");  // waits for the replacement, which does not come
  ASSERT_EQ(code_of(waited), Code::pool_quarantined);
  EXPECT_EQ(waited.error().category, Category::worker);
  EXPECT_EQ(waited.error().context.python_type, "RuntimeError");
  EXPECT_NE(waited.error().context.traceback.find("cannot load twice"), std::string::npos);
  EXPECT_TRUE(waited.error().context.retryable);
  EXPECT_FALSE(waited.error().context.started);

  const auto begin = Clock::now();
  EXPECT_EQ(code_of(pool.call("pid")), Code::pool_quarantined);
  EXPECT_EQ(code_of(pool.call("pid", {}, {.when_full = WhenFull::wait})), Code::pool_quarantined);
  EXPECT_FALSE(pool.submit("pid", {}, [](Result<Reply>) {}));
  EXPECT_LT(Clock::now() - begin, 100ms);
  EXPECT_EQ(happenings.count(EventKind::pool_quarantined), 1u);
  EXPECT_NE(happenings.of(EventKind::pool_quarantined).at(0).details.find("cannot load twice"), std::string::npos);
  EXPECT_EQ(pool.stats().accepted, pool.stats().replied + pool.stats().failed);
}

TEST_F(Quarantine, ends_by_itself_when_the_cause_is_gone) {
  Pool pool = start(chosen);
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  ASSERT_TRUE(happenings.have(EventKind::pool_quarantined));
  mend();
  ASSERT_TRUE(happenings.have(EventKind::pool_released));
  EXPECT_TRUE(pool.call("pid"));
  EXPECT_EQ(pool.stats().workers_ready, 1u);
}

TEST_F(Quarantine, does_not_begin_while_a_worker_serves) {
  chosen.module = module("methods.py");
  PackageCopy package;
  chosen.workers = 2;
  chosen.worker_start = WorkerStart::exec;
  Folder modules;
  modules.write("models.py", "import os\nimport samovar\n\n@samovar.method\ndef pid():\n    return os.getpid()\n\n"
                             "@samovar.method\ndef die(status):\n    os._exit(status)\n");
  chosen.module = modules.file("models.py");
  Pool pool = start(chosen);
  modules.write("models.py", "raise RuntimeError('broken')\n");
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  ASSERT_TRUE(happenings.have(EventKind::worker_failed, 4));
  EXPECT_TRUE(pool.call("pid"));
  EXPECT_EQ(happenings.count(EventKind::pool_quarantined), 0u);
}

}  // namespace
}  // namespace samovar::test
