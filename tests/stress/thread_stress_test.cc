// Random mixes of everything at once, with thread workers that die: each accepted call gets one outcome, and the right one.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
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

struct Mix {
  const char* name;
  Dispatcher dispatcher;
  unsigned workers;
  std::uint32_t prefetch;
  int callers;
  int submitters;
  bool deaths;
  bool cancels;
  bool timeouts;
  std::uint32_t queue_limit;
  std::chrono::nanoseconds spin_max;
  std::uint32_t lane_bytes = 64 * 1024;
  bool large = false;  // payloads and replies in arenas that hold a few of them
};

struct Tally {
  std::atomic<std::uint64_t> replied{0}, lost{0}, timed_out{0}, cancelled{0}, full{0}, stopped{0}, exhausted{0}, wrong{0};

  std::uint64_t outcomes() const { return replied + lost + timed_out + cancelled + stopped; }

  void count(const Result<Reply>& result, std::string_view method, std::span<const std::byte> payload) {
    if (result) {
      replied.fetch_add(1);
      const bool right = method == "keep"   ? result->data().empty()
                         : method == "same" ? std::ranges::equal(result->data(), payload)
                                            : Sample::is_reply_to(result->data(), payload);
      if (!right) wrong.fetch_add(1);
      return;
    }
    switch (result.error().code) {
      case Code::worker_lost: lost.fetch_add(1); break;
      case Code::deadline_exceeded: timed_out.fetch_add(1); break;
      case Code::cancelled: cancelled.fetch_add(1); break;
      case Code::pool_stopped: stopped.fetch_add(1); break;
      case Code::queue_full: full.fetch_add(1); break;
      case Code::resource_exhausted: exhausted.fetch_add(1); break;
      default: wrong.fetch_add(1);
    }
  }
};

constexpr std::uint64_t kNumbersMax = 1 << 20;

class RandomMix : public testing::TestWithParam<Mix> {};

