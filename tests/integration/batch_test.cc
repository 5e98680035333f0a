// Methods that take several calls at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::vector<Payload> numbers(int from, int to) {
  std::vector<Payload> payloads;
  for (int number = from; number < to; ++number) payloads.push_back(value(number));
  return payloads;
}

using Codes = std::vector<std::optional<Code>>;

Codes codes(const std::vector<Result<Reply>>& outcomes) {
  Codes codes;
  for (const Result<Reply>& outcome : outcomes) codes.push_back(code_of(outcome));
  return codes;
}

class Batches : public testing::TestWithParam<Dispatcher> {
 protected:
  static Options chosen(unsigned workers = 1) {
    Options chosen = options("batches.py");
    chosen.dispatcher = GetParam();
    chosen.workers = workers;
    chosen.prefetch = 1;
    return chosen;
  }

  // Every worker of the pool stands at `gate`.
  void occupy() {
    ASSERT_TRUE(pool.submit("wait_at", text(gate.path()), [this](Result<Reply>) { vacated = true; }));
    pool.poll();  // it sends, where the dispatcher is manual
    ASSERT_TRUE(gate.reached());
  }

  // Submits, and keeps the outcome in its place.
  void submit(std::string_view method, Payload payload, const CallOptions& how = {}) {
    const std::size_t place = asked++;
    outcomes.resize(asked);
    const Result<void> accepted = pool.submit(method, payload, [this, place](Result<Reply> outcome) { outcomes[place].emplace(std::move(outcome)), ++told; }, how);
    ASSERT_TRUE(accepted) << accepted.error().to_string();
  }
  bool all_told() {
    return wait_until([this] { return pool.poll(), told == asked; });
  }

  Gate gate;
  Pool pool = start(chosen());
  bool vacated = false;
  std::size_t asked = 0, told = 0;
  std::vector<std::optional<Result<Reply>>> outcomes;
};

INSTANTIATE_TEST_SUITE_P(By, Batches, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(info.param == Dispatcher::caller ? "caller" : info.param == Dispatcher::manual ? "manual" : "pinned"); });

TEST_P(Batches, leave_at_once_when_they_are_full) {
  const auto outcomes = pool.call_many("patient", std::vector<Payload>(16));
  for (const auto& outcome : outcomes) EXPECT_EQ(integer(outcome), 8);
}

TEST_P(Batches, wait_no_longer_than_their_method_says) {
  const auto begin = Clock::now();
  EXPECT_EQ(integer(pool.call("sizes")), 1);
  const auto took = Clock::now() - begin;
  EXPECT_GE(took, 50ms);
  EXPECT_LT(took, 5s);
  const auto outcomes = pool.call_many("sizes", std::vector<Payload>(11));
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(integer(outcomes[i]), 8);
  for (std::size_t i = 8; i < 11; ++i) EXPECT_EQ(integer(outcomes[i]), 3);
}

TEST_P(Batches, of_a_method_that_does_not_wait_are_what_came_while_no_worker_was_free) {
  EXPECT_EQ(integer(pool.call("at_once")), 1);
  occupy();
  for (int i = 0; i < 5; ++i) submit("at_once", {});
  gate.open();
  ASSERT_TRUE(all_told());
  for (const auto& outcome : outcomes) EXPECT_EQ(integer(*outcome), 5);
}

TEST_P(Batches, form_from_calls_of_several_threads) {
  std::vector<std::int64_t> sizes(8);
  {
    std::vector<std::jthread> threads;
    for (std::int64_t& size : sizes) threads.emplace_back([&] { size = integer(pool.call("patient", {}, {.timeout = 20s})); });
  }
  for (const std::int64_t size : sizes) EXPECT_EQ(size, 8);
}

TEST_P(Batches, give_arguments_as_their_calls_have_them) {
  std::vector<Payload> payloads;
  payloads.push_back({});
  payloads.push_back(text("tea"));
  payloads.push_back(value(1.5));
  payloads.push_back(arguments({1, "two"}));
  payloads.push_back(arguments({}));
  payloads.push_back(arguments({3}));
  const std::vector<std::byte> raw(3, std::byte{'b'});
  payloads.push_back(bytes(raw));
  const auto outcomes = pool.call_many("shown", payloads);
  EXPECT_EQ(text_of(outcomes[0]), "None");
  EXPECT_EQ(text_of(outcomes[1]), "'tea'");
  EXPECT_EQ(text_of(outcomes[2]), "1.5");
  EXPECT_EQ(text_of(outcomes[3]), "(1, 'two')");
  EXPECT_EQ(text_of(outcomes[4]), "None");
  EXPECT_EQ(text_of(outcomes[5]), "3");
  EXPECT_EQ(outcomes[6].value().data().size(), 3u);
}

