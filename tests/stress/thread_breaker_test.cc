// Circuit breakers with workers that are threads: what opens them, what their probes do, and that no probe's place is ever lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/stress.h"
#include "tests/support/thread_worker.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

const std::vector<std::byte> kPayload = Sample::make(1, 20);

// Told events, kept.
class Told {
 public:
  EventHook hook() {
    return [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    };
  }
  std::size_t count(EventKind kind, std::string_view method) {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::ranges::count_if(events_, [&](const Event& e) { return e.kind == kind && e.method == method; }));
  }
  bool eventually_tells(EventKind kind, std::string_view method, std::size_t times = 1) {
    return wait_until([&] { return count(kind, method) == times; });
  }

 private:
  std::mutex mutex_;
  std::vector<Event> events_;  // guarded by mutex_
};

class EachMode : public testing::TestWithParam<Dispatcher> {
 protected:
  Options with(std::uint32_t failures, Duration delay) {
    Options options = fleet_options(1, GetParam());
    options.breaker_failures = failures;
    options.breaker_delay = delay;
    options.on_event = told.hook();
    return options;
  }

  // A call of `hold` that its worker does not survive.
  static Result<Reply> lose(Fleet& fleet, CallOptions options = {}) {
    const std::uint64_t before = fleet.holding(0);
    std::thread killer([&] {
      EXPECT_TRUE(wait_until([&] { return fleet.holding(0) > before; }));
      fleet.kill(0);
      EXPECT_TRUE(wait_until([&] { return fleet.counters().workers_ready.get() == 1; })) << "replaced";
    });
    Result<Reply> reply = fleet->call("hold", bytes(kPayload), options);
    killer.join();
    return reply;
  }
  static std::optional<Code> code_of(const Result<Reply>& reply) { return reply ? std::nullopt : std::optional(reply.error().code); }
  static std::optional<Code> call(Fleet& fleet, std::string_view method, CallOptions options = {}) {
    return code_of(fleet->call(method, bytes(kPayload), options));
  }

  Told told;
};
INSTANTIATE_TEST_SUITE_P(Modes, EachMode, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachMode, a_method_whose_calls_kill_workers_is_refused_and_the_others_are_not) {
  Fleet fleet(with(2, 1h));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(code_of(lose(fleet)), Code::worker_lost);

  const auto refused = fleet->call("hold", bytes(kPayload), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::breaker_open);
  EXPECT_EQ(refused.error().category, Category::resource);
  EXPECT_TRUE(refused.error().context.retryable);
  EXPECT_FALSE(refused.error().context.started);
  EXPECT_EQ(refused.error().context.method, "hold");
  const std::string& message = refused.error().message;
  EXPECT_TRUE(message.starts_with("\"hold\" fails too often (breaker_failures = 2 within breaker_window = 10s), last: thread worker 0 died "
                                  "while it ran \"hold\"; it is tried again in ")) << message;
  EXPECT_TRUE(message.ends_with(" ms")) << message;

  EXPECT_EQ(call(fleet, "echo"), std::nullopt);
  EXPECT_FALSE(fleet->submit("hold", bytes(kPayload), [](Result<Reply>) { ADD_FAILURE(); }, {}));
  EXPECT_EQ(fleet.counters().rejected.get(), 2u);
  EXPECT_EQ(fleet->accepted(), 3u) << "what is refused is not accepted";
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_opened, "hold"));
  EXPECT_EQ(told.count(EventKind::breaker_opened, ""), 0u);
}

TEST_P(EachMode, a_probe_that_succeeds_closes_it) {
  Fleet fleet(with(1, 1ms));
  EXPECT_EQ(code_of(lose(fleet)), Code::worker_lost);
  fleet.release(0);
  EXPECT_TRUE(wait_until([&] { return call(fleet, "hold") != Code::breaker_open; }));
  EXPECT_EQ(call(fleet, "hold"), std::nullopt);
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_closed, "hold"));
  EXPECT_EQ(told.count(EventKind::breaker_probing, "hold"), 1u);
}

TEST_P(EachMode, a_probe_that_fails_opens_it_again) {
  Fleet fleet(with(1, 1ms));
  EXPECT_EQ(code_of(lose(fleet)), Code::worker_lost);
  EXPECT_TRUE(wait_until([&] {
    (void)call(fleet, "hold", {.timeout = 5ms});
    return told.count(EventKind::breaker_opened, "hold") >= 2;  // each refusal lasts 1 ms: it may be a third one by then
  }));
  EXPECT_EQ(told.count(EventKind::breaker_closed, "hold"), 0u);
  fleet.release(0);
}

