// `async def` methods: several calls at once in one worker, on its event loop.
#include <gtest/gtest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "ipc/unique_fd.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

Options with_concurrency(std::uint32_t concurrency, unsigned workers = 1) {
  Options chosen = options("aio_methods.py");
  chosen.concurrency = concurrency;
  chosen.workers = workers;
  return chosen;
}

// Submitted calls and their outcomes, in the order in which these came.
class Calls {
 public:
  explicit Calls(Pool& pool) : pool_(pool) {}
  ~Calls() { (void)all(); }

  void submit(std::string_view method, const Payload& payload = {}, const CallOptions& options = {}) {
    const std::size_t number = submitted_++;
    const auto accepted = pool_.submit(method, payload, [this, number](Result<Reply> outcome) {
      ended_.emplace_back(number, std::move(outcome));
    }, options);
    ASSERT_TRUE(accepted) << accepted.error().to_string();
  }

  [[nodiscard]] bool have(std::size_t count) {
    return wait_until([&] { return pool_.poll(), ended_.size() >= count; });
  }
  [[nodiscard]] bool all() { return have(submitted_); }

  std::size_t number(std::size_t place) const { return ended_.at(place).first; }
  Result<Reply>& outcome(std::size_t place) { return ended_.at(place).second; }
  std::size_t count(Code code) const {
    std::size_t found = 0;
    for (const auto& ended : ended_) found += code_of(ended.second) == code;
    return found;
  }

 private:
  Pool& pool_;
  std::size_t submitted_ = 0;
  std::vector<std::pair<std::size_t, Result<Reply>>> ended_;
};

bool has_logged(Pool& pool, std::string_view line) {
  const auto reply = pool.call("logged");
  if (!reply) return false;
  const Value lines = *reply->value();
  for (const Value& logged : *lines.as_list()) {
    if (*logged.as_str() == line) return true;
  }
  return false;
}

// --- calls at once ----------------------------------------------------------------------------------------------------------

TEST(AsyncMethod, returns_what_a_plain_one_would) {
  Pool pool = start(with_concurrency(4));
  EXPECT_EQ(value_of(pool.call("same", value(Value(7)))), Value(7));
  EXPECT_EQ(text_of(pool.call("same", text("seven"))), "seven");
  EXPECT_TRUE(value_of(pool.call("same")).is_none());
}

TEST(AsyncMethod, calls_run_at_once_up_to_the_concurrency) {
  Pool pool = start(with_concurrency(8));
  Calls calls(pool);
  for (int i = 0; i < 8; ++i) calls.submit("meet", value(Value(8)));
  ASSERT_TRUE(calls.all());
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(integer(calls.outcome(i)), 8);
}

TEST(AsyncMethod, no_more_calls_run_than_the_concurrency_however_many_wait) {
  Pool pool = start(with_concurrency(3));
  Calls calls(pool);
  for (int i = 0; i < 200; ++i) calls.submit("count_running", value(Value(5)));
  ASSERT_TRUE(calls.all());
  for (std::size_t i = 0; i < 200; ++i) EXPECT_LE(integer(calls.outcome(i)), 3);
}

TEST(AsyncMethod, calls_run_one_by_one_by_default) {
  Options chosen = options("aio_methods.py");
  Pool pool = start(chosen);
  Calls calls(pool);
  for (int i = 0; i < 20; ++i) calls.submit("count_running", value(Value(5)));
  ASSERT_TRUE(calls.all());
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(integer(calls.outcome(i)), 1);
}

TEST(AsyncMethod, the_last_can_end_first) {
  Pool pool = start(with_concurrency(4));
  Calls calls(pool);
  calls.submit("wait_for", text("third"));
  calls.submit("wait_for", text("second"));
  calls.submit("wait_for", text("first"));
  for (const char* name : {"first", "second", "third"}) {
    EXPECT_EQ(text_of(pool.call("bring", text(name))), name);
    ASSERT_TRUE(calls.have(std::string_view(name) == "first" ? 1 : std::string_view(name) == "second" ? 2 : 3));
  }
  EXPECT_EQ(calls.number(0), 2u);
  EXPECT_EQ(calls.number(1), 1u);
  EXPECT_EQ(calls.number(2), 0u);
  EXPECT_EQ(text_of(calls.outcome(0)), "first");
}

