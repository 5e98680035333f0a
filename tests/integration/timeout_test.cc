// Deadlines, cancellation and the queue's limit.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kFewMilliseconds = 50ms;  // "at its deadline": a few ms, and what a busy test machine adds

std::chrono::milliseconds since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
}

// A pool of one worker in which a handler stands at a gate.
class Occupied : public testing::Test {
 protected:
  static Options with(Dispatcher dispatcher) {
    Options chosen = options();
    chosen.dispatcher = dispatcher;
    chosen.prefetch = 1;
    return chosen;
  }

  void occupy() {
    ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [this](Result<Reply> reply) { occupant = reply.has_value(); }));
    ASSERT_TRUE(gate.reached());
  }
  bool vacate() {
    gate.open();
    return wait_until([this] { return pool.poll(), occupant; });
  }

  std::int64_t counted() { return integer(pool.call("counted")); }

  Gate gate;
  Pool pool = start(with(Dispatcher::caller));
  bool occupant = false;
};

TEST_F(Occupied, a_call_that_expires_in_the_queue_never_reaches_python) {
  occupy();
  const auto begin = Clock::now();
  const auto expired = pool.call("count", {}, {.timeout = 30ms});
  const auto took = since(begin);

  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().code, Code::deadline_exceeded);
  EXPECT_EQ(expired.error().category, Category::timeout);
  EXPECT_FALSE(expired.error().context.started);
  EXPECT_TRUE(expired.error().context.retryable);
  EXPECT_GE(took, 29ms);
  EXPECT_LE(took, 30ms + kFewMilliseconds);
  ASSERT_TRUE(vacate());
  EXPECT_EQ(counted(), 0);
  EXPECT_EQ(pool.stats().timed_out, 1u);
}

TEST_F(Occupied, a_submitted_call_that_expires_in_the_queue_never_reaches_python) {
  occupy();
  std::atomic<bool> done = false;
  ASSERT_TRUE(pool.submit(
      "count", {},
      [&](Result<Reply> reply) {
        EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
        EXPECT_TRUE(reply.error().context.retryable);
        done = true;
      },
      {.timeout = 20ms}));
  const auto begin = Clock::now();
  ASSERT_TRUE(wait_until([&] { return pool.poll(), done.load(); }));
  EXPECT_LE(since(begin), 20ms + kFewMilliseconds);

  ASSERT_TRUE(vacate());
  EXPECT_EQ(counted(), 0);
}

TEST(Deadlines, a_call_that_expires_in_a_lane_never_reaches_python) {
  Options prefetching = options();
  prefetching.prefetch = 8;
  Pool pool = start(prefetching);
  Gate gate;
  int outcomes = 0;
  ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [&](Result<Reply>) { ++outcomes; }));
  ASSERT_TRUE(gate.reached());
  for (int call = 0; call < 5; ++call) {
    ASSERT_TRUE(pool.submit(
        "count", {},
        [&](Result<Reply> reply) {
          EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
          ++outcomes;
        },
        {.timeout = 20ms}));
  }
  EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 6; })) << "they lie in the lane";
  EXPECT_TRUE(wait_until([&] { return pool.poll(), outcomes == 5; }));
  gate.open();
  EXPECT_TRUE(wait_until([&] { return pool.poll(), outcomes == 6; }));

  EXPECT_EQ(integer(pool.call("counted")), 0);
  EXPECT_EQ(pool.stats().late_replies, 0u) << "what never ran has no late reply";
}

TEST(Deadlines, a_running_call_is_answered_at_its_deadline_and_its_late_reply_dropped) {
  Pool pool = start(options());
  Gate gate;
  const auto begin = Clock::now();
  const auto expired = pool.call("wait_at", text(gate.path()), {.timeout = 50ms});
  const auto took = since(begin);

  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().code, Code::deadline_exceeded);
  EXPECT_TRUE(expired.error().context.started);
  EXPECT_FALSE(expired.error().context.retryable);
  EXPECT_GE(took, 49ms);
  EXPECT_LE(took, 50ms + kFewMilliseconds);

  gate.open();
  EXPECT_EQ(text_of(pool.call("echo", text("mine"))), "mine") << "the late reply answered another call";
  EXPECT_EQ(pool.stats().late_replies, 1u);
  EXPECT_EQ(pool.stats().timed_out, 1u);
  EXPECT_EQ(pool.stats().workers_lost, 0u);
}

