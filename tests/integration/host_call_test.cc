// Methods that call functions of the host, in every dispatcher mode.
#include <gtest/gtest.h>
#include <samovar/samovar.h>

#include <atomic>
#include <barrier>
#include <csignal>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

std::string said(const Result<Reply>& reply) { return reply ? std::string(reply->text()) : "failed: " + reply.error().to_string(); }

class EachModeOfAsking : public testing::TestWithParam<Dispatcher> {
 protected:
  Pool make(unsigned workers = 2) {
    Options chosen = options("asking.py");
    chosen.dispatcher = GetParam();
    chosen.workers = workers;
    Pool pool = start(chosen);
    pool.expose("double", [](std::int64_t n) { return 2 * n; });
    return pool;
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, EachModeOfAsking, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachModeOfAsking, function_gets_its_arguments_and_the_method_its_result) {
  Pool pool = make();
  pool.expose("lookup", [](std::string_view key, std::optional<double> factor) -> Result<double> { return double(key.size()) * factor.value_or(1); });
  pool.expose("all", [](const Value::List& given) -> Value { return Value(given); });
  pool.expose("nothing", [] {});
  EXPECT_EQ(*pool.call("ask", arguments({"double", 21}))->value(), Value(42));
  EXPECT_EQ(*pool.call("ask", arguments({"lookup", "four", 1.5}))->value(), Value(6.0));
  EXPECT_EQ(*pool.call("ask", arguments({"lookup", "four", nullptr}))->value(), Value(4.0));
  EXPECT_EQ(*pool.call("ask", arguments({"all", 1, "a", nullptr}))->value(), Value::list({1, "a", nullptr}));
  EXPECT_EQ(*pool.call("ask", arguments({"nothing"}))->value(), Value());
  EXPECT_EQ(*pool.call("many", value(200))->value(), Value(200 * 199));
  pool.expose("double", [](std::int64_t n) { return n; });
  EXPECT_EQ(*pool.call("ask", arguments({"double", 21}))->value(), Value(21)) << "in its place";
}

TEST_P(EachModeOfAsking, all_workers_may_ask_at_once_and_none_waits_behind_another) {
  constexpr int kWorkers = 4;
  Pool pool = make(kWorkers);
  std::barrier all_ask(kWorkers);  // each function waits for all the others
  pool.expose("meet", [&]() -> std::int64_t {
    all_ask.arrive_and_wait();
    return 7;
  });
  std::vector<std::thread> callers;
  std::atomic<int> met{0};
  for (int i = 0; i < kWorkers; ++i) {
    callers.emplace_back([&] {
      const Result<Reply> reply = pool.call("ask", arguments({"meet"}));
      if (reply && *reply->value() == Value(7)) ++met;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(met, kWorkers);

  std::atomic<int> told{0};
  for (int i = 0; i < kWorkers; ++i) {
    ASSERT_TRUE(pool.submit("ask", arguments({"meet"}), [&](Result<Reply> r) { told += r.has_value(); }));
  }
  EXPECT_TRUE(wait_until([&] { return pool.stats().replied == 2 * kWorkers; })) << "though no thread of ours is in call() or poll()";
  EXPECT_TRUE(wait_until([&] { return pool.poll(), told == kWorkers; }));
}

TEST_P(EachModeOfAsking, nested_call_works_while_a_worker_is_free) {
  Pool pool = make(2);
  pool.expose("again", [&](std::int64_t n) -> Result<std::int64_t> {
    return pool.method<std::int64_t(std::string, std::int64_t)>("ask")("double", n);
  });
  EXPECT_EQ(*pool.call("ask", arguments({"again", 4}))->value(), Value(8));

  Pool one = make(1);
  one.expose("again", [&] { return one.call("plain", {}, {.timeout = 50ms}).has_value(); });
  EXPECT_EQ(*one.call("ask", arguments({"again"}))->value(), Value(false)) << "its only worker waits for this";
}

TEST_P(EachModeOfAsking, streams_ask_too) {
  Pool pool = make();
  Result<Stream> stream = pool.stream("stream", value(300));
  std::int64_t i = 0;
  for (Result<Reply>& chunk : *stream) {
    ASSERT_TRUE(chunk) << chunk.error().to_string();
    EXPECT_EQ(*chunk->value(), Value(2 * i++));
  }
  EXPECT_EQ(i, 300);
}

TEST_P(EachModeOfAsking, cancelled_call_no_longer_waits_for_its_answer) {
  Pool pool = make(1);
  std::atomic<bool> asked{false}, go_on{false};
  pool.expose("slow", [&] {
    asked = true;
    (void)wait_until([&] { return go_on.load(); });
  });
  std::stop_source stop;
  std::thread caller([&] { EXPECT_EQ(pool.call("remembers", text("slow"), {.stop = stop.get_token()}).error().code, Code::cancelled); });
  EXPECT_TRUE(wait_until([&] { return asked.load(); }));
  stop.request_stop();
  caller.join();
  const Value seen = *pool.call("remembered")->value();
  ASSERT_EQ(seen.as_list()->size(), 1u);
  EXPECT_NE(seen.as_list()->front().as_str()->find("nobody waits for this call any more"), std::string::npos);
  go_on = true;
}

Pool one_worker() {
  Pool pool = start(options("asking.py"));
  pool.expose("double", [](std::int64_t n) { return 2 * n; });
  return pool;
}

TEST(HostCallTest, what_goes_wrong_is_a_host_error_that_says_so) {
  Pool pool = one_worker();
  pool.expose("throws", []() -> int { throw std::runtime_error("no luck"); });
  pool.expose("throws_a_number", []() -> int { throw 7; });
  pool.expose("fails", []() -> Result<int> { return tl::unexpected(Error{.category = Category::request, .code = Code::invalid_payload, .message = "not today", .context = {}}); });
  pool.expose("large", [] { return std::string(5000, 'x'); });
  const auto failure = [&](std::vector<Value> question) { return said(pool.call("fails", arguments(question))); };
  EXPECT_EQ(failure({"duoble", 1}), "the host has no function \"duoble\"; did you mean \"double\"?");
  EXPECT_EQ(failure({"throws"}), "\"throws\" threw: no luck");
  EXPECT_EQ(failure({"throws_a_number"}), "\"throws_a_number\" threw what is no std::exception");
  EXPECT_NE(failure({"fails"}).find("not today"), std::string::npos);
  EXPECT_NE(failure({"double"}).find("it takes 1 argument, 0 were given"), std::string::npos) << failure({"double"});
  EXPECT_NE(failure({"double", "x"}).find("a str where an int is expected"), std::string::npos) << failure({"double", "x"});
  EXPECT_NE(failure({"large"}).find("at most inline_bytes_max = 4096"), std::string::npos) << failure({"large"});
  EXPECT_NE(failure({"double", std::string(5000, 'x')}).find("bytes; at most 4096"), std::string::npos);
  const Error error = pool.call("ask", arguments({"throws"})).error();
  EXPECT_EQ(error.code, Code::method_failed);
  EXPECT_EQ(error.context.python_type, "samovar.host.HostError");
  EXPECT_EQ(*pool.call("ask", arguments({"double", 1}))->value(), Value(2));
}

TEST(HostCallTest, an_answer_that_is_late_is_a_timeout_and_dropped) {
  Pool pool = one_worker();
  std::atomic<bool> go_on{false};
  pool.expose("slow", [&] {
    (void)wait_until([&] { return go_on.load(); });
    return 1;
  });
  EXPECT_EQ(said(pool.call("ask_within", arguments({0.02, "slow"}))), "HostTimeout: the host's \"slow\" has not answered in time; a late answer will be dropped");
  EXPECT_EQ(said(pool.call("ask_within", arguments({5.0, "double", 4}))), "answered 8") << "and not the late answer";
  go_on = true;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(said(pool.call("ask_within", arguments({5.0, "double", i}))), "answered " + std::to_string(2 * i));

  go_on = false;
  EXPECT_EQ(pool.call("remembers", text("slow"), {.timeout = 30ms}).error().code, Code::deadline_exceeded);
  EXPECT_EQ(pool.call("remembered")->value()->as_list()->size(), 1u) << "its own deadline ends the wait";
  go_on = true;
}

TEST(HostCallTest, only_a_running_call_asks_and_from_its_own_thread) {
  Pool pool = one_worker();
  EXPECT_NE(said(pool.call("from_thread")).find("main thread only"), std::string::npos);
  EXPECT_TRUE(pool.call("keeps"));
  EXPECT_NE(said(pool.call("uses_kept")).find("the call has ended"), std::string::npos);
}

TEST(HostCallTest, answer_to_a_worker_that_died_is_dropped) {
  Pool pool = one_worker();
  std::atomic<bool> asked{false}, go_on{false};
  pool.expose("slow", [&] {
    asked = true;
    (void)wait_until([&] { return go_on.load(); });
  });
  std::thread caller([&] { EXPECT_EQ(pool.call("ask", arguments({"slow"})).error().code, Code::worker_lost); });
  EXPECT_TRUE(wait_until([&] { return asked.load(); }));
  for (const ProcessStats& process : pool.processes()) {
    if (process.worker >= 0) kill(process.pid, SIGKILL);
  }
  caller.join();
  go_on = true;
  EXPECT_EQ(*pool.call("ask", arguments({"double", 3}))->value(), Value(6));
  EXPECT_EQ(pool.stats().violations, 0u);
}

TEST(HostCallTest, process_for_one_call_is_refused) {
  Options chosen = options("asking.py");
  chosen.pool_enabled = false;
  Pool pool = start(chosen);
  pool.expose("double", [](std::int64_t n) { return 2 * n; });
  EXPECT_NE(said(pool.call("fails", arguments({"double", 1}))).find("cannot be called from a process for one call"), std::string::npos);
}

TEST(HostCallTest, pool_that_ends_waits_for_functions_that_run) {
  Pool pool = one_worker();
  std::atomic<bool> asked{false}, returned{false};
  pool.expose("slow", [&] {
    asked = true;
    returned = wait_until([&] {  // until the pool ends
      const Result<Reply> reply = pool.call("plain", {}, {.timeout = 1ms});
      return !reply && reply.error().code == Code::pool_stopped;
    });
  });
  ASSERT_TRUE(pool.submit("ask", arguments({"slow"}), [](Result<Reply>) {}));
  EXPECT_TRUE(wait_until([&] { return asked.load(); }));
  pool.drain(0ms);
  EXPECT_TRUE(returned);
}

}  // namespace
}  // namespace samovar::test