TEST(AsyncMethod, a_long_call_does_not_hold_up_thousands_of_short_ones) {
  Pool pool = start(with_concurrency(2));
  Calls calls(pool);
  calls.submit("wait_for", text("the end"));
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(integer(pool.call("same", value(Value(i)))), i);
  EXPECT_EQ(text_of(pool.call("bring", text("the end"))), "the end");
  EXPECT_TRUE(calls.all());
}

TEST(AsyncMethod, plain_methods_of_the_same_module_run_between) {
  Pool pool = start(with_concurrency(2));
  Calls calls(pool);
  calls.submit("wait_for", text("plain"));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(integer(pool.call("plain", value(Value(i)))), i);
  EXPECT_EQ(text_of(pool.call("bring_plainly", text("plain"))), "plain");
  EXPECT_TRUE(calls.all());
}

TEST(AsyncMethod, each_call_has_its_own_context) {
  Pool pool = start(with_concurrency(8));
  Calls calls(pool);
  for (int i = 0; i < 8; ++i) calls.submit("of_call", text("call " + std::to_string(i)));
  ASSERT_TRUE(calls.all());
  for (std::size_t i = 0; i < 8; ++i) {
    const Value seen = value_of(std::move(calls.outcome(i)));
    EXPECT_EQ(seen.as_list()->at(0), Value("call " + std::to_string(calls.number(i))));
    EXPECT_EQ(seen.as_list()->at(2), Value(false));
  }
}

TEST(AsyncMethod, calls_go_to_all_workers) {
  Pool pool = start(with_concurrency(4, 2));
  Calls calls(pool);
  std::vector<std::unique_ptr<Gate>> gates;
  for (int i = 0; i < 8; ++i) {
    gates.push_back(std::make_unique<Gate>("gate"));
    calls.submit("wait_at", text(gates.back()->path()));
    ASSERT_TRUE(gates.back()->reached()) << "all eight run at once";
  }
  for (const auto& gate : gates) gate->open();
  ASSERT_TRUE(calls.all());
  std::map<std::int64_t, int> by_worker;
  for (std::size_t i = 0; i < 8; ++i) ++by_worker[integer(calls.outcome(i))];
  EXPECT_EQ(by_worker.size(), 2u);
  for (const auto& [pid, count] : by_worker) EXPECT_EQ(count, 4) << pid;
}

// --- failures ---------------------------------------------------------------------------------------------------------------

TEST(AsyncMethod, exceptions_fail_their_call_alone) {
  Pool pool = start(with_concurrency(4));
  Calls others(pool);
  others.submit("wait_for", text("the others"));
  const pid_t before = static_cast<pid_t>(integer(pool.call("pid")));
  for (const auto& [how, type] : std::vector<std::pair<std::string, std::string>>{{"value", "ValueError"},
                                                                                {"exit", "SystemExit"},
                                                                                {"interrupt", "KeyboardInterrupt"},
                                                                                {"cancelled", "asyncio.exceptions.CancelledError"}}) {
    const auto failed = pool.call("fails", text(how));
    ASSERT_FALSE(failed) << how;
    EXPECT_EQ(failed.error().code, Code::method_failed) << how;
    EXPECT_EQ(failed.error().context.python_type, type);
    EXPECT_NE(failed.error().context.traceback.find("in fails"), std::string::npos) << failed.error().context.traceback;
    EXPECT_EQ(failed.error().context.traceback.find("aio.py"), std::string::npos);
  }
  EXPECT_EQ(code_of(pool.call("fails", text("unsendable"))), Code::invalid_result);
  EXPECT_EQ(code_of(pool.call("fails_plainly")), Code::method_failed);
  EXPECT_EQ(integer(pool.call("pid")), before);
  EXPECT_EQ(text_of(pool.call("bring", text("the others"))), "the others");
  ASSERT_TRUE(others.all());
  EXPECT_TRUE(others.outcome(0));
}

TEST(AsyncMethod, what_its_own_tasks_raise_is_logged) {
  Lines lines;
  Options chosen = with_concurrency(2);
  chosen.log = lines.sink();
  Pool pool = start(chosen);
  EXPECT_TRUE(pool.call("leaves_a_failure"));
  EXPECT_TRUE(wait_until([&] { return lines.contain("ZeroDivisionError: left alone"); })) << lines.all();
  EXPECT_TRUE(pool.call("same"));
}

TEST(AsyncMethod, tasks_of_its_own_are_cancelled_when_the_worker_ends) {
  Lines lines;
  Options chosen = with_concurrency(2);
  chosen.log = lines.sink();
  {
    Pool pool = start(chosen);
    EXPECT_TRUE(pool.call("leaves_a_task", text("kept")));
  }
  EXPECT_TRUE(lines.contain("kept was cancelled")) << lines.all();
}