TEST_P(Batches, small_replies_come_while_a_large_one_waits_for_room) {
  constexpr int kMostOfTheArena = 700'000;
  Options small = chosen();
  small.response_arena_bytes = 1 << 20;
  pool = start(small);
  auto held = pool.call_many("sized", std::vector<Payload>{value(kMostOfTheArena), value(1)});
  ASSERT_TRUE(held[0]) << held[0].error().to_string();
  submit("sized", value(10));
  submit("sized", value(kMostOfTheArena), {.timeout = 60s, .when_full = WhenFull::wait});
  ASSERT_TRUE(wait_until([this] { return pool.poll(), outcomes[0].has_value(); }));
  EXPECT_EQ(outcomes[0]->value().data().size(), 10u);
  EXPECT_FALSE(outcomes[1]);
  held.clear();
  ASSERT_TRUE(all_told());
  EXPECT_EQ(outcomes[1]->value().data().size(), static_cast<std::size_t>(kMostOfTheArena));
}

TEST_P(Batches, pass_payloads_of_any_size_both_ways) {
  std::vector<std::vector<std::byte>> sent;
  std::vector<Payload> payloads;
  for (std::size_t i = 0; i < 20; ++i) sent.emplace_back(i % 3 == 0 ? 4096 : i % 3 == 1 ? 100'000 : 10, static_cast<std::byte>(i));
  for (const auto& one : sent) payloads.push_back(bytes(one));
  const auto outcomes = pool.call_many("same", payloads);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    ASSERT_TRUE(outcomes[i]) << outcomes[i].error().to_string();
    EXPECT_TRUE(std::ranges::equal(outcomes[i]->data(), sent[i])) << i;
  }
  const auto grown = pool.call_many("large", numbers(0, 8));
  for (std::size_t i = 0; i < grown.size(); ++i) {
    ASSERT_TRUE(grown[i]) << grown[i].error().to_string();
    EXPECT_EQ(grown[i]->data().size(), 20'000u);
    EXPECT_EQ(grown[i]->data()[19'999], static_cast<std::byte>(i));
  }
}

TEST_P(Batches, fail_item_by_item) {
  const auto outcomes = pool.call_many("inverse", numbers(-1, 3));
  EXPECT_EQ(codes(outcomes), (Codes{std::nullopt, Code::method_failed, std::nullopt, std::nullopt}));
  EXPECT_EQ(outcomes[1].error().context.python_type, "ZeroDivisionError");
  EXPECT_NE(outcomes[1].error().message.find("zero has none"), std::string::npos);
  EXPECT_EQ(value_of(outcomes[3]).as_double(), 0.5);
  EXPECT_EQ(codes(pool.call_many("one_cannot_be_sent", numbers(0, 3))), (Codes{std::nullopt, Code::invalid_result, std::nullopt}));
}

TEST_P(Batches, whose_handler_raises_fail_as_a_whole) {
  const auto outcomes = pool.call_many("raises", numbers(0, 3));
  for (const auto& outcome : outcomes) {
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().context.python_type, "LookupError");
    EXPECT_NE(outcome.error().message.find("3 items"), std::string::npos);
    EXPECT_NE(outcome.error().context.traceback.find("batches.py"), std::string::npos);
  }
}

TEST_P(Batches, without_a_result_for_each_say_so) {
  for (const auto& [method, words] : {std::pair("too_few", "returned 2 results for a batch of 3 calls"), std::pair("no_sequence", "returned a int"),
                                      std::pair("text", "returned a str")}) {
    for (const auto& outcome : pool.call_many(method, numbers(0, 3))) {
      ASSERT_FALSE(outcome);
      EXPECT_EQ(outcome.error().code, Code::invalid_result);
      EXPECT_NE(outcome.error().message.find(words), std::string::npos) << outcome.error().message;
    }
  }
  EXPECT_EQ(integer(pool.call("plain", value(7))), 7) << "the worker goes on";
}

TEST_P(Batches, leave_out_what_has_expired_or_been_cancelled) {
  occupy();
  std::stop_source stop;
  submit("at_once", {});
  submit("at_once", {}, {.timeout = 20ms});
  submit("at_once", {}, {.stop = stop.get_token()});
  submit("at_once", {});
  stop.request_stop();
  ASSERT_TRUE(wait_until([this] { return pool.poll(), told == 2; }));
  EXPECT_EQ(outcomes[1]->error().code, Code::deadline_exceeded);
  EXPECT_EQ(outcomes[2]->error().code, Code::cancelled);
  gate.open();
  ASSERT_TRUE(all_told());
  EXPECT_EQ(integer(*outcomes[0]), 2);
  EXPECT_EQ(integer(*outcomes[3]), 2);
}

TEST_P(Batches, leave_earlier_for_a_deadline_that_is_near) {
  EXPECT_EQ(integer(pool.call("sizes", {}, {.timeout = 30ms})), 1) << "it could not wait for 50 ms";
}

TEST_P(Batches, tell_their_handler_the_earliest_deadline) {
  submit("told", {}, {.timeout = 100s});
  submit("told", {}, {.timeout = 50s});
  ASSERT_TRUE(all_told());
  EXPECT_GT(*value_of(*outcomes[0]).as_double(), 40);
  EXPECT_LE(*value_of(*outcomes[0]).as_double(), 50);
}

TEST_P(Batches, run_until_nobody_waits_for_any_of_them) {
  std::stop_source first, second;
  submit("until_cancelled", {}, {.stop = first.get_token()});
  submit("until_cancelled", {}, {.stop = second.get_token()});
  ASSERT_TRUE(wait_until([this] { return pool.poll(), pool.stats().in_flight == 2; }));
  first.request_stop();
  ASSERT_TRUE(wait_until([this] { return pool.poll(), told == 1; }));
  second.request_stop();
  ASSERT_TRUE(all_told());
  EXPECT_EQ(integer(pool.call("plain", value(7), {.timeout = 10s})), 7) << "the handler has seen it, and returned";
}

TEST_P(Batches, that_die_are_lost_and_what_waits_runs_elsewhere) {
  occupy();
  for (int i = 0; i < 4; ++i) submit("die", {});
  for (int i = 0; i < 3; ++i) submit("at_once", {});
  gate.open();
  ASSERT_TRUE(all_told());
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_FALSE(*outcomes[i]);
    EXPECT_EQ((*outcomes[i]).error().code, Code::worker_lost);
  }
  for (std::size_t i = 4; i < 7; ++i) EXPECT_EQ(integer(*outcomes[i]), 3);
}

TEST_P(Batches, and_calls_one_by_one_do_not_hold_each_other_up) {
  for (int i = 0; i < 200; ++i) submit(i % 2 == 0 ? "plain" : "same", value(i));
  submit("patient", {});  // of which not enough come
  ASSERT_TRUE(wait_until([this] { return pool.poll(), told == 200; }));
  for (int i = 0; i < 200; ++i) EXPECT_EQ(integer(*outcomes[static_cast<std::size_t>(i)]), i);
  for (int i = 0; i < 7; ++i) submit("patient", {});
  ASSERT_TRUE(all_told());
  EXPECT_EQ(integer(*outcomes[200]), 8);
}

TEST_P(Batches, are_not_waited_for_by_a_pool_that_drains) {
  std::atomic<int> size = 0;
  ASSERT_TRUE(pool.submit("patient", {}, [&](Result<Reply> reply) { size = static_cast<int>(if_integer(reply).value_or(-1)); }));
  pool.drain(20s);
  pool.poll();
  EXPECT_EQ(size, 1);
}

TEST_P(Batches, are_not_waited_for_where_the_queue_is_full) {
  Options small = chosen();
  small.queue_limit = 4;
  Pool tight = start(small);
  const auto begin = Clock::now();
  for (const auto& outcome : tight.call_many("patient", std::vector<Payload>(8), {.timeout = 60s})) EXPECT_LE(integer(outcome), 4);
  EXPECT_LT(Clock::now() - begin, 40s);
}

TEST_P(Batches, go_through_a_lane_that_holds_few_of_them) {
  Options small = chosen();
  small.lane_bytes = 32 << 10;
  Pool tight = start(small);
  const std::vector<std::byte> page(4000, std::byte{1});
  const std::vector<Payload> payloads(40, bytes(page));
  for (const auto& outcome : tight.call_many("same", payloads)) {
    ASSERT_TRUE(outcome) << outcome.error().to_string();
    EXPECT_EQ(outcome->data().size(), 4000u);
  }
}

TEST(BatchesOfOneShots, are_batches_of_one) {
  Options alone = options("batches.py");
  alone.pool_enabled = false;
  alone.fallback = Fallback::oneshot;
  Pool pool = start(alone);
  EXPECT_EQ(integer(pool.call("patient", {}, {.timeout = 30s})), 1);
}

}  // namespace
}  // namespace samovar::test
