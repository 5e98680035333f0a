// submit(), poll() and completion_fd(): the pool inside a service's own event loop.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ipc/unique_fd.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kPatienceMs = 20'000;

// A service's loop: it sleeps on the pool's descriptor, and only when poll() has found nothing. False: nothing came for the
// whole of its patience although something had to.
template <typename Done>
[[nodiscard]] bool run_loop(Pool& pool, Done&& done) {
  const ipc::UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event wanted{.events = EPOLLIN, .data = {.fd = pool.completion_fd()}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, pool.completion_fd(), &wanted) != 0) return false;
  while (!done()) {
    if (pool.poll() > 0) continue;
    if (done()) break;
    epoll_event event;
    if (epoll_wait(epoll.get(), &event, 1, kPatienceMs) == 0) return false;
  }
  return true;
}

class EventLoop : public testing::TestWithParam<Dispatcher> {
 protected:
  static Options with(Dispatcher dispatcher, unsigned workers = 1) {
    Options chosen = options();
    chosen.dispatcher = dispatcher;
    chosen.workers = workers;
    return chosen;
  }
};

INSTANTIATE_TEST_SUITE_P(, EventLoop, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EventLoop, one_call_at_a_time_is_never_slept_over) {
  Pool pool = start(with(GetParam()));
  int done = 0;
  for (int call = 0; call < 300; ++call) {
    ASSERT_TRUE(pool.submit("echo", value(call), [&, call](Result<Reply> reply) {
      EXPECT_EQ(if_integer(reply), call);
      ++done;
    }));
    ASSERT_TRUE(run_loop(pool, [&] { return done == call + 1; })) << call;
  }
}

TEST_P(EventLoop, calls_that_take_longer_than_any_spin_wake_the_descriptor) {
  Pool pool = start(with(GetParam()));
  int done = 0;
  for (int call = 0; call < 10; ++call) {
    ASSERT_TRUE(pool.submit("sleep", value(0.01), [&](Result<Reply> reply) {
      EXPECT_TRUE(reply);
      ++done;
    }));
    ASSERT_TRUE(run_loop(pool, [&] { return done == call + 1; })) << call;
  }
}

TEST_P(EventLoop, many_calls_are_kept_going_from_inside_their_callbacks) {
  constexpr int kCalls = 3000;
  Pool pool = start(with(GetParam(), 2));
  int sent = 0, done = 0;
  std::vector<int> outcomes(kCalls);
  std::function<void()> send = [&] {
    const int call = sent++;
    const auto submitted = pool.submit("echo", value(call), [&, call](Result<Reply> reply) {
      EXPECT_EQ(if_integer(reply), call);
      ++outcomes[static_cast<std::size_t>(call)];
      ++done;
      if (sent < kCalls) send();
    });
    ASSERT_TRUE(submitted) << submitted.error().to_string();
  };
  for (int i = 0; i < 32; ++i) send();

  ASSERT_TRUE(run_loop(pool, [&] { return done == kCalls; })) << done;
  EXPECT_EQ(outcomes, std::vector<int>(kCalls, 1)) << "each callback runs once";
}

TEST_P(EventLoop, deadlines_wake_the_descriptor) {
  Pool pool = start(with(GetParam()));
  Gate gate;
  int done = 0;
  const auto begin = Clock::now();
  ASSERT_TRUE(pool.submit(
      "wait_at", text(gate.path()),
      [&](Result<Reply> reply) {
        EXPECT_EQ(code_of(reply), Code::deadline_exceeded);
        ++done;
      },
      {.timeout = 30ms}));
  ASSERT_TRUE(run_loop(pool, [&] { return done == 1; }));
  EXPECT_GE(Clock::now() - begin, 29ms);
  EXPECT_LE(Clock::now() - begin, 100ms);
  gate.open();
}

TEST_P(EventLoop, a_stop_from_another_thread_wakes_the_descriptor) {
  Pool pool = start(with(GetParam()));
  Gate gate;
  std::stop_source stop;
  int done = 0;
  ASSERT_TRUE(pool.submit(
      "wait_at", text(gate.path()),
      [&](Result<Reply> reply) {
        EXPECT_EQ(code_of(reply), Code::cancelled);
        ++done;
      },
      {.stop = stop.get_token()}));
  std::jthread stopper([&] { stop.request_stop(); });
  ASSERT_TRUE(run_loop(pool, [&] { return done == 1; }));
  gate.open();
}