// --- cancelling -------------------------------------------------------------------------------------------------------------

TEST(AsyncMethod, a_stop_token_cancels_its_task) {
  Pool pool = start(with_concurrency(4));
  Calls calls(pool);
  std::stop_source stop;
  calls.submit("wait_for", text("nobody"), {.stop = stop.get_token()});
  ASSERT_TRUE(wait_until([&] { return has_logged(pool, "nobody waits"); }));
  stop.request_stop();
  ASSERT_TRUE(calls.all());
  EXPECT_EQ(calls.count(Code::cancelled), 1u);
  EXPECT_TRUE(wait_until([&] { return has_logged(pool, "nobody cancelled"); }));
  EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 0; }));
}

TEST(AsyncMethod, a_deadline_cancels_its_task) {
  Pool pool = start(with_concurrency(4));
  const auto late = pool.call("wait_for", text("too late"), {.timeout = 20ms});
  EXPECT_EQ(code_of(late), Code::deadline_exceeded);
  EXPECT_TRUE(wait_until([&] { return has_logged(pool, "too late cancelled"); }));
}

TEST(AsyncMethod, a_task_that_swallows_its_cancelling_runs_on_and_its_answer_is_dropped) {
  Pool pool = start(with_concurrency(4));
  EXPECT_EQ(code_of(pool.call("swallows_cancelling", text("later"), {.timeout = 20ms})), Code::deadline_exceeded);
  EXPECT_TRUE(wait_until([&] { return has_logged(pool, "later swallowed True"); }));
  EXPECT_TRUE(pool.call("bring", text("later")));
  EXPECT_TRUE(wait_until([&] { return pool.poll(), pool.stats().late_replies == 1; }));
}

TEST(AsyncMethod, a_task_that_runs_on_past_its_deadline_is_overdue) {
  Happenings happenings;
  Options chosen = with_concurrency(4);
  chosen.on_event = happenings.hook();
  chosen.heartbeat_interval = 5ms;
  chosen.kill_grace = 50ms;
  Pool pool = start(chosen);
  EXPECT_EQ(code_of(pool.call("swallows_cancelling", text("never"), {.timeout = 20ms})), Code::deadline_exceeded);
  ASSERT_TRUE(happenings.have(EventKind::worker_restarted));
  EXPECT_TRUE(pool.call("same"));
}

TEST(AsyncMethod, hundreds_of_calls_can_be_cancelled_at_once) {
  Options chosen = with_concurrency(256);
  chosen.lane_bytes = 4096, chosen.inline_bytes_max = 256;  // the notes do not fit all at once
  Pool pool = start(chosen);
  Calls calls(pool);
  std::stop_source stop;
  for (int i = 0; i < 200; ++i) calls.submit("wait_for", text("nobody"), {.stop = stop.get_token()});
  ASSERT_TRUE(wait_until([&] { return pool.poll(), has_logged(pool, "nobody waits"); }));
  stop.request_stop();
  ASSERT_TRUE(calls.all());
  EXPECT_EQ(calls.count(Code::cancelled), 200u);
  EXPECT_TRUE(wait_until([&] { return pool.poll(), pool.stats().in_flight == 0; }));
}

// --- death, and a loop that does not come round --------------------------------------------------------------------------------

TEST(AsyncMethod, of_a_worker_that_is_killed_all_calls_that_run_are_lost_and_the_others_run_elsewhere) {
  Options chosen = with_concurrency(4);
  chosen.prefetch = 4;
  Pool pool = start(chosen);
  const pid_t pid = static_cast<pid_t>(integer(pool.call("pid")));
  Calls calls(pool);
  std::vector<std::unique_ptr<Gate>> gates;
  for (int i = 0; i < 4; ++i) {
    gates.push_back(std::make_unique<Gate>("gate"));
    calls.submit("wait_at", text(gates.back()->path()));
    ASSERT_TRUE(gates.back()->reached());
  }
  for (int i = 0; i < 6; ++i) calls.submit("same", value(Value(i)));
  kill(pid, SIGKILL);
  ASSERT_TRUE(calls.all());
  EXPECT_EQ(calls.count(Code::worker_lost), 4u);
  for (std::size_t i = 0; i < 10; ++i) {
    if (calls.number(i) < 4) continue;
    EXPECT_TRUE(calls.outcome(i)) << calls.outcome(i).error().to_string();
  }
}

