// Coroutines and batches with workers that are threads, so that ThreadSanitizer sees both sides.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <deque>
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

// A coroutine whose frame belongs to this object: to be destroyed while it is suspended.
class Owned {
 public:
  struct promise_type {
    Owned get_return_object() { return Owned(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() { destroy(); }
  void destroy() {
    if (handle_) std::exchange(handle_, nullptr).destroy();
  }

 private:
  explicit Owned(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

class EachMode : public testing::TestWithParam<Dispatcher> {};
INSTANTIATE_TEST_SUITE_P(Modes, EachMode, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

struct Seen {
  std::optional<Result<Reply>> result;
  std::thread::id thread;
};

// --- one coroutine ----------------------------------------------------------------------------------------------------------

Owned await_one(Fleet& fleet, std::string_view method, const std::vector<std::byte>& payload, CallOptions options, Seen& seen) {
  seen.result.emplace(co_await fleet->async_call(method, bytes(payload), options));
  seen.thread = std::this_thread::get_id();
}

TEST_P(EachMode, coroutine_goes_on_inside_poll_and_nowhere_else) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(7, 100);
  Seen seen;
  const Owned one = await_one(fleet, "echo", payload, {}, seen);
  std::thread other([&] { EXPECT_TRUE(fleet->call("echo", bytes(payload), {})); });  // moves the call on, resumes nobody
  other.join();
  EXPECT_FALSE(seen.result);

  ASSERT_TRUE(poll_until(fleet, [&] { return seen.result.has_value(); }));
  ASSERT_TRUE(*seen.result) << seen.result->error().to_string();
  EXPECT_TRUE(Sample::is_reply_to((*seen.result)->data(), payload));
  EXPECT_EQ(seen.thread, std::this_thread::get_id());
  expect_settled(fleet);
}

Owned await_many_times(Fleet& fleet, std::uint64_t times, std::uint64_t& good) {
  for (std::uint64_t i = 0; i < times; ++i) {
    const auto payload = Sample::make(i, 12 + i % 300);
    auto reply = co_await fleet->async_call("echo", bytes(payload), {});
    good += reply && Sample::is_reply_to(reply->data(), payload);
  }
}

TEST_P(EachMode, many_coroutines_await_call_after_call) {
  Fleet fleet(fleet_options(2, GetParam()));
  constexpr std::uint64_t kTimes = 300;
  std::uint64_t good = 0;
  std::vector<Owned> coroutines;
  for (int i = 0; i < 20; ++i) coroutines.push_back(await_many_times(fleet, kTimes, good));
  EXPECT_TRUE(poll_until(fleet, [&] { return good == 20 * kTimes; })) << good;
  expect_settled(fleet);
}

Owned await_after_it_finished(Fleet& fleet, Seen& seen) {
  AsyncCall first = fleet->async_call("echo", bytes(Sample::make(1, 20)), {});
  AsyncCall second = fleet->async_call("echo", bytes(Sample::make(2, 20)), {});
  const auto payload = Sample::make(2, 20);
  (void)co_await std::move(first);
  while (!second.await_ready()) fleet->poll();  // within a coroutine that poll() resumed
  seen.result.emplace(co_await second);
}

TEST_P(EachMode, calls_are_on_their_way_before_they_are_awaited) {
  Fleet fleet(fleet_options(1, GetParam()));
  Seen seen;
  const Owned one = await_after_it_finished(fleet, seen);
  ASSERT_TRUE(poll_until(fleet, [&] { return seen.result.has_value(); }));
  EXPECT_TRUE(Sample::is_reply_to((*seen.result)->data(), Sample::make(2, 20)));
  expect_settled(fleet);
}

Owned call_where_it_goes_on(Fleet& fleet, std::vector<bool>& good) {
  const auto payload = Sample::make(3, 20);
  (void)co_await fleet->async_call("echo", bytes(payload), {});
  good.push_back(fleet->call("echo", bytes(payload), {}).has_value());
  const std::vector<Payload> batch{bytes(payload), bytes(payload)};
  for (const auto& outcome : fleet->call_many("echo", batch, {})) good.push_back(outcome.has_value());
}

// It would hang if it were resumed by a thread that holds the token.
TEST_P(EachMode, resumed_coroutine_may_call_and_wait) {
  Fleet fleet(fleet_options(1, GetParam()));
  std::vector<bool> good;
  const Owned one = call_where_it_goes_on(fleet, good);
  ASSERT_TRUE(poll_until(fleet, [&] { return good.size() == 3; }));
  EXPECT_EQ(good, std::vector<bool>(3, true));
  expect_settled(fleet);
}

TEST_P(EachMode, refused_call_is_not_waited_for) {
  auto options = fleet_options(1, GetParam());
  options.queue_limit = 1;
  options.prefetch = 1;
  Fleet fleet(options);
  const auto payload = Sample::make(1, 20);
  Seen unknown, running, waiting, refused;
  const Owned a = await_one(fleet, "no such method", payload, {}, unknown);
  ASSERT_TRUE(unknown.result);
  EXPECT_EQ(unknown.result->error().code, Code::unknown_method);
  const Owned b = await_one(fleet, "hold", payload, {}, running);
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 1; }));
  const Owned c = await_one(fleet, "echo", payload, {}, waiting);
  const Owned d = await_one(fleet, "echo", payload, {}, refused);
  ASSERT_TRUE(refused.result);
  EXPECT_EQ(refused.result->error().code, Code::queue_full);
  fleet.release(0);
  EXPECT_TRUE(poll_until(fleet, [&] { return running.result && waiting.result; }));
  EXPECT_TRUE(*waiting.result);
  expect_settled(fleet);
}

TEST_P(EachMode, stop_token_deadline_and_death_resume_with_their_errors) {
  auto options = fleet_options(1, GetParam());
  Fleet fleet(options);
  const auto payload = Sample::make(1, 20);
  std::stop_source stop;
  Seen stopped, late, lost;
  const Owned a = await_one(fleet, "hold", payload, {.stop = stop.get_token()}, stopped);
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 1; }));
  std::thread requester([&] { stop.request_stop(); });
  ASSERT_TRUE(poll_until(fleet, [&] { return stopped.result.has_value(); }));
  requester.join();
  EXPECT_EQ(stopped.result->error().code, Code::cancelled);

  const Owned b = await_one(fleet, "hold", payload, {.timeout = 30ms}, late);
  ASSERT_TRUE(poll_until(fleet, [&] { return late.result.has_value(); }));
  EXPECT_EQ(late.result->error().code, Code::deadline_exceeded);

  fleet.kill(0);
  const Owned c = await_one(fleet, "hold", payload, {}, lost);
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 1; }));
  fleet.kill(0);
  ASSERT_TRUE(poll_until(fleet, [&] { return lost.result.has_value(); }));
  EXPECT_EQ(lost.result->error().code, Code::worker_lost);
  expect_settled(fleet);
}

