// The dispatcher with workers that are threads: one situation per test.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fleet_checks.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

Payload payload_of(const std::vector<std::byte>& data) { return bytes(data); }

// A slot for one outcome of a submitted call.
struct Outcome {
  std::mutex mutex;
  int times = 0;
  std::optional<Result<Reply>> result;

  Callback callback() {
    return [this](Result<Reply> got) {
      std::lock_guard lock(mutex);
      ++times;
      result.emplace(std::move(got));
    };
  }
  bool arrived() {
    std::lock_guard lock(mutex);
    return times > 0;
  }
};

// A thread in call(), held by its worker.
class HeldCall {
 public:
  HeldCall(Fleet& fleet, std::size_t size, CallOptions options = {}, std::uint64_t number = 0)
      : payload_(Sample::make(number, size)), thread_([this, &fleet, options] {
          result_.emplace(fleet->call("hold", payload_of(payload_), options));
          done_.store(true);
        }) {}
  ~HeldCall() {
    if (thread_.joinable()) thread_.join();
  }
  Result<Reply>& result() {
    if (thread_.joinable()) thread_.join();
    return *result_;
  }
  bool done() const { return done_.load(); }
  const std::vector<std::byte>& payload() const { return payload_; }

 private:
  std::vector<std::byte> payload_;
  std::optional<Result<Reply>> result_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class EachMode : public testing::TestWithParam<Dispatcher> {};
INSTANTIATE_TEST_SUITE_P(Modes, EachMode, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

// --- payloads in arenas ---------------------------------------------------------------------------------------------------

TEST_P(EachMode, large_payloads_come_back_whole_and_all_blocks_with_them) {
  Fleet fleet(fleet_options(2, GetParam()));
  for (std::size_t size : {4097u, 5000u, 65536u, 1'000'001u}) {
    const auto payload = Sample::make(size, size);
    const auto inverted = fleet->call("echo", payload_of(payload), {});
    ASSERT_TRUE(inverted) << inverted.error().to_string();
    EXPECT_TRUE(Sample::is_reply_to(inverted->data(), payload)) << size;
    const auto same = fleet->call("same", payload_of(payload), {});
    ASSERT_TRUE(same) << same.error().to_string();
    EXPECT_TRUE(std::ranges::equal(same->data(), payload)) << size;
    EXPECT_TRUE(fleet->call("keep", payload_of(payload), {}));
  }
  EXPECT_GT(fleet.arena().bytes_in_use(), 0u) << "the last payload is viewed on";
  expect_settled(fleet);
  EXPECT_TRUE(wait_until([&] { return fleet.arena().bytes_in_use() == 0; }));
}

TEST_P(EachMode, a_loan_is_sent_as_it_lies) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(1, 50'000);
  Loan loan = fleet.loan(payload.size());
  const std::byte* const where = loan.data();
  std::ranges::copy(payload, loan.data());
  const auto reply = fleet->call("same", std::move(loan), {});
  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->data().data(), where);
  expect_settled(fleet);
}

TEST_P(EachMode, waiting_for_a_block_ends_when_a_view_dies) {
  Fleet fleet(fleet_options(1, GetParam()));
  const std::size_t most = fleet.arena().bytes_total() - 16 * 4096;
  ASSERT_TRUE(fleet->call("keep", payload_of(Sample::make(1, most)), {}));
  EXPECT_FALSE(fleet->loan(most, 0));
  std::thread forgets([&] { (void)fleet->call("keep", {}, {}); });
  EXPECT_TRUE(fleet->loan(most, ipc::in(20'000'000'000)));
  forgets.join();
  expect_settled(fleet);
}

TEST(ThreadDispatch, a_worker_that_waits_for_a_block_is_woken_by_the_reply_that_is_dropped) {
  Fleet fleet(fleet_options(1, Dispatcher::caller));
  const std::size_t most = fleet.arena().bytes_total() - 16 * 4096;
  const auto payload = Sample::make(1, most);
  for (int round = 0; round < 20; ++round) {
    auto held = std::make_optional(fleet->call("echo", payload_of(payload), {}));
    ASSERT_TRUE(*held) << (*held).error().to_string();
    std::thread drops([&] { held.reset(); });
    const auto second = fleet->call("echo", payload_of(payload), {});
    EXPECT_TRUE(second && Sample::is_reply_to(second->data(), payload));
    drops.join();
  }
  expect_settled(fleet);
}

// --- calls ------------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, every_payload_size_comes_back_whole) {
  Fleet fleet(fleet_options(1, GetParam()));
  for (std::size_t size : {12u, 13u, 55u, 56u, 57u, 63u, 64u, 65u, 127u, 128u, 144u, 145u, 1000u, 4095u, 4096u}) {
    const auto payload = Sample::make(size, size);
    const auto reply = fleet->call("echo", payload_of(payload), {});
    ASSERT_TRUE(reply) << reply.error().to_string();
    EXPECT_TRUE(Sample::is_reply_to(reply->data(), payload)) << size;
  }
  expect_settled(fleet);
}

TEST_P(EachMode, a_failing_method_fails_its_call_alone) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto failed = fleet->call("fail", {}, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::method_failed);
  EXPECT_EQ(failed.error().message, "ValueError: no luck");
  EXPECT_EQ(failed.error().context.traceback, "Traceback: here");
  EXPECT_EQ(failed.error().context.worker, 0);
  EXPECT_EQ(failed.error().context.attempts, 1);
  EXPECT_TRUE(fleet->call("echo", payload_of(Sample::make(1, 20)), {}));
  expect_settled(fleet);
}

TEST_P(EachMode, a_call_after_a_long_pause_finds_a_sleeping_worker_awake) {
  auto options = fleet_options(1, GetParam());
  options.spin_max = 0ns;  // both sides sleep at once: every call goes through both doorbells
  Fleet fleet(options);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto payload = Sample::make(i, 40);
    const auto reply = fleet->call("echo", payload_of(payload), {.timeout = 10s});
    ASSERT_TRUE(reply) << i << ": " << reply.error().to_string();
    ASSERT_TRUE(Sample::is_reply_to(reply->data(), payload));
  }
  expect_settled(fleet);
}

TEST_P(EachMode, timed_calls_tell_their_time_and_others_none) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto timed = fleet->call("sleep", payload_of(Sample::make(1, 20, 2000)), {.timed = true});
  ASSERT_TRUE(timed);
  EXPECT_GE(timed->service_time(), 2ms);
  for (int i = 0; i < 40; ++i) {  // some of these are sampled by the host for itself
    const auto plain = fleet->call("echo", payload_of(Sample::make(2, 20)), {});
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->service_time(), 0ns);
  }
}