TEST(BlockedLoop, is_told_with_the_method_that_blocks_it) {
  Happenings happenings;
  Options chosen = with_concurrency(4);
  chosen.on_event = happenings.hook();
  chosen.heartbeat_interval = 10ms;
  chosen.probe_after = 20ms;
  Pool pool = start(chosen);
  Calls calls(pool);
  Gate gate;
  calls.submit("blocks", text(gate.path()));
  ASSERT_TRUE(gate.reached());
  ASSERT_TRUE(happenings.have(EventKind::worker_suspected));
  const Event suspected = happenings.of(EventKind::worker_suspected).front();
  EXPECT_EQ(suspected.state, "blocked");
  EXPECT_EQ(suspected.method, "blocks");
  EXPECT_NE(suspected.message.find("the event loop of worker 0"), std::string::npos) << suspected.message;
  EXPECT_NE(suspected.message.find("has not come round for"), std::string::npos) << suspected.message;
  EXPECT_NE(suspected.message.find("while running blocks"), std::string::npos) << suspected.message;
  gate.open();
  EXPECT_TRUE(happenings.have(EventKind::worker_recovered));
  ASSERT_TRUE(calls.all());
}

TEST(BlockedLoop, that_waits_for_tasks_is_not_one) {
  Happenings happenings;
  Options chosen = with_concurrency(4);
  chosen.on_event = happenings.hook();
  chosen.heartbeat_interval = 5ms;
  chosen.probe_after = 5ms;
  Pool pool = start(chosen);
  EXPECT_TRUE(pool.call("sleeps", value(Value(0.3))));
  EXPECT_EQ(happenings.count(EventKind::worker_suspected), 0u);
}

TEST(BlockedLoop, past_a_deadline_is_killed_with_its_stacks) {
  Happenings happenings;
  Options chosen = with_concurrency(4);
  chosen.on_event = happenings.hook();
  chosen.heartbeat_interval = 10ms;
  chosen.kill_grace = 100ms;
  Pool pool = start(chosen);
  Calls calls(pool);
  calls.submit("wait_for", text("something"));
  ASSERT_TRUE(wait_until([&] { return has_logged(pool, "something waits"); }));
  Gate gate;
  EXPECT_EQ(code_of(pool.call("blocks", text(gate.path()), {.timeout = 50ms})), Code::deadline_exceeded);
  ASSERT_TRUE(calls.all());
  ASSERT_EQ(calls.count(Code::worker_lost), 1u) << "the other call goes with it";
  EXPECT_NE(calls.outcome(0).error().context.stacks.find("in blocks"), std::string::npos) << calls.outcome(0).error().to_string();
  EXPECT_TRUE(pool.call("same"));
}

TEST(BlockedLoop, loses_the_calls_that_it_has_not_begun_to_another_worker) {
  Options chosen = with_concurrency(16, 2);
  Pool pool = start(chosen);
  Calls calls(pool);
  Gate gate;
  calls.submit("blocks", text(gate.path()));
  ASSERT_TRUE(gate.reached());
  for (int i = 0; i < 100; ++i) calls.submit("same", value(Value(i)));
  EXPECT_TRUE(calls.have(100));
  gate.open();
  ASSERT_TRUE(calls.all());
  EXPECT_EQ(calls.number(100), 0u) << "the one that blocks ended last";
}

// --- the loop's own waiting -------------------------------------------------------------------------------------------------

TEST(EventLoopOfAWorker, uses_no_cpu_while_idle_whatever_it_has_waited_for) {
  Pool pool = start(with_concurrency(4));
  EXPECT_EQ(integer(pool.call("over_sockets", value(Value(10)))), 10);
  const std::int64_t before = integer(pool.call("cpu_ns"));
  EXPECT_TRUE(pool.call("sleeps", value(Value(0.5))));
  EXPECT_LT(integer(pool.call("cpu_ns")) - before, 25'000'000);
}