// --- abandoned --------------------------------------------------------------------------------------------------------------

TEST_P(EachMode, coroutine_destroyed_while_suspended_cancels_its_call) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(1, 20);
  Seen running, waiting, after;
  Owned a = await_one(fleet, "hold", payload, {}, running);
  ASSERT_TRUE(poll_until(fleet, [&] { return fleet.holding(0) == 1; }));
  Owned b = await_one(fleet, "echo", payload, {}, waiting);
  a.destroy();
  b.destroy();
  EXPECT_EQ(fleet.counters().cancelled.get(), 2u);
  fleet.release(0);
  const Owned c = await_one(fleet, "echo", payload, {}, after);
  ASSERT_TRUE(poll_until(fleet, [&] { return after.result.has_value(); }));
  EXPECT_TRUE(*after.result);
  EXPECT_FALSE(running.result);
  EXPECT_FALSE(waiting.result);
  expect_settled(fleet);
}

TEST_P(EachMode, call_that_nobody_awaits_is_cancelled_or_dropped) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(1, 20);
  for (int i = 0; i < 200; ++i) {
    AsyncCall call = fleet->async_call("echo", bytes(payload), {});
    if (i % 3 == 1) fleet->poll();
    if (i % 3 == 2) {
      ASSERT_TRUE(poll_until(fleet, [&] { return call.await_ready(); }));
    }
  }
  expect_settled(fleet);
}