TEST_P(EachMode, a_callback_runs_inside_poll_once) {
  Fleet fleet(fleet_options(1, GetParam()));
  Outcome outcome;
  const auto payload = Sample::make(7, 99);
  std::thread::id ran_in;
  ASSERT_TRUE(fleet->submit("echo", payload_of(payload), [&](Result<Reply> got) {
    ran_in = std::this_thread::get_id();
    outcome.callback()(std::move(got));
  }, {}));
  ASSERT_TRUE(wait_until([&] { return fleet.counters().replied.get() == 1; }));  // by the backstop
  EXPECT_FALSE(outcome.arrived());
  ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
  EXPECT_EQ(ran_in, std::this_thread::get_id());
  fleet->poll();
  EXPECT_EQ(outcome.times, 1);
  ASSERT_TRUE(*outcome.result);
  EXPECT_TRUE(Sample::is_reply_to((*outcome.result)->data(), payload));
  expect_settled(fleet);
}

TEST_P(EachMode, submit_copies_its_payload) {
  Fleet fleet(fleet_options(1, GetParam()));
  Outcome outcome;
  const auto payload = Sample::make(3, 3000);
  auto transient = payload;
  ASSERT_TRUE(fleet->submit("echo", payload_of(transient), outcome.callback(), {}));
  std::fill(transient.begin(), transient.end(), std::byte{0});
  ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
  EXPECT_TRUE(Sample::is_reply_to((*outcome.result)->data(), payload));
}

TEST_P(EachMode, unknown_method_and_too_large_payload_are_refused_before_they_count) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto unknown = fleet->call("ecco", {}, {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::unknown_method);
  EXPECT_NE(unknown.error().message.find("\"echo\""), std::string::npos);
  const auto large = fleet->call("echo", payload_of(Sample::make(1, fleet.arena().bytes_total() + 1)), {});
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, Code::payload_too_large);
  EXPECT_EQ(fleet->accepted(), 0u);
  EXPECT_EQ(fleet.counters().rejected.get(), 2u);
}

// Its call is done the moment it enters, by the very thread that holds the token then.
TEST_P(EachMode, a_method_that_the_worker_lacks_fails_its_call_and_blocks_nobody) {
  Fleet::Plan plan;
  plan.numbers = {1, 2, 0, 4, 5, 6};
  Fleet fleet(fleet_options(1, GetParam()), plan);
  for (int round = 0; round < 3; ++round) {
    const auto lacking = fleet->call("fail", {}, {.timeout = 5s});
    ASSERT_FALSE(lacking);
    EXPECT_EQ(lacking.error().code, Code::unknown_method) << lacking.error().to_string();
    Outcome outcome;
    ASSERT_TRUE(fleet->submit("fail", {}, outcome.callback(), {.timeout = 5s}));
    ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
    EXPECT_EQ(outcome.result->error().code, Code::unknown_method);
    std::optional<Result<Reply>> other;
    std::thread caller([&] { other.emplace(fleet->call("echo", payload_of(Sample::make(1, 20)), {.timeout = 5s})); });
    caller.join();
    EXPECT_TRUE(*other);
  }
  expect_settled(fleet);
}

TEST(ThreadDispatch, a_reply_outlives_the_dispatcher) {
  std::optional<Reply> reply;
  const auto payload = Sample::make(1, 500);
  {
    Fleet fleet(fleet_options(1, Dispatcher::caller));
    reply.emplace(std::move(*fleet->call("echo", payload_of(payload), {})));
  }
  EXPECT_TRUE(Sample::is_reply_to(reply->data(), payload));
}