TEST(EventLoopOfAWorker, serves_descriptors_while_the_lane_is_quiet_and_the_lane_while_they_are) {
  Pool pool = start(with_concurrency(4));
  const Folder folder;
  const std::string pipe = folder.file("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  Calls calls(pool);
  calls.submit("reads", text(pipe));
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(pipe + ".here"); }));
  EXPECT_TRUE(pool.call("sleeps", value(Value(0.02)))) << "a timer beside a descriptor";
  for (int i = 0; i < 200; ++i) ASSERT_EQ(integer(pool.call("same", value(Value(i)))), i) << "calls beside a descriptor";
  const ipc::UniqueFd out(open(pipe.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(write(out.get(), "line\n", 5), 5);
  ASSERT_TRUE(calls.all());
  EXPECT_EQ(text_of(std::move(calls.outcome(0))), "line\n");
}

TEST(EventLoopOfAWorker, runs_streams_children_and_threads) {
  Pool pool = start(with_concurrency(4));
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(integer(pool.call("over_sockets", value(Value(100)))), 100);
    EXPECT_EQ(text_of(pool.call("of_a_child")), "child");
    EXPECT_EQ(value_of(pool.call("in_a_thread")), Value(true));
    EXPECT_EQ(integer(pool.call("plain", value(Value(round)))), round);
  }
}

TEST(EventLoopOfAWorker, wakes_for_calls_from_its_sleep) {
  Options chosen = with_concurrency(4);
  chosen.spin_max = 0ns;
  Pool pool = start(chosen);
  for (int i = 0; i < 300; ++i) ASSERT_EQ(integer(pool.call("same", value(Value(i)))), i);
  EXPECT_EQ(integer(pool.call("over_sockets", value(Value(1)))), 1);
  for (int i = 0; i < 300; ++i) ASSERT_EQ(integer(pool.call("same", value(Value(i)))), i);
}

// --- payloads, and workers that come and go ---------------------------------------------------------------------------------

TEST(AsyncMethod, large_payloads_go_both_ways_at_once) {
  Pool pool = start(with_concurrency(8));
  Calls calls(pool);
  std::vector<std::byte> bytes(300'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7);
  for (int i = 0; i < 20; ++i) calls.submit("size", samovar::bytes(bytes.data(), 100'000 + 1000 * static_cast<std::size_t>(i)));
  for (int i = 0; i < 20; ++i) calls.submit("back", samovar::bytes(bytes.data(), bytes.size()));
  for (int i = 0; i < 20; ++i) calls.submit("filled", value(Value(100'000 + i)));
  ASSERT_TRUE(calls.all());
  for (std::size_t place = 0; place < 60; ++place) {
    Result<Reply>& reply = calls.outcome(place);
    const std::size_t number = calls.number(place);
    ASSERT_TRUE(reply) << reply.error().to_string();
    if (number < 20) {
      EXPECT_EQ(*reply->value(), Value(static_cast<std::int64_t>(100'000 + 1000 * number)));
    } else if (number < 40) {
      ASSERT_EQ(reply->data().size(), bytes.size());
      EXPECT_EQ(std::memcmp(reply->data().data(), bytes.data(), bytes.size()), 0);
    } else {
      EXPECT_EQ(reply->data().size(), 100'000 + number - 40);
    }
  }
}

TEST(AsyncMethod, small_payloads_stay_whole_though_their_records_are_used_again) {
  Pool pool = start(with_concurrency(64));
  Calls calls(pool);
  std::vector<std::string> texts;
  for (int i = 0; i < 1000; ++i) texts.push_back("payload number " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 200), 'x'));
  for (const std::string& sent : texts) calls.submit("back", samovar::bytes(sent.data(), sent.size()));
  ASSERT_TRUE(calls.all());
  for (std::size_t place = 0; place < texts.size(); ++place) {
    const auto data = calls.outcome(place)->data();
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(data.data()), data.size()), texts[calls.number(place)]);
  }
}

TEST(AsyncMethod, reload_lets_those_that_run_end) {
  Happenings happenings;
  Options chosen = with_concurrency(4);
  chosen.on_event = happenings.hook();
  Pool pool = start(chosen);
  Calls calls(pool);
  Gate gate;
  calls.submit("wait_at", text(gate.path()));
  ASSERT_TRUE(gate.reached());
  std::jthread opener([&] {
    EXPECT_TRUE(happenings.have(EventKind::worker_ready, 2)) << "the one with fresh code";
    gate.open();
  });
  EXPECT_TRUE(pool.reload());
  ASSERT_TRUE(calls.all());
  EXPECT_TRUE(calls.outcome(0));
  EXPECT_TRUE(pool.call("same"));
}

TEST(AsyncMethod, runs_by_the_fallback_too) {
  Options chosen = with_concurrency(4);
  chosen.pool_enabled = false;
  chosen.fallback = Fallback::oneshot;
  Pool pool = start(chosen);
  EXPECT_EQ(value_of(pool.call("same", value(Value(7)))), Value(7));
}

}  // namespace
}  // namespace samovar::test