// B's outcome waits behind A's when A, resumed, destroys B.
TEST_P(EachMode, coroutine_that_destroys_another_whose_outcome_is_there) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(1, 20);
  for (int round = 0; round < 50; ++round) {
    Seen seen;
    std::optional<Owned> victim;
    bool done = false;
    const auto destroyer = [](Fleet& f, const auto& bytes_in, std::optional<Owned>& other, bool& end) -> Owned {
      (void)co_await f->async_call("echo", bytes(bytes_in), {});
      other.reset();
      end = true;
    };
    const Owned first = destroyer(fleet, payload, victim, done);
    victim.emplace(await_one(fleet, "echo", payload, {}, seen));
    std::thread other([&] { EXPECT_TRUE(fleet->call("echo", bytes(payload), {})); });
    other.join();  // both are finished, and wait for poll()
    ASSERT_TRUE(poll_until(fleet, [&] { return done; }));
    EXPECT_FALSE(seen.result);
  }
  expect_settled(fleet);
}

TEST_P(EachMode, end_of_the_dispatcher_resumes_who_still_waits) {
  Seen held, again;
  std::optional<Owned> one;
  {
    Fleet fleet(fleet_options(1, GetParam()));
    const auto retry = [](Fleet& f, Seen& first, Seen& second) -> Owned {
      const auto payload = Sample::make(1, 20);
      first.result.emplace(co_await f->async_call("hold", bytes(payload), {}));
      second.result.emplace(co_await f->async_call("echo", bytes(payload), {}));
    };
    one.emplace(retry(fleet, held, again));
    ASSERT_TRUE(wait_until([&] {
      fleet->poll();
      return fleet.holding(0) == 1;
    }));
    fleet.finish();
    fleet->tell_the_rest();  // as the pool does
    ASSERT_TRUE(again.result);
    EXPECT_EQ(again.result->error().code, Code::pool_stopped);
  }
  EXPECT_EQ(held.result->error().code, Code::pool_stopped);
}

// --- executors --------------------------------------------------------------------------------------------------------------

// A thread that resumes what it is given.
class Resumer {
 public:
  Resumer() : thread_([this](std::stop_token stop) { run(stop); }) {}
  void post(std::coroutine_handle<> handle) {
    std::lock_guard lock(mutex_);
    handles_.push_back(handle);
    changed_.notify_one();
  }
  std::thread::id id() const { return thread_.get_id(); }

 private:
  void run(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return !handles_.empty(); })) {
      const auto handle = handles_.front();
      handles_.pop_front();
      lock.unlock();
      handle.resume();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::coroutine_handle<>> handles_;
  std::jthread thread_;
};

Detached hop(Fleet& fleet, Resumer& resumer, int times, std::atomic<int>& right, std::atomic<int>& ended) {
  for (int i = 0; i < times; ++i) {
    const auto payload = Sample::make(static_cast<std::uint64_t>(i), 40);
    auto reply = co_await fleet->async_call("echo", bytes(payload), {}).resume_on([&](std::coroutine_handle<> h) { resumer.post(h); });
    right += reply && Sample::is_reply_to(reply->data(), payload) && std::this_thread::get_id() == resumer.id();
  }
  ++ended;
}

TEST_P(EachMode, executor_resumes_where_it_wants) {
  Fleet fleet(fleet_options(2, GetParam()));
  std::atomic<int> right = 0, ended = 0;
  {
    Resumer resumer;
    for (int i = 0; i < 5; ++i) hop(fleet, resumer, 100, right, ended);
    // A call that this thread finds finished before the other awaits it goes on there at once: in the same thread all the same.
    EXPECT_TRUE(poll_until(fleet, [&] { return ended == 5; }));
  }
  EXPECT_EQ(right, 500);
  expect_settled(fleet);
}

// --- races ------------------------------------------------------------------------------------------------------------------