TEST(ThreadDispatch, the_destructor_runs_callbacks_that_nobody_polled_for) {
  Outcome outcome;
  {
    Fleet fleet(fleet_options(1, Dispatcher::manual));
    ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcome.callback(), {}));
  }
  EXPECT_EQ(outcome.times, 1);
}

TEST(ThreadDispatch, submit_alone_makes_progress_by_the_backstop) {
  for (Dispatcher mode : {Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}) {
    Fleet fleet(fleet_options(1, mode));
    Outcome outcome;
    ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcome.callback(), {}));
    EXPECT_TRUE(wait_until([&] { return fleet.counters().replied.get() == 1; })) << to_string(mode);
    EXPECT_FALSE(outcome.arrived());
    EXPECT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
  }
}

// --- deadlines ----------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, a_running_call_is_answered_at_its_deadline_and_its_late_reply_is_dropped) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto begin = std::chrono::steady_clock::now();
  const auto late = fleet->call("sleep", payload_of(Sample::make(1, 20, 300'000)), {.timeout = 50ms});
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
  EXPECT_TRUE(late.error().context.started);
  EXPECT_GE(took, 50ms);
  EXPECT_LT(took, 300ms);
  const auto payload = Sample::make(2, 20);
  const auto next = fleet->call("echo", payload_of(payload), {});
  ASSERT_TRUE(next);
  EXPECT_TRUE(Sample::is_reply_to(next->data(), payload));
  EXPECT_EQ(fleet.counters().late_replies.get(), 1u);
  expect_settled(fleet);
}

TEST_P(EachMode, an_expired_call_never_reaches_its_handler) {
  std::atomic<int> ran{0};
  Fleet::Plan plan;
  plan.on_run = [&](std::uint64_t, std::span<const std::byte>) { ran.fetch_add(1); };
  auto options = fleet_options(1, GetParam());
  options.prefetch = 4;
  Fleet fleet(options, plan);
  HeldCall held(fleet, 20);
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  const auto waiting = fleet->call("echo", payload_of(Sample::make(1, 20)), {.timeout = 20ms});
  ASSERT_FALSE(waiting);
  EXPECT_EQ(waiting.error().code, Code::deadline_exceeded);
  fleet.release(0);
  ASSERT_TRUE(held.result());
  ASSERT_TRUE(fleet->call("echo", payload_of(Sample::make(2, 20)), {}));
  EXPECT_EQ(ran.load(), 2);
  expect_settled(fleet);
}

TEST_P(EachMode, a_submitted_call_expires_while_nobody_polls) {
  Fleet fleet(fleet_options(1, GetParam()));
  Outcome outcome;
  ASSERT_TRUE(fleet->submit("hold", payload_of(Sample::make(1, 20)), outcome.callback(), {.timeout = 30ms}));
  EXPECT_TRUE(wait_until([&] { return fleet.counters().timed_out_by_dispatcher.get() == 1; }));
  ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
  EXPECT_EQ(outcome.result->error().code, Code::deadline_exceeded);
  fleet.release(0);
  expect_settled(fleet);
}

// The sentinel sleeps until the deadline of its own call, which it knew before the other was submitted.
TEST_P(EachMode, a_submitted_call_is_sent_and_expires_while_a_caller_sleeps) {
  auto options = fleet_options(2, GetParam());
  options.spin_max = 0ns;
  Fleet fleet(options);
  HeldCall sleeper(fleet, 20);
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) + fleet.holding(1) == 1; }));
  std::this_thread::sleep_for(20ms);  // not to synchronise: so that it has most probably gone to sleep
  Outcome sent, expired;
  ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), sent.callback(), {}));
  EXPECT_TRUE(wait_until([&] { return fleet.counters().replied.get() == 1; }, 5s));
  ASSERT_TRUE(fleet->submit("hold", payload_of(Sample::make(2, 20)), expired.callback(), {.timeout = 30ms}));
  EXPECT_TRUE(wait_until([&] { return fleet.counters().timed_out_by_dispatcher.get() == 1; }, 5s));
  fleet.release(0);
  fleet.release(1);
  EXPECT_TRUE(sleeper.result());
  ASSERT_TRUE(poll_until(fleet, [&] { return sent.arrived() && expired.arrived(); }));
  expect_settled(fleet);
}

TEST_P(EachMode, calls_that_timed_out_leave_the_queue_although_no_worker_is_free) {
  auto options = fleet_options(1, GetParam());
  options.queue_limit = 4;
  options.prefetch = 1;
  Fleet fleet(options);
  HeldCall held(fleet, 20);
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> callers;
    std::atomic<int> timed_out{0};
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] {
        const auto reply = fleet->call("echo", payload_of(Sample::make(1, 20)), {.timeout = 20ms});
        if (!reply && reply.error().code == Code::deadline_exceeded) timed_out.fetch_add(1);
      });
    }
    for (auto& caller : callers) caller.join();
    EXPECT_EQ(timed_out.load(), 4) << "round " << round;
    EXPECT_TRUE(wait_until([&] { return fleet->queued() == 0; }, 5s)) << "round " << round;
  }
  fleet.release(0);
  EXPECT_TRUE(held.result());
  expect_settled(fleet);
}

