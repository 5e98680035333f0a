// The four parts of an error (category, code, message, context) for each that a call may end in; and what is told of many at once.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

// What the table in core/EMBEDDING.md says of a code.
struct Expected {
  Category category;
  Code code;
  bool started;
  bool retryable;
  int attempts;
  int worker;
};

void expect_error(const Error& error, std::string_view method, const Expected& expected) {
  SCOPED_TRACE(error.to_string());
  EXPECT_EQ(error.category, expected.category);
  EXPECT_EQ(error.code, expected.code);
  EXPECT_FALSE(error.message.empty());
  EXPECT_EQ(error.context.method, method);
  EXPECT_EQ(error.context.started, expected.started);
  EXPECT_EQ(error.context.retryable, expected.retryable);
  EXPECT_EQ(error.context.attempts, expected.attempts);
  EXPECT_EQ(error.context.worker, expected.worker);
}

class ErrorsOfCalls : public testing::Test {
 protected:
  static Options with() {
    Options chosen = options();
    chosen.prefetch = 1;
    chosen.queue_limit = 1;
    chosen.request_arena_bytes = 128 << 10;
    chosen.response_arena_bytes = 64 << 10;
    chosen.breaker_failures = 1;
    chosen.breaker_delay = 1h;
    return chosen;
  }
  void expect(const Result<Reply>& reply, std::string_view method, const Expected& expected) {
    ASSERT_FALSE(reply);
    expect_error(reply.error(), method, expected);
  }
  Pool pool = start(with());
};

TEST_F(ErrorsOfCalls, that_were_refused_name_the_method_and_no_worker) {
  const std::vector<std::byte> large(256 << 10), some(100 << 10);
  expect(pool.call("prise"), "prise", {Category::request, Code::unknown_method, false, false, 0, -1});
  expect(pool.call("echo", value(Value(std::string("\xff")))), "echo", {Category::request, Code::invalid_payload, false, false, 0, -1});
  expect(pool.call("echo", bytes(large)), "echo", {Category::request, Code::payload_too_large, false, false, 0, -1});
  {
    auto loan = pool.loan(100 << 10);
    ASSERT_TRUE(loan);
    expect(pool.call("echo", bytes(some)), "echo", {Category::resource, Code::resource_exhausted, false, true, 0, -1});
  }
  Gate gate;
  ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {}));
  ASSERT_TRUE(gate.reached());
  ASSERT_TRUE(pool.submit("echo", {}, [](Result<Reply>) {}));
  expect(pool.call("echo"), "echo", {Category::resource, Code::queue_full, false, true, 0, -1});
  expect(pool.call("echo", {}, {.timeout = 10ms, .when_full = WhenFull::wait}), "echo",
         {Category::timeout, Code::deadline_exceeded, false, true, 0, -1});
  gate.open();
  ASSERT_TRUE(wait_until([&] { return pool.poll(), pool.stats().replied == 2; }));
  expect(pool.call("die", value(1)), "die", {Category::worker, Code::worker_lost, true, false, 1, 0});
  expect(pool.call("die", value(1)), "die", {Category::resource, Code::breaker_open, false, true, 0, -1});

  const auto typed = pool.method<void(int, int, int)>("die");
  ASSERT_NE(typed.error(), nullptr);
  expect_error(*typed.error(), "die", {Category::request, Code::invalid_payload, false, false, 0, -1});
  pool.drain(1s);
  expect(pool.call("echo"), "echo", {Category::shutdown, Code::pool_stopped, false, false, 0, -1});
}

TEST_F(ErrorsOfCalls, that_ran_name_the_worker_too) {
  expect(pool.call("fail", value("no")), "fail", {Category::application, Code::method_failed, true, false, 1, 0});
  expect(pool.call("result_of", value("object()")), "result_of", {Category::application, Code::invalid_result, true, false, 1, 0});
  expect(pool.call("zeros", value(65537)), "zeros", {Category::application, Code::result_too_large, true, false, 1, 0});
  expect(pool.call("echo", arguments({1, 2, 3})), "echo", {Category::application, Code::method_failed, true, false, 1, 0});
  EXPECT_NE(pool.call("fail", value("no")).error().context.incarnation, 0u);

  const Result<int> typed = pool.method<int(std::string)>("echo")("no number");
  ASSERT_FALSE(typed);
  EXPECT_EQ(typed.error().code, Code::invalid_result);
  EXPECT_EQ(typed.error().context.method, "echo");

  Gate first, second;
  expect(pool.call("wait_at", text(first.path()), {.timeout = 100ms}), "wait_at",
         {Category::timeout, Code::deadline_exceeded, true, false, 1, 0});
  first.open();
  std::stop_source stop;
  std::jthread stops([&] {
    EXPECT_TRUE(second.reached());
    stop.request_stop();
  });
  expect(pool.call("until_cancelled", text(second.path()), {.stop = stop.get_token()}), "until_cancelled",
         {Category::cancelled, Code::cancelled, true, false, 1, 0});
}

TEST(CallEvents, tell_of_deadlines_by_method_and_of_a_full_queue_once_for_many) {
  std::mutex mutex;
  std::uint64_t timed_out = 0, refused = 0, events = 0;
  Options chosen = options();
  chosen.prefetch = 1;
  chosen.queue_limit = 2;
  chosen.heartbeat_interval = 20ms;
  chosen.on_event = [&](const Event& event) {
    const std::lock_guard lock(mutex);
    if (event.kind == EventKind::calls_timed_out && event.method == "count") timed_out += event.count, ++events;
    if (event.kind == EventKind::queue_full) refused += event.count;
  };
  Pool pool = start(chosen);
  Gate gate;
  ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {}));
  ASSERT_TRUE(gate.reached());
  constexpr std::uint64_t kCalls = 50;
  for (std::uint64_t call = 0; call < kCalls; ++call) EXPECT_EQ(code_of(pool.call("count", {}, {.timeout = 1us})), Code::deadline_exceeded);
  for (int call = 0; call < 2; ++call) ASSERT_TRUE(pool.submit("echo", {}, [](Result<Reply>) {}));
  for (std::uint64_t call = 0; call < kCalls; ++call) EXPECT_EQ(code_of(pool.call("echo")), Code::queue_full);
  EXPECT_TRUE(wait_until([&] {
    const std::lock_guard lock(mutex);
    return timed_out == kCalls && refused == kCalls;
  }));
  const std::lock_guard lock(mutex);
  EXPECT_LT(events, kCalls) << "many by one";
  gate.open();
}

}  // namespace
}  // namespace samovar::test