TEST_P(EventLoop, a_workers_death_wakes_the_descriptor) {
  Pool pool = start(with(GetParam()));
  int done = 0;
  ASSERT_TRUE(pool.submit("die", value(1), [&](Result<Reply> reply) {
    EXPECT_EQ(code_of(reply), Code::worker_lost);
    ++done;
  }));
  ASSERT_TRUE(run_loop(pool, [&] { return done == 1; }));
  ASSERT_TRUE(pool.submit("echo", {}, [&](Result<Reply> reply) {
    EXPECT_TRUE(reply);
    ++done;
  }));
  ASSERT_TRUE(run_loop(pool, [&] { return done == 2; })) << "its successor does not wake the descriptor";
}

TEST_P(EventLoop, callbacks_run_inside_poll_and_nowhere_else) {
  Pool pool = start(with(GetParam()));
  const std::thread::id loop = std::this_thread::get_id();
  std::atomic<int> done = 0;
  bool polling = false;
  const auto in_poll = [&](Result<Reply>) {
    EXPECT_EQ(std::this_thread::get_id(), loop);
    EXPECT_TRUE(polling);
    ++done;
  };
  for (int call = 0; call < 10; ++call) ASSERT_TRUE(pool.submit("echo", {}, in_poll));
  if (GetParam() != Dispatcher::manual) {
    // Other threads that wait in call() do the work; the callbacks still wait for poll().
    std::jthread([&] {
      for (int call = 0; call < 20; ++call) EXPECT_TRUE(pool.call("echo"));
    }).join();
  }
  ASSERT_TRUE(wait_until([&] { return pool.stats().replied >= 10; })) << "the supervisor sees to calls that nobody polls for";
  EXPECT_EQ(done, 0);

  polling = true;
  ASSERT_TRUE(run_loop(pool, [&] { return done == 10; }));
}

TEST_P(EventLoop, an_idle_pool_leaves_its_descriptor_quiet) {
  Pool pool = start(with(GetParam()));
  int done = 0;
  ASSERT_TRUE(pool.submit("echo", {}, [&](Result<Reply>) { ++done; }));
  ASSERT_TRUE(run_loop(pool, [&] { return done == 1; }));

  // The last wake-up may still lie there; poll() takes it. Then there is silence.
  int awake = 0;
  for (int look = 0; look < 10; ++look) {
    while (pool.poll() > 0) {
    }
    pollfd readable{pool.completion_fd(), POLLIN, 0};
    awake += poll(&readable, 1, 20) > 0;
  }
  EXPECT_LE(awake, 2);
}

TEST_P(EventLoop, submit_works_beside_threads_that_call) {
  Pool pool = start(with(GetParam(), 2));
  std::atomic<bool> stop = false;
  std::vector<std::jthread> callers;
  if (GetParam() != Dispatcher::manual) {
    for (int thread = 0; thread < 3; ++thread) {
      callers.emplace_back([&, thread] {
        for (int call = 0; !stop; ++call) {
          if (if_integer(pool.call("echo", value(thread * 1'000'000 + call))) != thread * 1'000'000 + call) ADD_FAILURE();
        }
      });
    }
  }
  int done = 0;
  for (int call = 0; call < 500; ++call) {
    ASSERT_TRUE(pool.submit("echo", value(-call), [&, call](Result<Reply> reply) {
      EXPECT_EQ(if_integer(reply), -call);
      ++done;
    }));
    ASSERT_TRUE(run_loop(pool, [&] { return done == call + 1; })) << call;
  }
  stop = true;
}

TEST_P(EventLoop, callbacks_may_own_what_cannot_be_copied_and_what_is_large) {
  Pool pool = start(with(GetParam()));
  auto owned = std::make_unique<int>(7);
  std::array<char, 200> large{};
  large[199] = 'x';
  int done = 0;
  ASSERT_TRUE(pool.submit("echo", {}, [&done, owned = std::move(owned)](Result<Reply>) { done += *owned; }));
  ASSERT_TRUE(pool.submit("echo", {}, [&done, large](Result<Reply>) { done += large[199] == 'x'; }));
  ASSERT_TRUE(run_loop(pool, [&] { return done == 8; }));
}

TEST(EventLoops, several_threads_may_poll_one_pool) {
  Options chosen = options();
  chosen.workers = 2;
  Pool pool = start(chosen);
  constexpr int kCalls = 4000;
  std::atomic<int> done = 0, failed = 0;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int call = 0; call < kCalls / 4; ++call) {
        const auto submitted = pool.submit(
            "echo", value(call),
            [&, call](Result<Reply> reply) {
              if (if_integer(reply) != call) ++failed;
              ++done;
            },
            {.when_full = WhenFull::wait});
        if (!submitted) ++failed;
        pool.poll();
      }
      // Not asleep on the descriptor: the last callback may run in another thread, and wakes nobody.
      EXPECT_TRUE(wait_until([&] { return pool.poll(), done == kCalls; })) << done;
    });
  }
  threads.clear();
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace samovar::test