// --- cancellation -------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, a_stop_token_ends_a_running_and_a_waiting_call_at_once) {
  auto options = fleet_options(1, GetParam());
  options.prefetch = 1;
  Fleet fleet(options);
  std::stop_source stop;
  HeldCall running(fleet, 20, {.stop = stop.get_token()});
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  HeldCall waiting(fleet, 20, {.stop = stop.get_token()});
  ASSERT_TRUE(wait_until([&] { return fleet->accepted() == 2; }));
  stop.request_stop();
  for (HeldCall* call : {&running, &waiting}) {
    ASSERT_FALSE(call->result());
    EXPECT_EQ(call->result().error().code, Code::cancelled);
  }
  // The handler is told (revoked) and ends; the worker is free again.
  EXPECT_TRUE(fleet->call("echo", payload_of(Sample::make(1, 20)), {.timeout = 10s}));
  EXPECT_EQ(fleet.counters().cancelled.get(), 2u);
  expect_settled(fleet);
}

TEST_P(EachMode, a_call_whose_stop_was_requested_before_ends_cancelled) {
  Fleet fleet(fleet_options(1, GetParam()));
  std::stop_source stop;
  stop.request_stop();
  const auto call = fleet->call("echo", payload_of(Sample::make(1, 20)), {.stop = stop.get_token()});
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().code, Code::cancelled);
  Outcome outcome;
  ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcome.callback(), {.stop = stop.get_token()}));
  ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
  EXPECT_EQ(outcome.result->error().code, Code::cancelled);
  expect_settled(fleet);
}

// Found by the tests of breakers: its place was taken until somebody ran a turn, and where the queue was full of such calls nobody did.
TEST_P(EachMode, calls_that_were_cancelled_before_leave_the_queue_at_once) {
  auto options = fleet_options(1, GetParam());
  options.queue_limit = 1;
  Fleet fleet(options);
  std::stop_source stop;
  stop.request_stop();
  for (int i = 0; i < 10; ++i) {
    const auto cancelled = fleet->call("echo", payload_of(Sample::make(1, 20)), {.stop = stop.get_token()});
    ASSERT_FALSE(cancelled);
    ASSERT_EQ(cancelled.error().code, Code::cancelled);
    ASSERT_TRUE(wait_until([&] { return fleet->queued() == 0; })) << "a pinned dispatcher sweeps in its own time";
  }
  EXPECT_TRUE(fleet->call("echo", payload_of(Sample::make(1, 20)), {}));
  expect_settled(fleet);
}

TEST_P(EachMode, stopping_while_calls_finish_gives_each_one_outcome) {
  Fleet fleet(fleet_options(2, GetParam()));
  int cancelled = 0;
  for (int round = 0; round < 200; ++round) {
    std::stop_source stop;
    Outcome outcome;
    ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcome.callback(), {.stop = stop.get_token()}));
    std::thread stopper([&] { stop.request_stop(); });
    ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
    stopper.join();
    fleet->poll();
    EXPECT_EQ(outcome.times, 1);
    if (!*outcome.result) {
      EXPECT_EQ(outcome.result->error().code, Code::cancelled);
      ++cancelled;
    }
  }
  expect_settled(fleet);
  EXPECT_EQ(fleet.counters().cancelled.get(), static_cast<std::uint64_t>(cancelled));
}

// --- a full queue ------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, a_full_queue_is_an_answer) {
  auto options = fleet_options(1, GetParam());
  options.queue_limit = 2;
  options.prefetch = 1;
  Fleet fleet(options);
  Outcome outcomes[4];
  ASSERT_TRUE(fleet->submit("hold", payload_of(Sample::make(0, 20)), outcomes[0].callback(), {}));
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcomes[1].callback(), {}));
  ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(2, 20)), outcomes[2].callback(), {}));
  const auto full = fleet->submit("echo", payload_of(Sample::make(3, 20)), outcomes[3].callback(), {});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::queue_full);
  EXPECT_TRUE(full.error().context.retryable);
  fleet.release(0);
  ASSERT_TRUE(poll_until(fleet, [&] { return outcomes[0].arrived() && outcomes[1].arrived() && outcomes[2].arrived(); }));
  EXPECT_EQ(outcomes[3].times, 0);
  expect_settled(fleet);
}

TEST_P(EachMode, when_full_wait_waits_for_a_place_or_the_deadline) {
  auto options = fleet_options(1, GetParam());
  options.queue_limit = 1;
  options.prefetch = 1;
  Fleet fleet(options);
  HeldCall held(fleet, 20);
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  Outcome queued;
  ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), queued.callback(), {}));
  const auto late = fleet->call("echo", payload_of(Sample::make(2, 20)), {.timeout = 30ms, .when_full = WhenFull::wait});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
  std::thread releaser([&] { fleet.release(0); });
  EXPECT_TRUE(fleet->call("echo", payload_of(Sample::make(3, 20)), {.when_full = WhenFull::wait}));
  releaser.join();
  EXPECT_TRUE(held.result());
  ASSERT_TRUE(poll_until(fleet, [&] { return queued.arrived(); }));
  expect_settled(fleet);
}