// Threads start calls and await them while others poll: whichever of suspend() and poll() comes first.
TEST_P(EachMode, awaiting_races_with_polling_and_no_resumption_is_lost) {
  Fleet fleet(fleet_options(2, GetParam()));
  constexpr int kThreads = 2;
  constexpr int kEach = 300;
  std::atomic<int> good = 0;
  std::atomic<bool> end = false;
  const auto one = [](Fleet& f, std::uint64_t number, std::atomic<int>& count) -> Detached {
    const auto payload = Sample::make(number, 30);
    auto reply = co_await f->async_call("echo", bytes(payload), {.when_full = WhenFull::wait});
    count += reply && Sample::is_reply_to(reply->data(), payload);
  };
  std::thread poller([&] {
    while (!end) fleet->poll();
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) one(fleet, static_cast<std::uint64_t>(t * kEach + i), good);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(wait_until([&] { return good == kThreads * kEach; })) << good;
  end = true;
  poller.join();
  expect_settled(fleet);
}

TEST_P(EachMode, stopping_while_coroutines_finish_resumes_each_once) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(1, 20);
  for (int round = 0; round < 100; ++round) {
    std::stop_source stop;
    Seen seen;
    const Owned one = await_one(fleet, "echo", payload, {.stop = stop.get_token()}, seen);
    std::thread requester([&] { stop.request_stop(); });
    ASSERT_TRUE(poll_until(fleet, [&] { return seen.result.has_value(); }));
    requester.join();
    if (!*seen.result) {
      EXPECT_EQ(seen.result->error().code, Code::cancelled);
    }
  }
  expect_settled(fleet);
}

TEST_P(EachMode, coroutines_sleep_on_completion_fd) {
  Fleet fleet(fleet_options(1, GetParam()));
  std::uint64_t good = 0;
  const Owned one = await_many_times(fleet, 100, good);
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (good < 100 && std::chrono::steady_clock::now() < until) {
    if (fleet->poll() > 0) continue;
    pollfd ready{fleet.completion_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, 10'000), 1) << "after " << good;
  }
  EXPECT_EQ(good, 100u);
  expect_settled(fleet);
}

// --- call_many --------------------------------------------------------------------------------------------------------------

struct Batch {
  explicit Batch(std::size_t count, std::uint32_t sleep_us = 0) {
    for (std::size_t i = 0; i < count; ++i) data.push_back(Sample::make(i, 12 + i % 200, sleep_us));
    for (const auto& bytes_in : data) payloads.push_back(bytes(bytes_in));
  }
  std::vector<std::vector<std::byte>> data;
  std::vector<Payload> payloads;
};

TEST_P(EachMode, batch_larger_than_the_queue_is_answered_in_order) {
  for (const std::uint32_t limit : {1u, 3u, 1000u}) {
    auto options = fleet_options(2, GetParam());
    options.queue_limit = limit;
    Fleet fleet(options);
    const Batch batch(1500);
    const auto outcomes = fleet->call_many("echo", batch.payloads, {});
    ASSERT_EQ(outcomes.size(), batch.data.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      ASSERT_TRUE(outcomes[i]) << i << ": " << outcomes[i].error().to_string();
      ASSERT_TRUE(Sample::is_reply_to(outcomes[i]->data(), batch.data[i])) << i;
    }
    EXPECT_GT(fleet.served(0), 0u);
    EXPECT_GT(fleet.served(1), 0u);
    expect_settled(fleet);
  }
}

TEST_P(EachMode, each_call_of_a_batch_has_its_own_outcome) {
  Fleet fleet(fleet_options(1, GetParam()));
  const auto payload = Sample::make(1, 20);
  const std::vector<std::byte> large(fleet.arena().bytes_total() + 1);
  const Request requests[] = {{"echo", bytes(payload)}, {"no such", {}}, {"fail", {}}, {"echo", bytes(large)}, {"echo", bytes(payload)}};
  const auto outcomes = fleet->call_many(requests, {});
  ASSERT_EQ(outcomes.size(), 5u);
  EXPECT_TRUE(outcomes[0]);
  EXPECT_EQ(outcomes[1].error().code, Code::unknown_method);
  EXPECT_EQ(outcomes[2].error().code, Code::method_failed);
  EXPECT_EQ(outcomes[3].error().code, Code::payload_too_large);
  EXPECT_TRUE(outcomes[4]);
  EXPECT_TRUE(fleet->call_many(std::span<const Request>(), {}).empty());
  for (const auto& outcome : fleet->call_many("no such", std::vector<Payload>(3), {})) EXPECT_EQ(outcome.error().code, Code::unknown_method);
  expect_settled(fleet);
}

// The first call holds its worker; the others go through the second one although the queue takes but two.
TEST_P(EachMode, slow_call_of_a_batch_keeps_no_worker_from_the_others) {
  auto options = fleet_options(2, GetParam());
  options.queue_limit = 2;
  options.prefetch = 1;
  Fleet fleet(options);
  const Batch batch(200);
  std::vector<Request> requests{{"hold", bytes(batch.data[0])}};
  for (std::size_t i = 1; i < batch.data.size(); ++i) requests.push_back({"echo", bytes(batch.data[i])});
  std::vector<Result<Reply>> outcomes;
  std::thread caller([&] { outcomes = fleet->call_many(requests, {}); });
  EXPECT_TRUE(wait_until([&] { return fleet.served(0) + fleet.served(1) == requests.size() - 1; }));
  fleet.release(0);
  fleet.release(1);
  caller.join();
  ASSERT_EQ(outcomes.size(), requests.size());
  for (const auto& outcome : outcomes) EXPECT_TRUE(outcome);
  expect_settled(fleet);
}

TEST_P(EachMode, batch_ends_at_its_deadline_or_its_stop_token_whole) {
  auto options = fleet_options(1, GetParam());
  options.queue_limit = 4;
  options.prefetch = 1;
  Fleet fleet(options);
  const Batch batch(50);
  std::vector<Request> requests;
  for (const auto& data : batch.data) requests.push_back({"hold", bytes(data)});
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& outcome : fleet->call_many(requests, {.timeout = 50ms})) {
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::deadline_exceeded);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);

  std::stop_source stop;
  std::thread requester([&] {
    EXPECT_TRUE(wait_until([&] { return fleet->queued() >= 4; }));
    stop.request_stop();
  });
  for (const auto& outcome : fleet->call_many(requests, {.stop = stop.get_token()})) {
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::cancelled);
  }
  requester.join();
  fleet.release(0);
  expect_settled(fleet);
}