TEST_P(EachMode, no_more_probes_than_the_option_says_are_let_through_at_once) {
  Options options = with(1, 1ms);
  options.breaker_probes = 2;
  options.workers = 3;
  Fleet fleet(options);
  const auto holding = [&] { return fleet.holding(0) + fleet.holding(1) + fleet.holding(2); };
  ASSERT_TRUE(wait_until([&] { return call(fleet, "hold", {.timeout = 5ms}) == Code::breaker_open; }));
  const std::uint64_t before = holding();

  std::atomic<int> refused{0}, replied{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([&] {
      ASSERT_TRUE(wait_until([&] {
        const auto reply = fleet->call("hold", bytes(kPayload), {});
        if (reply) replied.fetch_add(1);
        return reply.has_value();
      }));
    });
  }
  ASSERT_TRUE(wait_until([&] { return holding() == before + 2; }));
  for (int i = 0; i < 10; ++i) {
    const auto reply = fleet->call("hold", bytes(kPayload), {});
    ASSERT_FALSE(reply);
    EXPECT_TRUE(reply.error().message.ends_with("a call that tries it is on its way")) << reply.error().message;
  }
  for (int slot = 0; slot < 3; ++slot) fleet.release(slot);
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(replied.load(), 2);
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_closed, "hold"));
}

TEST_P(EachMode, a_deadline_that_passes_while_the_call_runs_is_one_failure_also_when_its_late_reply_comes) {
  Fleet fleet(with(2, 1h));
  ASSERT_TRUE(wait_until([&] {
    EXPECT_EQ(call(fleet, "hold", {.timeout = 50ms}), Code::deadline_exceeded);
    return fleet.holding(0) == 1;  // else its worker was not scheduled before the deadline
  }));
  fleet.release(0);
  EXPECT_EQ(call(fleet, "hold"), std::nullopt) << "its late reply came before this one";
  EXPECT_EQ(call(fleet, "hold"), std::nullopt);
  EXPECT_EQ(told.count(EventKind::breaker_opened, "hold"), 0u);
}

// Until whoever moves calls has seen what has been raised before. It reports before it sweeps, so the second report tells of that.
void await_sweep(Fleet& fleet) {
  std::vector<core::DutyCycle::Report> reports;
  for (int report = 0; report < 2; ++report) {
    const std::int64_t asked_ns = ipc::now_ns();
    ASSERT_TRUE(wait_until([&] { return fleet->report(reports).at_ns >= asked_ns; }));
  }
}

TEST_P(EachMode, calls_that_expire_behind_a_slow_one_have_not_failed) {
  Options options = with(1, 1h);
  options.prefetch = 8;
  Fleet fleet(options);
  std::thread slow([&] { EXPECT_EQ(call(fleet, "hold"), std::nullopt); });
  ASSERT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
  std::vector<std::thread> behind;
  for (int i = 0; i < 4; ++i) behind.emplace_back([&] { EXPECT_EQ(call(fleet, "echo", {.timeout = 10ms}), Code::deadline_exceeded); });
  for (std::thread& thread : behind) thread.join();
  EXPECT_EQ(fleet.counters().in_flight_sent.get(), 5u) << "they lay in the lane";
  await_sweep(fleet);  // else their worker may begin one of them before it is revoked
  fleet.release(0);
  slow.join();
  EXPECT_EQ(call(fleet, "echo"), std::nullopt);
  EXPECT_EQ(told.count(EventKind::breaker_opened, "echo"), 0u);
}

TEST_P(EachMode, exceptions_are_answers) {
  Fleet fleet(with(1, 1h));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(call(fleet, "fail"), Code::method_failed);
}

TEST_P(EachMode, an_idempotent_call_that_kills_worker_after_worker_is_one_failure) {
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t incarnation) { return incarnation <= 6 ? Fate{Point::after_start, 0} : Fate{}; };
  Fleet fleet(with(2, 1h), plan);
  const auto first = fleet->call("echo", bytes(kPayload), {.idempotent = true});
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Code::worker_lost);
  EXPECT_EQ(first.error().context.attempts, 3);
  EXPECT_EQ(call(fleet, "echo", {.idempotent = true}), Code::worker_lost);
  EXPECT_EQ(call(fleet, "echo"), Code::breaker_open);
  EXPECT_TRUE(wait_until([&] { return fleet.deaths() == 6; }));
}