// --- deaths -------------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, a_dead_worker_loses_its_running_call_and_the_others_run_elsewhere_in_order) {
  std::mutex mutex;
  std::vector<std::uint64_t> ran;
  Fleet::Plan plan;
  plan.on_run = [&](std::uint64_t, std::span<const std::byte> payload) {
    std::lock_guard lock(mutex);
    ran.push_back(Sample::number(payload));
  };
  auto options = fleet_options(1, GetParam());
  options.prefetch = 8;
  Fleet fleet(options, plan);
  constexpr std::size_t kCalls = 12;  // 8 in the lane, 4 in the queue
  Outcome outcomes[kCalls];
  for (std::size_t i = 0; i < kCalls; ++i) {
    ASSERT_TRUE(fleet->submit(i == 0 ? "hold" : "echo", payload_of(Sample::make(i, 30)), outcomes[i].callback(), {}));
  }
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1 && fleet.counters().in_flight_sent.get() == 8; }));
  fleet.kill(0);
  ASSERT_TRUE(poll_until(fleet, [&] { return std::all_of(outcomes, outcomes + kCalls, [](Outcome& o) { return o.arrived(); }); }));
  ASSERT_FALSE(*outcomes[0].result);
  const Error& lost = outcomes[0].result->error();
  EXPECT_EQ(lost.code, Code::worker_lost);
  EXPECT_EQ(lost.message, "thread worker 0 died while it ran \"hold\"");
  EXPECT_TRUE(lost.context.started);
  EXPECT_FALSE(lost.context.retryable);
  EXPECT_EQ(lost.context.incarnation, 1u);
  EXPECT_EQ(lost.context.output, "last words");
  for (std::size_t i = 1; i < kCalls; ++i) {
    ASSERT_TRUE(*outcomes[i].result) << i << ": " << outcomes[i].result->error().to_string();
  }
  std::vector<std::uint64_t> expected(kCalls);
  for (std::size_t i = 0; i < kCalls; ++i) expected[i] = i;
  EXPECT_EQ(ran, expected);
  EXPECT_EQ(fleet.counters().requeued.get(), 7u);
  expect_settled(fleet);
}

struct DeathCase {
  Point point;
  const char* name;
  bool replied;  // the call of that moment: its reply came through
  bool runs_again;
};

class EachDeath : public testing::TestWithParam<DeathCase> {};
INSTANTIATE_TEST_SUITE_P(Points, EachDeath,
                         testing::Values(DeathCase{Point::before_start, "before_start", true, true},
                                         DeathCase{Point::after_start, "after_start", false, false},
                                         DeathCase{Point::in_handler, "in_handler", false, false},
                                         DeathCase{Point::after_consume, "after_consume", false, false},
                                         DeathCase{Point::after_response, "after_response", true, false}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EachDeath, loses_exactly_the_call_that_had_begun) {
  for (Dispatcher mode : {Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}) {
    for (std::uint64_t at : {0u, 1u, 3u}) {
      Fleet::Plan plan;
      plan.fate = [&](int, std::uint64_t incarnation) { return incarnation == 1 ? Fate{GetParam().point, at} : Fate{}; };
      auto options = fleet_options(1, mode);
      options.prefetch = 4;
      Fleet fleet(options, plan);
      constexpr std::size_t kCalls = 6;
      Outcome outcomes[kCalls];
      for (std::size_t i = 0; i < kCalls; ++i) {
        ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(i, 100)), outcomes[i].callback(), {}));
      }
      ASSERT_TRUE(poll_until(fleet, [&] { return std::all_of(outcomes, outcomes + kCalls, [](Outcome& o) { return o.arrived(); }); }));
      for (std::size_t i = 0; i < kCalls; ++i) {
        SCOPED_TRACE(std::string(to_string(mode)) + ", death at " + std::to_string(at) + ", call " + std::to_string(i));
        EXPECT_EQ(outcomes[i].times, 1);
        const bool lost = i == at && !GetParam().replied;
        ASSERT_EQ(static_cast<bool>(*outcomes[i].result), !lost)
            << (*outcomes[i].result ? "a reply" : outcomes[i].result->error().to_string());
        if (lost) {
          EXPECT_EQ(outcomes[i].result->error().code, Code::worker_lost);
        } else {
          EXPECT_TRUE(Sample::is_reply_to((*outcomes[i].result)->data(), Sample::make(i, 100)));
        }
      }
      expect_settled(fleet);
    }
  }
}