TEST_P(EachMode, batches_from_threads_beside_calls_and_coroutines_and_deaths) {
  auto options = fleet_options(2, GetParam());
  options.queue_limit = 8;
  options.requeue_limit = 100;  // what a dying worker had not begun is never lost
  std::atomic<std::uint64_t> good = 0, lost = 0, other = 0;
  Fleet::Plan plan;
  plan.fate = [](int slot, std::uint64_t incarnation) {
    return incarnation < 8 ? Fate{kDeaths[(static_cast<std::size_t>(slot) + incarnation) % std::size(kDeaths)], 40} : Fate{};
  };
  Fleet fleet(options, plan);
  const auto count = [&](const Result<Reply>& outcome, const std::vector<std::byte>& payload) {
    if (outcome) {
      good += Sample::is_reply_to(outcome->data(), payload);
    } else {
      (outcome.error().code == Code::worker_lost ? lost : other) += 1;
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      const Batch batch(200);
      for (int round = 0; round < 3; ++round) {
        const auto outcomes = fleet->call_many("echo", batch.payloads, {});
        for (std::size_t i = 0; i < outcomes.size(); ++i) count(outcomes[i], batch.data[i]);
      }
    });
  }
  threads.emplace_back([&] {
    const auto payload = Sample::make(1, 30);
    for (int i = 0; i < 200; ++i) count(fleet->call("echo", bytes(payload), {.when_full = WhenFull::wait}), payload);
  });
  std::uint64_t awaited = 0;
  const auto lone = [](Fleet& f, std::uint64_t& done, auto& tally) -> Owned {
    const auto payload = Sample::make(5, 50);
    for (; done < 200; ++done) tally(co_await f->async_call("echo", bytes(payload), {.when_full = WhenFull::wait}), payload);
  };
  const Owned one = lone(fleet, awaited, count);
  EXPECT_TRUE(poll_until(fleet, [&] { return awaited == 200; }));
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good + lost, 2u * 3 * 200 + 200 + 200);
  EXPECT_EQ(other, 0u);
  EXPECT_LE(lost, fleet.deaths());
  expect_settled(fleet);
}

}  // namespace
}  // namespace samovar::test
