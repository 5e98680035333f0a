// Coroutines, typed coroutines and batches against real workers.
#include <gtest/gtest.h>
#include <poll.h>
#include <samovar/samovar.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class EachMode : public testing::TestWithParam<Dispatcher> {
 protected:
  Pool pool = start([] {
    Options chosen = options("typed.py");
    chosen.dispatcher = GetParam();
    chosen.workers = 2;
    chosen.stop_timeout = 200ms;  // of a worker in a long call
    return chosen;
  }());

  bool poll_until(const std::function<bool()>& condition) {
    return wait_until([&] {
      pool.poll();
      return condition();
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, EachMode, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachMode, typed_method_is_awaited_and_its_arguments_need_not_live) {
  std::vector<Result<double>> prices;
  const auto ask = [](Pool& p, std::vector<Result<double>>& out) -> Detached {
    const auto price = p.method<double(std::string, std::int64_t)>("price");
    auto first = price.async(std::string("EURUSD"), 4);  // both are on their way at once
    auto second = price.async(std::string("USDJPY"), 4);
    out.push_back(co_await first);
    out.push_back(co_await second);
    out.push_back(co_await price.async("a\xFF", 1));
    out.push_back(co_await p.method<double(int)>("price").async(1));
    out.push_back(co_await price.with({.timeout = 0ns}).async("EURUSD", 1));
  };
  ask(pool, prices);

  ASSERT_TRUE(poll_until([&] { return prices.size() == 5; }));
  EXPECT_EQ(prices[0], 5.0);
  EXPECT_EQ(prices[1].error().code, Code::invalid_result);
  EXPECT_EQ(prices[2].error().message, "\"price\", argument 1: a str that is not UTF-8 (send it as samovar::Bytes)");
  EXPECT_EQ(prices[3].error().message, "\"price\" cannot be called with 1 argument: in Python it is price(symbol, quantity)");
  EXPECT_EQ(prices[4].error().code, Code::deadline_exceeded);
}

TEST_P(EachMode, typed_method_goes_on_where_an_executor_says) {
  std::vector<std::coroutine_handle<>> posted;
  std::optional<Result<int>> largest;
  const auto ask = [](Pool& p, auto& queue, auto& out) -> Detached {
    out.emplace(co_await p.method<int(int, int)>("largest").async(3, 9).resume_on([&](std::coroutine_handle<> h) { queue.push_back(h); }));
  };
  ask(pool, posted, largest);
  ASSERT_TRUE(poll_until([&] { return !posted.empty(); }));
  EXPECT_FALSE(largest);
  posted.front().resume();
  EXPECT_EQ(*largest, 9);
}

TEST_P(EachMode, coroutines_and_their_loop_sleep_on_completion_fd) {
  int done = 0;
  const auto ask = [](Pool& p, int& count) -> Detached {
    const auto sleep = p.method<void(double)>("sleep_for_s");
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await sleep.async(0.01));
    ++count;
  };
  for (int i = 0; i < 4; ++i) ask(pool, done);
  while (done < 4) {
    if (pool.poll() > 0) continue;
    pollfd ready{pool.completion_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
  }
}

TEST_P(EachMode, end_of_the_pool_resumes_and_refuses_what_follows) {
  std::optional<Code> running, next;
  {
    Pool short_lived = std::move(pool);
    const auto ask = [](Pool& p, auto& first, auto& second) -> Detached {
      auto reply = co_await p.async_call("sleep_for_s", value(30));
      first = reply ? std::nullopt : std::optional(reply.error().code);
      reply = co_await p.async_call("fails");
      second = reply ? std::nullopt : std::optional(reply.error().code);
    };
    ask(short_lived, running, next);
    short_lived.poll();
  }
  EXPECT_EQ(running, Code::pool_stopped);
  EXPECT_EQ(next, Code::pool_stopped);
}

TEST_P(EachMode, batch_comes_back_in_order_each_with_its_own_outcome) {
  std::vector<Payload> payloads;
  for (int i = 0; i < 3000; ++i) payloads.push_back(arguments({i, -i}));  // three times queue_limit
  const auto largest = pool.call_many("largest", payloads);
  ASSERT_EQ(largest.size(), payloads.size());
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(integer(largest[static_cast<std::size_t>(i)]), i);

  const Request requests[] = {{"three", arguments({1, 2, 3})}, {"fails"}, {"three", arguments({1})}};
  const auto mixed = pool.call_many(requests);
  EXPECT_EQ(value_of(mixed[0]), Value::list({1, 2, 3}));
  EXPECT_EQ(mixed[1].error().context.python_type, "ValueError");
  EXPECT_EQ(mixed[2].error().context.python_type, "TypeError");
}

TEST_P(EachMode, batch_uses_all_workers_at_once) {
  const std::vector<Payload> naps(8, value(0.05));
  int of_worker[2] = {0, 0};
  for (const auto& outcome : pool.call_many("sleep_for_s", naps)) {
    ASSERT_TRUE(outcome) << outcome.error().to_string();
    ++of_worker[outcome->worker()];
  }
  EXPECT_EQ(of_worker[0], 4);
  EXPECT_EQ(of_worker[1], 4);
}

}  // namespace
}  // namespace samovar::test