TEST_P(EachMode, an_idempotent_call_is_tried_again_and_max_attempts_ends_it) {
  Fleet::Plan plan;
  std::atomic<int> ran{0};
  plan.fate = [](int, std::uint64_t) { return Fate{Point::in_handler, 0}; };
  plan.on_run = [&](std::uint64_t, std::span<const std::byte>) { ran.fetch_add(1); };
  auto options = fleet_options(1, GetParam());
  options.max_attempts = 4;
  options.requeue_limit = 0;  // of calls that had not begun
  Fleet fleet(options, plan);
  const auto lost = fleet->call("echo", payload_of(Sample::make(1, 20)), {.idempotent = true});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Code::worker_lost);
  EXPECT_EQ(lost.error().context.attempts, 4);
  EXPECT_EQ(ran.load(), 4);
  EXPECT_EQ(fleet.counters().requeued.get(), 3u);
  expect_settled(fleet);
}

TEST_P(EachMode, a_call_that_never_began_is_lost_after_requeue_limit_deaths) {
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t) { return Fate{Point::before_start, 0}; };
  auto options = fleet_options(1, GetParam());
  options.requeue_limit = 2;
  Fleet fleet(options, plan);
  const auto lost = fleet->call("echo", payload_of(Sample::make(1, 20)), {});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Code::worker_lost);
  EXPECT_FALSE(lost.error().context.started);
  EXPECT_TRUE(lost.error().context.retryable);
  EXPECT_EQ(fleet.counters().requeued.get(), 2u);
  expect_settled(fleet);
}

TEST_P(EachMode, calls_wait_for_a_worker_that_is_being_replaced) {
  Fleet fleet(fleet_options(1, GetParam()));
  for (int round = 0; round < 10; ++round) {
    fleet.kill(0);
    const auto payload = Sample::make(static_cast<std::uint64_t>(round), 64);
    const auto reply = fleet->call("echo", payload_of(payload), {.timeout = 10s});
    ASSERT_TRUE(reply) << reply.error().to_string();
    EXPECT_TRUE(Sample::is_reply_to(reply->data(), payload));
  }
  expect_settled(fleet);
}

// --- calls taken back -----------------------------------------------------------------------------------------------------

TEST_P(EachMode, calls_behind_a_stuck_one_are_taken_back_for_an_idle_worker) {
  auto options = fleet_options(2, GetParam());
  options.prefetch = 4;
  std::mutex mutex;
  std::vector<std::uint64_t> ran;
  Fleet::Plan plan;
  plan.on_run = [&](std::uint64_t, std::span<const std::byte> payload) {
    std::lock_guard lock(mutex);
    ran.push_back(Sample::number(payload));
  };
  Fleet fleet(options, plan);
  // Both workers hold one; then six more lie ready behind them, three each.
  Outcome held[2], behind[6];
  for (auto& outcome : held) ASSERT_TRUE(fleet->submit("hold", payload_of(Sample::make(100, 20)), outcome.callback(), {}));
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 1 && fleet.holding(1) == 1; }));
  for (std::size_t i = 0; i < 6; ++i) {
    ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(i, 20)), behind[i].callback(), {}));
  }
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.counters().in_flight_sent.get() == 8; }));
  fleet.release(1);  // worker 0 stays stuck
  ASSERT_TRUE(poll_until(fleet, [&] { return std::all_of(behind, behind + 6, [](Outcome& o) { return o.arrived(); }); }))
      << "taken back: " << fleet.counters().taken_back.get();
  for (auto& outcome : behind) EXPECT_TRUE(*outcome.result);
  EXPECT_GE(fleet.counters().taken_back.get(), 3u);
  EXPECT_FALSE(held[0].arrived() && held[1].arrived());
  fleet.release(0);
  ASSERT_TRUE(poll_until(fleet, [&] { return held[0].arrived() && held[1].arrived(); }));
  expect_settled(fleet);
  std::sort(ran.begin(), ran.end());
  EXPECT_EQ(ran, (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 100, 100}));  // each ran once
}

// --- workers that lie -----------------------------------------------------------------------------------------------------