TEST_P(EachMode, a_call_whose_deadline_passes_between_two_attempts_is_one_failure) {
  Fleet::Plan plan;
  plan.fate = [](int, std::uint64_t) { return Fate{Point::after_start, 0}; };
  plan.replace = false;
  Fleet fleet(with(1, 1h), plan);
  const auto reply = fleet->call("echo", bytes(kPayload), {.timeout = 50ms, .idempotent = true});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::deadline_exceeded);
  EXPECT_EQ(reply.error().context.attempts, 1);
  EXPECT_TRUE(reply.error().context.started);
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_opened, "echo"));
}

TEST_P(EachMode, the_pools_breaker_counts_the_failures_of_all_methods) {
  Options options = with(0, 1h);
  options.pool_breaker_failures = 2;
  Fleet fleet(options);
  EXPECT_EQ(code_of(lose(fleet)), Code::worker_lost);
  EXPECT_EQ(call(fleet, "echo"), std::nullopt);
  EXPECT_EQ(code_of(fleet->call("sleep", bytes(Sample::make(1, 20, 300'000)), {.timeout = 50ms})), Code::deadline_exceeded);
  ASSERT_TRUE(told.eventually_tells(EventKind::breaker_opened, ""));

  const auto refused = fleet->call("echo", bytes(kPayload), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::breaker_open);
  EXPECT_EQ(refused.error().context.method, "echo");
  EXPECT_TRUE(refused.error().message.starts_with(
      "calls of this pool fail too often (pool_breaker_failures = 2 within breaker_window = 10s), last: \"sleep\" was not answered before its "
      "deadline; it is tried again in ")) << refused.error().message;
}

// --- probes that show nothing ------------------------------------------------------------------------------------------------

class DroppedProbes : public EachMode {
 protected:
  // Half-open for `hold`, the next call of it being the probe.
  static Options half_open(Options options) {
    options.prefetch = 1;
    options.queue_limit = 1;
    return options;
  }
  void open(Fleet& fleet) {
    EXPECT_EQ(code_of(lose(fleet)), Code::worker_lost);
    ASSERT_TRUE(told.eventually_tells(EventKind::breaker_opened, "hold"));
  }
  // The outcome of the first call of `hold` that is not refused.
  static std::optional<Code> probe(Fleet& fleet, CallOptions options = {}) {
    std::optional<Code> code;
    EXPECT_TRUE(wait_until([&] { return (code = call(fleet, "hold", options)) != Code::breaker_open; }));
    return code;
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, DroppedProbes, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(DroppedProbes, that_are_cancelled_give_their_places_back) {
  Fleet fleet(half_open(with(1, 1ms)));
  open(fleet);
  std::stop_source before;
  before.request_stop();
  EXPECT_EQ(probe(fleet, {.stop = before.get_token()}), Code::cancelled);
  ASSERT_TRUE(wait_until([&] { return fleet->queued() == 0; }));

  std::stop_source stop;
  std::thread stops([&] {
    EXPECT_TRUE(wait_until([&] { return fleet.holding(0) == 1; }));
    stop.request_stop();
  });
  EXPECT_EQ(call(fleet, "hold", {.stop = stop.get_token()}), Code::cancelled);
  stops.join();
  ASSERT_TRUE(wait_until([&] { return fleet->queued() == 0; }));
  fleet.release(0);
  EXPECT_EQ(call(fleet, "hold"), std::nullopt);
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_closed, "hold"));
}

TEST_P(DroppedProbes, that_find_the_queue_full_or_no_worker_give_their_places_back) {
  Fleet fleet(half_open(with(1, 1ms)));
  open(fleet);
  // One call runs, one waits.
  std::thread runs([&] { EXPECT_TRUE(fleet->call("sleep", bytes(Sample::make(1, 20, 300'000)), {})); });
  ASSERT_TRUE(wait_until([&] { return fleet.counters().in_flight_sent.get() == 2; }));
  EXPECT_EQ(probe(fleet, {.timeout = 10ms}), Code::deadline_exceeded) << "in the queue";
  ASSERT_TRUE(wait_until([&] { return fleet->queued() == 0; }));
  std::thread waits([&] { EXPECT_TRUE(fleet->call("sleep", bytes(Sample::make(1, 20, 0)), {})); });
  ASSERT_TRUE(wait_until([&] { return fleet->queued() == 1; }));
  EXPECT_EQ(call(fleet, "hold"), Code::queue_full);
  EXPECT_EQ(call(fleet, "hold", {.timeout = 10ms, .when_full = WhenFull::wait}), Code::deadline_exceeded);
  const std::vector<std::byte> too_large(fleet.arena().bytes_total() + 1);
  EXPECT_EQ(code_of(fleet->call("hold", bytes(too_large), {})), Code::payload_too_large);
  runs.join();
  waits.join();
  fleet.release(0);
  EXPECT_EQ(call(fleet, "hold"), std::nullopt);
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_closed, "hold"));
  EXPECT_EQ(told.count(EventKind::breaker_opened, "hold"), 1u);
}

TEST_P(DroppedProbes, of_a_method_that_the_pool_refuses_give_their_places_back) {
  Options options = with(1, 1ms);
  options.pool_breaker_failures = 1;
  Fleet fleet(options);
  EXPECT_EQ(code_of(lose(fleet)), Code::worker_lost);  // opens both
  std::thread probe_of_pool([&] {
    EXPECT_TRUE(wait_until([&] { return call(fleet, "sleep", {}) == std::nullopt; }));
  });
  probe_of_pool.join();
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_closed, ""));
  fleet.release(0);
  EXPECT_EQ(probe(fleet), std::nullopt);
  EXPECT_TRUE(told.eventually_tells(EventKind::breaker_closed, "hold"));
}

// --- everything at once ------------------------------------------------------------------------------------------------------

TEST_P(EachMode, whatever_becomes_of_its_probes_a_breaker_closes_when_the_cause_is_gone) {
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("SAMOVAR_TEST_SEED=" + std::to_string(seed));
  std::atomic<bool> deadly{true};
  Fleet::Plan plan;
  plan.fate = [&](int slot, std::uint64_t incarnation) {
    std::mt19937_64 random(seed ^ incarnation * 7919 ^ static_cast<std::uint64_t>(slot));
    return deadly.load() ? Fate{kDeaths[random() % std::size(kDeaths)], random() % 40} : Fate{};
  };
  Options options = with(2, 1ms);
  options.workers = 2;
  options.queue_limit = 4;
  options.pool_breaker_failures = 3;
  options.breaker_probes = 2;
  Fleet fleet(options, plan);

  for (int round = 0; round < 5; ++round) {
    deadly = true;
    const auto until = std::chrono::steady_clock::now() + 200ms;
    std::vector<std::thread> callers;
    for (unsigned t = 0; t < 4; ++t) {
      callers.emplace_back([&, t] {
        std::mt19937_64 random(seed + t);
        while (std::chrono::steady_clock::now() < until) {
          std::stop_source stop;
          CallOptions each{.timeout = std::chrono::microseconds(random() % 2000), .idempotent = random() % 4 == 0};
          if (random() % 4 == 0) each.when_full = WhenFull::wait;
          if (random() % 4 == 0) each.stop = stop.get_token();
          const char* method = random() % 2 == 0 ? "echo" : "sleep";
          const auto payload = Sample::make(1, 20, static_cast<std::uint32_t>(random() % 300));
          if (random() % 2 == 0) {
            (void)fleet->call(method, bytes(payload), each);
          } else {
            (void)fleet->submit(method, bytes(payload), [](Result<Reply>) {}, each);
            if (random() % 2 == 0) stop.request_stop();
            fleet->poll();
          }
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    deadly = false;
    EXPECT_TRUE(wait_until([&] {
      fleet->poll();
      return call(fleet, "echo") == std::nullopt && call(fleet, "sleep") == std::nullopt && fleet->breakers().all_closed();
    })) << "round " << round;
  }
  EXPECT_GT(told.count(EventKind::breaker_opened, "echo") + told.count(EventKind::breaker_opened, "sleep") + told.count(EventKind::breaker_opened, ""), 0u);
  fleet.finish();
  EXPECT_EQ(fleet->accepted(), fleet.counters().outcomes());
}

}  // namespace
}  // namespace samovar::test