TEST(Deadlines, ctx_is_cancelled_when_the_deadline_has_passed) {
  Pool pool = start(options());
  Gate gate;
  ASSERT_FALSE(pool.call("until_cancelled", text(gate.path()), {.timeout = 50ms}));

  // Nothing else goes on in this pool: the host itself must tell the worker.
  const auto begin = Clock::now();
  EXPECT_EQ(value_of(pool.call("cancelled_last")), Value(true));
  EXPECT_LE(since(begin), 2000ms);
}

TEST(Deadlines, ctx_is_cancelled_for_a_handler_although_nobody_calls_meanwhile) {
  Pool pool = start(options());
  Gate gate;
  ASSERT_FALSE(pool.call("until_cancelled", text(gate.path()), {.timeout = 50ms}));

  EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 1; }));
  const auto begin = Clock::now();
  // The handler ends when it sees `cancelled`; then its worker sleeps, and the worker's own CPU clock stands still.
  EXPECT_EQ(value_of(pool.call("cancelled_last")), Value(true));
  EXPECT_LE(since(begin), 2000ms);
}

TEST(Deadlines, the_earlier_of_timeout_and_deadline_holds) {
  Pool pool = start(options());
  const auto begin = Clock::now();
  EXPECT_FALSE(pool.call("sleep", value(0.3), {.timeout = 10s, .deadline = begin + 30ms}));
  EXPECT_LE(since(begin), 30ms + kFewMilliseconds);
}

TEST(Deadlines, a_deadline_that_has_passed_is_an_error_and_python_is_left_alone) {
  Pool pool = start(options());

  for (const Duration timeout : {Duration(0), Duration(-1s), Duration(1ns)}) {
    const auto reply = pool.call("count", {}, {.timeout = timeout});
    ASSERT_FALSE(reply);
    EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
  }
  EXPECT_FALSE(pool.call("count", {}, {.deadline = Clock::now() - 1s}));
  EXPECT_EQ(integer(pool.call("counted")), 0);
  EXPECT_EQ(pool.stats().accepted, pool.stats().replied + pool.stats().failed);
}

TEST(Deadlines, the_pools_timeout_holds_for_calls_that_name_none) {
  Options impatient = options();
  impatient.timeout = 40ms;
  Pool pool = start(impatient);
  const auto begin = Clock::now();
  EXPECT_FALSE(pool.call("sleep", value(0.3)));
  EXPECT_LE(since(begin), 40ms + kFewMilliseconds);
}

TEST(Deadlines, many_threads_are_each_answered_at_their_own) {
  Pool pool = start(options());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&pool, i] {
      const auto begin = Clock::now();
      const auto timeout = 30ms + i * 10ms;
      EXPECT_FALSE(pool.call("sleep", value(0.6), {.timeout = timeout}));
      EXPECT_GE(since(begin), timeout - 1ms);
      EXPECT_LE(since(begin), timeout + kFewMilliseconds);
    });
  }
}

// --- cancellation -----------------------------------------------------------------------------------------------------------

TEST_F(Occupied, a_call_whose_stop_was_requested_before_never_runs) {
  std::stop_source stop;
  stop.request_stop();
  const auto reply = pool.call("count", {}, {.stop = stop.get_token()});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::cancelled);
  EXPECT_EQ(reply.error().category, Category::cancelled);
  EXPECT_EQ(counted(), 0);
}

TEST_F(Occupied, a_queued_call_is_cancelled_and_never_runs) {
  occupy();
  std::stop_source stop;
  std::jthread stopper([&] {
    EXPECT_TRUE(wait_until([&] { return pool.stats().accepted == 2; }));
    stop.request_stop();
  });
  const auto reply = pool.call("count", {}, {.stop = stop.get_token()});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::cancelled);
  ASSERT_TRUE(vacate());
  EXPECT_EQ(counted(), 0);
  EXPECT_EQ(pool.stats().cancelled, 1u);
}

TEST_F(Occupied, a_submitted_queued_call_is_cancelled_and_never_runs) {
  occupy();
  std::stop_source stop;
  bool done = false;
  ASSERT_TRUE(pool.submit(
      "count", {},
      [&](Result<Reply> reply) {
        EXPECT_EQ(code_of(reply), Code::cancelled);
        done = true;
      },
      {.stop = stop.get_token()}));
  EXPECT_EQ(pool.poll(), 0u);
  stop.request_stop();
  EXPECT_FALSE(done) << "callbacks run inside poll() only";
  EXPECT_TRUE(wait_until([&] { return pool.poll(), done; }));

  ASSERT_TRUE(vacate());
  EXPECT_EQ(counted(), 0);
}