class EachLie : public testing::TestWithParam<LieCase> {};
INSTANTIATE_TEST_SUITE_P(Lies, EachLie,
                         testing::Values(LieCase{Lie::wrong_call_id, "wrong_call_id"}, LieCase{Lie::skips_unasked, "skips_unasked"},
                                         LieCase{Lie::garbage_response, "garbage_response"},
                                         LieCase{Lie::garbage_commit, "garbage_commit"},
                                         LieCase{Lie::block_outside, "block_outside"},
                                         LieCase{Lie::block_off_page, "block_off_page"}, LieCase{Lie::no_block, "no_block"},
                                         LieCase{Lie::not_its_argument, "not_its_argument"},
                                         LieCase{Lie::keeps_no_argument, "keeps_no_argument"},
                                         LieCase{Lie::unknown_flags, "unknown_flags"},
                                         LieCase{Lie::packed_for_another, "packed_for_another"}, LieCase{Lie::packed_too_many, "packed_too_many"},
                                         LieCase{Lie::packed_cut, "packed_cut"}, LieCase{Lie::packed_empty, "packed_empty"},
                                         LieCase{Lie::packed_with_flags, "packed_with_flags"}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EachLie, costs_the_worker_its_life_and_one_call_its_reply) {
  for (Dispatcher mode : {Dispatcher::caller, Dispatcher::pinned}) {
    Fleet::Plan plan;
    plan.lie = [&](int, std::uint64_t incarnation) { return incarnation == 1 ? GetParam().lie : Lie::none; };
    Fleet fleet(fleet_options(1, mode), plan);
    const auto first = fleet->call("echo", payload_of(Sample::make(1, 20)), {.timeout = 20s});
    // With a broken commit word after a right response, or one too many, the reply itself may still have been right.
    if ((GetParam().lie != Lie::garbage_commit && GetParam().lie != Lie::packed_too_many) || !first) {
      ASSERT_FALSE(first);
      EXPECT_EQ(first.error().code, Code::worker_lost) << first.error().to_string();
    }
    EXPECT_TRUE(fleet->call("echo", payload_of(Sample::make(2, 20)), {.timeout = 20s}));
    expect_settled(fleet);
  }
}

TEST(ThreadDispatch, a_worker_that_releases_a_block_that_it_does_not_have_is_killed) {
  Fleet::Plan plan;
  plan.lie = [](int, std::uint64_t incarnation) { return incarnation == 1 ? Lie::releases_unasked : Lie::none; };
  Fleet fleet(fleet_options(1, Dispatcher::caller), plan);
  EXPECT_TRUE(fleet->call("keep", payload_of(Sample::make(1, 10'000)), {}));
  EXPECT_TRUE(wait_until([&] {
    fleet->backstop();
    return fleet.deaths() == 1;
  }));
  EXPECT_EQ(fleet.violations(), std::vector<std::string>{"it has released a block that it does not have"});
  EXPECT_EQ(fleet.counters().escaped_views(), 0u);
  EXPECT_TRUE(fleet->call("echo", payload_of(Sample::make(2, 10'000)), {}));
  expect_settled(fleet);
}

TEST(ThreadDispatch, a_worker_that_never_gives_room_back_is_killed_and_the_pool_goes_on) {
  Fleet::Plan plan;
  plan.lie = [](int, std::uint64_t incarnation) { return incarnation == 1 ? Lie::never_consumes : Lie::none; };
  auto options = fleet_options(1, Dispatcher::caller);
  options.lane_bytes = 4096;
  options.inline_bytes_max = 512;
  Fleet fleet(options, plan);
  for (std::uint64_t i = 0; i < 500; ++i) {
    const auto payload = Sample::make(i, 40);
    const auto reply = fleet->call("echo", payload_of(payload), {.timeout = 5s});
    ASSERT_TRUE(reply) << "call " << i << ": " << reply.error().to_string();
  }
  EXPECT_EQ(fleet.violations().size(), 1u);
  expect_settled(fleet);
}

TEST(ThreadDispatch, a_count_of_started_calls_that_cannot_be_makes_no_call_run_twice) {
  Fleet::Plan plan;
  plan.lie = [](int, std::uint64_t incarnation) { return incarnation == 1 ? Lie::started_runs_ahead : Lie::none; };
  auto options = fleet_options(1, Dispatcher::caller);
  options.prefetch = 4;
  Fleet fleet(options, plan);
  Outcome outcomes[4];
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(fleet->submit(i == 0 ? "hold" : "echo", payload_of(Sample::make(i, 30)), outcomes[i].callback(), {}));
  }
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1 && fleet.counters().in_flight_sent.get() == 4; }));
  fleet.kill(0);
  ASSERT_TRUE(poll_until(fleet, [&] { return std::all_of(outcomes, outcomes + 4, [](Outcome& o) { return o.arrived(); }); }));
  for (auto& outcome : outcomes) {
    ASSERT_FALSE(*outcome.result);
    EXPECT_EQ(outcome.result->error().code, Code::worker_lost);
  }
  expect_settled(fleet);
}

// --- poll() and completion_fd() -------------------------------------------------------------------------------------------

TEST_P(EachMode, completion_fd_polls_readable_whenever_poll_has_something_to_do) {
  auto options = fleet_options(1, GetParam());
  options.spin_max = 0ns;
  Fleet fleet(options);
  for (int round = 0; round < 300; ++round) {
    Outcome outcome;
    ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcome.callback(), {}));
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (!outcome.arrived()) {
      if (fleet->poll() > 0) continue;
      pollfd readable{.fd = fleet.completion_fd(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(poll(&readable, 1, 10'000), 1) << "slept over an outcome in round " << round;
      ASSERT_LT(std::chrono::steady_clock::now(), until);
    }
  }
  expect_settled(fleet);
}

// Both the poller and the callers wait for the same workers: no edge may be lost between them.
TEST_P(EachMode, a_poller_and_callers_do_not_steal_each_others_wake_ups) {
  auto options = fleet_options(2, GetParam());
  options.spin_max = 0ns;
  Fleet::Plan plan;
  plan.backstop = false;  // it would hide a lost wake-up
  Fleet fleet(options, plan);
  std::atomic<bool> stop{false};
  std::atomic<int> callbacks{0};
  std::thread poller([&] {
    while (!stop.load()) {
      if (fleet->poll() > 0) continue;
      pollfd readable{.fd = fleet.completion_fd(), .events = POLLIN, .revents = 0};
      poll(&readable, 1, 100);
    }
  });
  std::atomic<int> late{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&] {
      for (std::uint64_t i = 0; i < 400; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        const auto reply = fleet->call("echo", payload_of(Sample::make(i, 30)), {.timeout = 3s});
        EXPECT_TRUE(reply) << i << ": " << reply.error().to_string();
        if (std::chrono::steady_clock::now() - begin > 2s) late.fetch_add(1);
      }
    });
  }
  int submitted = 0;
  for (int i = 0; i < 400; ++i) {
    if (fleet->submit("echo", payload_of(Sample::make(1, 20)), [&](Result<Reply>) { callbacks.fetch_add(1); }, {.timeout = 3s})) ++submitted;
    if (i % 8 == 0) std::this_thread::yield();
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(late.load(), 0);
  EXPECT_TRUE(wait_until([&] { return callbacks.load() == submitted; }, 5s));
  stop.store(true);
  poller.join();
  EXPECT_EQ(fleet.counters().timed_out_by_waiter.get() + fleet.counters().timed_out_by_dispatcher.get(), 0u);
  expect_settled(fleet);
}

TEST_P(EachMode, waiting_for_a_place_steals_no_wake_up) {
  auto options = fleet_options(1, GetParam());
  options.spin_max = 0ns;
  options.queue_limit = 2;
  options.prefetch = 1;
  Fleet::Plan plan;
  plan.backstop = false;
  Fleet fleet(options, plan);
  std::atomic<int> late{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 6; ++t) {
    callers.emplace_back([&] {
      for (std::uint64_t i = 0; i < 150; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        const auto reply = fleet->call("echo", payload_of(Sample::make(i, 30)), {.timeout = 4s, .when_full = WhenFull::wait});
        EXPECT_TRUE(reply) << i << ": " << reply.error().to_string();
        if (std::chrono::steady_clock::now() - begin > 3s) late.fetch_add(1);
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(late.load(), 0);
  expect_settled(fleet);
}

// --- draining -----------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, drain_waits_for_accepted_calls_and_refuses_new_ones) {
  Fleet fleet(fleet_options(1, GetParam()));
  HeldCall held(fleet, 20);
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  std::thread drainer([&] { fleet->drain(ipc::now_ns() + 20'000'000'000); });
  std::optional<Result<Reply>> refused;
  ASSERT_TRUE(wait_until([&] {
    refused.emplace(fleet->call("echo", payload_of(Sample::make(1, 20)), {.timeout = 1ms}));
    return !*refused && refused->error().code == Code::pool_stopped;
  }));
  EXPECT_FALSE(held.done());
  fleet.release(0);
  drainer.join();
  EXPECT_TRUE(held.result());
  expect_settled(fleet);
}

TEST_P(EachMode, drain_fails_what_is_left_at_its_time) {
  auto options = fleet_options(1, GetParam());
  options.prefetch = 2;
  Fleet fleet(options);
  HeldCall running(fleet, 20), ready(fleet, 20), queued(fleet, 20);
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1 && fleet->accepted() == 3; }));
  Outcome outcome;
  ASSERT_TRUE(fleet->submit("echo", payload_of(Sample::make(1, 20)), outcome.callback(), {}));
  fleet->drain(ipc::now_ns() + 30'000'000);
  for (HeldCall* call : {&running, &ready, &queued}) {
    ASSERT_FALSE(call->result());
    EXPECT_EQ(call->result().error().code, Code::pool_stopped);
  }
  ASSERT_TRUE(poll_until(fleet, [&] { return outcome.arrived(); }));
  EXPECT_EQ(outcome.result->error().code, Code::pool_stopped);
  expect_settled(fleet);
}

TEST_P(EachMode, drain_while_many_call_ends_every_call) {
  for (int round = 0; round < 5; ++round) {
    auto options = fleet_options(2, GetParam());
    options.spin_max = round % 2 ? 0ns : 50us;
    Fleet fleet(options);
    std::atomic<std::uint64_t> replied{0}, refused{0}, other{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t) {
      callers.emplace_back([&] {
        for (std::uint64_t i = 0;; ++i) {
          const auto reply = fleet->call("echo", payload_of(Sample::make(i, 50)), {});
          if (reply) {
            replied.fetch_add(1);
          } else if (reply.error().code == Code::pool_stopped) {
            refused.fetch_add(1);
            return;
          } else {
            other.fetch_add(1);
          }
        }
      });
    }
    ASSERT_TRUE(wait_until([&] { return replied.load() > 100; }));
    const auto begin = std::chrono::steady_clock::now();
    fleet->drain(ipc::now_ns() + 10'000'000'000);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
    for (auto& caller : callers) caller.join();
    EXPECT_EQ(other.load(), 0u);
    EXPECT_EQ(fleet->accepted(), replied.load());
    expect_settled(fleet);
  }
}

}  // namespace
}  // namespace samovar::test