TEST_P(RandomMix, every_accepted_call_has_one_right_outcome) {
  const Mix& mix = GetParam();
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("SAMOVAR_TEST_SEED=" + std::to_string(seed));

  const auto ran = std::make_unique<std::atomic<std::uint8_t>[]>(kNumbersMax);  // how often each call's handler began
  auto options = fleet_options(mix.workers, mix.dispatcher);
  options.prefetch = mix.prefetch;
  options.queue_limit = mix.queue_limit;
  options.spin_max = mix.spin_max;
  options.lane_bytes = mix.lane_bytes;
  options.inline_bytes_max = std::min(4096u, mix.lane_bytes / 8);
  if (mix.large) options.request_arena_bytes = options.response_arena_bytes = 1 << 20;
  Fleet::Plan plan;
  plan.on_run = [&](std::uint64_t, std::span<const std::byte> payload) { ran[Sample::number(payload)].fetch_add(1); };
  if (mix.deaths) {
    plan.fate = [&](int slot, std::uint64_t incarnation) {
      std::mt19937_64 random(seed ^ incarnation * 7919 ^ static_cast<std::uint64_t>(slot));
      return Fate{kDeaths[random() % std::size(kDeaths)], random() % 60};
    };
  }
  Fleet fleet(options, plan);

  Tally tally;
  std::atomic<std::uint64_t> next_number{0};
  std::vector<std::uint8_t> idempotent(kNumbersMax);  // one writer each
  const auto until = std::chrono::steady_clock::now() + 2s;

  struct Request {
    std::uint64_t number;
    const char* method;
    std::vector<std::byte> payload;
    CallOptions options;
    std::shared_ptr<std::stop_source> stop;
  };
  const auto make = [&](std::mt19937_64& random) {
    Request request;
    request.number = next_number.fetch_add(1) % kNumbersMax;
    const bool sleeps = random() % 8 == 0;
    request.method = sleeps ? "sleep" : "echo";
    if (mix.large && !sleeps) request.method = std::array{"echo", "same", "keep"}[random() % 3];
    const std::size_t size_max = mix.large ? 100'000 : options.inline_bytes_max - 16;
    const std::size_t size = random() % (mix.large ? 2 : 16) == 0 ? random() % size_max + 12 : 12 + random() % 150;
    request.payload = Sample::make(request.number, size, sleeps ? static_cast<std::uint32_t>(random() % 400) : 0);
    if (mix.timeouts && random() % 4 == 0) request.options.timeout = std::chrono::microseconds(random() % 2000);
    if (mix.cancels && random() % 4 == 0) {
      request.stop = std::make_shared<std::stop_source>();
      request.options.stop = request.stop->get_token();
    }
    if (random() % 2 == 0) request.options.when_full = WhenFull::wait;
    if (random() % 8 == 0) request.options.idempotent = true;
    idempotent[request.number] = request.options.idempotent;
    return request;
  };

  // Somebody stops what others run.
  std::mutex stops_mutex;
  std::vector<std::shared_ptr<std::stop_source>> stops;
  std::atomic<bool> ending{false};
  std::thread stopper([&] {
    while (!ending.load()) {
      std::vector<std::shared_ptr<std::stop_source>> taken;
      {
        std::lock_guard lock(stops_mutex);
        taken.swap(stops);
      }
      for (const auto& stop : taken) stop->request_stop();
      std::this_thread::sleep_for(200us);
    }
  });
  const auto announce = [&](const Request& request) {
    if (!request.stop) return;
    std::lock_guard lock(stops_mutex);
    stops.push_back(request.stop);
  };

  std::vector<std::thread> threads;
  for (int t = 0; t < mix.callers; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<std::uint64_t>(t));
      while (std::chrono::steady_clock::now() < until) {
        const Request request = make(random);
        announce(request);
        const auto reply = fleet->call(request.method, bytes(request.payload), request.options);
        tally.count(reply, request.method, request.payload);
        if (reply && ran[request.number].load() == 0) tally.wrong.fetch_add(1);
      }
    });
  }
  for (int t = 0; t < mix.submitters; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + 1000 + static_cast<std::uint64_t>(t));
      while (std::chrono::steady_clock::now() < until) {
        Request request = make(random);
        const auto times = std::make_shared<std::atomic<int>>(0);
        const auto submitted = fleet->submit(request.method, bytes(request.payload), [&tally, times, method = request.method, payload = request.payload](Result<Reply> got) {
          if (times->fetch_add(1) != 0) tally.wrong.fetch_add(1);
          tally.count(got, method, payload);
        }, request.options);
        if (submitted) {
          announce(request);
        } else {
          tally.count(tl::unexpected(submitted.error()), request.method, {});
          std::this_thread::yield();
        }
      }
    });
  }
  std::thread poller([&] {
    while (!ending.load()) {
      if (fleet->poll() > 0) continue;
      pollfd readable{.fd = fleet.completion_fd(), .events = POLLIN, .revents = 0};
      ::poll(&readable, 1, 20);
    }
  });
  for (auto& thread : threads) thread.join();
  fleet->drain(ipc::now_ns() + 20'000'000'000);
  ending.store(true);
  poller.join();
  stopper.join();
  fleet.finish();
  while (fleet->poll() > 0) {
  }

  EXPECT_EQ(tally.wrong.load(), 0u);
  EXPECT_EQ(tally.stopped.load(), 0u) << "drain gave up on calls";
  EXPECT_EQ(fleet->accepted(), fleet.counters().outcomes());
  EXPECT_EQ(fleet.counters().asynchronous.get(), 0u);
  EXPECT_TRUE(wait_until([&] { return fleet.counters().in_flight_sent.get() == fleet.counters().in_flight_ended.get(); }));
  // What the callers saw is what the pool counted; a call can be refused with a deadline or a stop before it was accepted.
  EXPECT_EQ(tally.replied.load(), fleet.counters().replied.get());
  EXPECT_EQ(tally.lost.load(), fleet.counters().calls_lost.get());
  EXPECT_EQ(tally.outcomes() + tally.full.load() + tally.exhausted.load(), fleet->accepted() + fleet.counters().rejected.get());
  EXPECT_TRUE(wait_until([&] { return fleet.arena().bytes_in_use() == 0; })) << fleet.arena().bytes_in_use() << " bytes are left";
  EXPECT_EQ(fleet.counters().escaped_views(), 0u);
  EXPECT_GT(tally.replied.load(), 100u);
  if (mix.deaths) {
    EXPECT_GT(fleet.deaths(), 3u);
  }
  EXPECT_TRUE(fleet.violations().empty()) << fleet.violations().front();
  const std::uint64_t made = std::min(next_number.load(), kNumbersMax);
  if (next_number.load() <= kNumbersMax) {
    for (std::uint64_t number = 0; number < made; ++number) {
      if (!idempotent[number] && ran[number].load() > 1) {
        ADD_FAILURE() << "call " << number << " ran " << int{ran[number]} << " times";
        break;
      }
    }
  }
  std::printf("seed %llu: %llu calls accepted, %llu replied, %llu lost, %llu late, %llu cancelled, %llu refused; %llu deaths, %llu requeued, %llu taken back\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(fleet->accepted()),
              static_cast<unsigned long long>(tally.replied), static_cast<unsigned long long>(tally.lost),
              static_cast<unsigned long long>(tally.timed_out), static_cast<unsigned long long>(tally.cancelled),
              static_cast<unsigned long long>(fleet.counters().rejected.get()), static_cast<unsigned long long>(fleet.deaths()),
              static_cast<unsigned long long>(fleet.counters().requeued.get()),
              static_cast<unsigned long long>(fleet.counters().taken_back.get()));
}