TEST(Cancellation, a_running_call_ends_at_once_and_its_handler_is_told) {
  Pool pool = start(options());
  Gate gate;
  std::stop_source stop;
  std::jthread stopper([&] {
    EXPECT_TRUE(gate.reached());
    stop.request_stop();
  });
  const auto reply = pool.call("until_cancelled", text(gate.path()), {.stop = stop.get_token()});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::cancelled);
  EXPECT_EQ(value_of(pool.call("cancelled_last")), Value(true));
  EXPECT_EQ(pool.stats().late_replies, 1u);
}

TEST(Cancellation, after_the_reply_changes_nothing) {
  Pool pool = start(options());
  std::stop_source stop;
  const auto reply = pool.call("echo", text("kept"), {.stop = stop.get_token()});
  stop.request_stop();
  EXPECT_EQ(text_of(reply), "kept");
  EXPECT_EQ(pool.stats().cancelled, 0u);
}

TEST(Cancellation, races_with_replies_and_each_call_has_one_outcome) {
  Pool pool = start(options());
  int replied = 0, cancelled = 0;
  for (int call = 0; call < 300; ++call) {
    std::stop_source stop;
    std::jthread stopper([&] { stop.request_stop(); });
    const auto reply = pool.call("echo", value(call), {.stop = stop.get_token()});
    if (reply) {
      ASSERT_EQ(integer(reply), call);
      ++replied;
    } else {
      ASSERT_EQ(reply.error().code, Code::cancelled);
      ++cancelled;
    }
  }
  const Stats stats = pool.stats();
  EXPECT_EQ(stats.replied, static_cast<std::uint64_t>(replied));
  EXPECT_EQ(stats.cancelled, static_cast<std::uint64_t>(cancelled));
}

// --- the queue's limit ------------------------------------------------------------------------------------------------------

class Full : public testing::Test {
 protected:
  static Options small() {
    Options chosen = options();
    chosen.queue_limit = 3;
    chosen.prefetch = 1;
    return chosen;
  }
  void SetUp() override {
    ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [this](Result<Reply>) { ++outcomes; }));
    ASSERT_TRUE(gate.reached());
    for (int call = 0; call < 3; ++call) {
      ASSERT_TRUE(pool.submit("count", {}, [this](Result<Reply> reply) {
        EXPECT_TRUE(reply);
        ++outcomes;
      }));
    }
  }
  void TearDown() override {
    gate.open();
    EXPECT_TRUE(wait_until([this] { return pool.poll(), outcomes == 4; }));
  }

  Gate gate;
  int outcomes = 0;
  Pool pool = start(small());
};

TEST_F(Full, a_full_queue_is_an_answer) {
  const auto call = pool.call("count");
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().code, Code::queue_full);
  EXPECT_EQ(call.error().category, Category::resource);
  EXPECT_TRUE(call.error().context.retryable);
  EXPECT_NE(call.error().message.find("queue_limit"), std::string::npos) << call.error().message;

  const auto submit = pool.submit("count", {}, [](Result<Reply>) { FAIL() << "not accepted, so without an outcome"; });
  ASSERT_FALSE(submit);
  EXPECT_EQ(submit.error().code, Code::queue_full);
  EXPECT_EQ(pool.stats().rejected, 2u);
  EXPECT_EQ(pool.stats().queued, 3u);
}

TEST_F(Full, when_full_wait_waits_for_a_place) {
  std::jthread opener([this] {
    EXPECT_TRUE(wait_until([this] { return pool.stats().queued == 3; }));
    gate.open();
  });
  const auto reply = pool.call("count", {}, {.when_full = WhenFull::wait});

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(integer(reply), 4);
}

TEST_F(Full, when_full_wait_ends_at_the_deadline) {
  const auto begin = Clock::now();
  const auto reply = pool.call("count", {}, {.timeout = 30ms, .when_full = WhenFull::wait});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
  EXPECT_GE(since(begin), 29ms);
  EXPECT_LE(since(begin), 30ms + kFewMilliseconds);
}

TEST_F(Full, when_full_wait_ends_when_stop_is_requested) {
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  const auto reply = pool.call("count", {}, {.stop = stop.get_token(), .when_full = WhenFull::wait});

  ASSERT_FALSE(reply);
  EXPECT_EQ(code_of(reply), Code::cancelled);
}

TEST_F(Full, cancelled_calls_make_room) {
  gate.open();
  EXPECT_TRUE(wait_until([this] { return pool.poll(), outcomes == 4; }));
  EXPECT_TRUE(pool.call("count"));
}

}  // namespace
}  // namespace samovar::test