using enum Dispatcher;

INSTANTIATE_TEST_SUITE_P(
    Mixes, RandomMix,
    testing::Values(Mix{"callers", caller, 2, 0, 8, 0, false, false, false, 1000, 50us},
                    Mix{"callers_that_sleep", caller, 2, 0, 4, 0, false, false, false, 1000, 0ns},
                    Mix{"callers_deaths", caller, 2, 4, 6, 1, true, false, false, 1000, 50us},
                    Mix{"caller_everything", caller, 3, 8, 5, 2, true, true, true, 64, 20us},
                    Mix{"caller_everything_asleep", caller, 2, 4, 4, 1, true, true, true, 16, 0ns},
                    Mix{"manual_submitters", manual, 2, 8, 0, 2, false, false, false, 200, 50us},
                    Mix{"manual_everything", manual, 3, 4, 3, 2, true, true, true, 64, 20us},
                    Mix{"manual_everything_asleep", manual, 2, 4, 3, 1, true, true, true, 16, 0ns},
                    Mix{"pinned_callers", pinned, 2, 0, 6, 0, false, false, false, 1000, 50us},
                    Mix{"pinned_everything", pinned, 3, 8, 4, 2, true, true, true, 64, 20us},
                    Mix{"pinned_everything_asleep", pinned, 2, 4, 3, 1, true, true, true, 16, 0ns},
                    Mix{"tiny_lanes", caller, 2, 64, 4, 2, true, true, true, 256, 20us, 4096},
                    Mix{"tiny_queue", caller, 2, 2, 8, 2, false, true, true, 2, 20us},
                    Mix{"large", caller, 2, 4, 4, 1, false, false, false, 64, 50us, 64 * 1024, true},
                    Mix{"large_everything", caller, 2, 4, 4, 1, true, true, true, 64, 20us, 64 * 1024, true},
                    Mix{"large_everything_pinned_asleep", pinned, 2, 4, 4, 1, true, true, true, 64, 0ns, 64 * 1024, true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace samovar::test
