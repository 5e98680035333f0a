// Small calls allocate nothing in the host after warm-up. Counts malloc itself, in all threads of this process.
#include <execinfo.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/stress.h"
#include "tests/support/pools.h"

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

std::atomic<bool> counting{false};
std::atomic<std::uint64_t> allocations{0};

// Who allocated first, to be told where a test fails: addr2line -Cfe BINARY ADDRESS.
constexpr int kFrames = 16;
void* first_culprit[kFrames];
std::atomic<int> first_frames{0};

void count() {
  if (!counting.load(std::memory_order_relaxed)) return;
  if (allocations.fetch_add(1, std::memory_order_relaxed) == 0) first_frames = backtrace(first_culprit, kFrames);
}

}  // namespace

// operator new comes here, too.
extern "C" {
void* malloc(std::size_t size) { return count(), __libc_malloc(size); }
void* calloc(std::size_t n, std::size_t size) { return count(), __libc_calloc(n, size); }
void* realloc(void* old, std::size_t size) { return count(), __libc_realloc(old, size); }
void* memalign(std::size_t alignment, std::size_t size) { return count(), __libc_memalign(alignment, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) { return count(), __libc_memalign(alignment, size); }
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  count();
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : 12;
}
}

namespace samovar::test {
namespace {

constexpr int kCalls = 100'000;
constexpr int kWarmUp = 20'000;

template <typename Work>
std::uint64_t allocations_in(Work&& work) {
  first_frames = backtrace(first_culprit, kFrames);  // the first time, this itself allocates
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}

template <typename Work>
void expect_no_allocation(Work&& work) {
  EXPECT_EQ(allocations_in(work), 0u);
  if (allocations > 0) backtrace_symbols_fd(first_culprit, first_frames, STDERR_FILENO);
}

class Allocations : public testing::Test {
 protected:
  // Each thread's first call that goes through the inbox makes the thread's part of it. Most calls go past the inbox, so a
  // plain warm-up may not; those with a stop_token never do.
  void warm_up_inbox() {
    std::stop_source stop;
    for (int i = 0; i < 2000; ++i) ASSERT_TRUE(pool.call("echo", {}, {.stop = stop.get_token()}));
  }

  Pool pool = start(options("stress.py"));
  const std::string payload = std::string(64, 'x');
};

TEST_F(Allocations, are_counted) {
  EXPECT_GE(allocations_in([] { std::vector<std::string> some(100, std::string(100, 'x')); }), 100u);
}

TEST_F(Allocations, of_calls_with_bytes_are_none) {
  const auto call = [&] { return pool.call("echo", bytes(payload.data(), payload.size())).has_value(); };
  for (int i = 0; i < kWarmUp; ++i) ASSERT_TRUE(call());
  int failed = 0;
  expect_no_allocation([&] {
    for (int i = 0; i < kCalls; ++i) failed += !call();
  });
  EXPECT_EQ(failed, 0);
}

TEST_F(Allocations, of_calls_with_text_are_none) {
  const auto call = [&] { return pool.call("echo", text(payload)).has_value(); };
  for (int i = 0; i < kWarmUp; ++i) ASSERT_TRUE(call());
  int failed = 0;
  expect_no_allocation([&] {
    for (int i = 0; i < kCalls; ++i) failed += !call();
  });
  EXPECT_EQ(failed, 0);
}

TEST_F(Allocations, of_typed_calls_are_none) {
  const auto last_of = pool.method<std::int64_t(std::string_view, std::int64_t)>("last_of");
  ASSERT_TRUE(last_of) << last_of.error()->to_string();
  const auto call = [&] { return last_of("EURUSD", 1'000'000) == 1'000'000; };
  for (int i = 0; i < kWarmUp; ++i) ASSERT_TRUE(call());
  int failed = 0;
  expect_no_allocation([&] {
    for (int i = 0; i < kCalls; ++i) failed += !call();
  });
  EXPECT_EQ(failed, 0);
}

TEST_F(Allocations, of_awaited_calls_are_none_but_the_coroutine) {
  int done = 0;
  bool ended = false;
  const auto run = [&](int calls) -> Detached {
    for (int i = 0; i < calls; ++i) done += (co_await pool.async_call("echo", bytes(payload.data(), payload.size()))).has_value();
    ended = true;
  };
  const auto finish = [&] {
    while (!ended) pool.poll();
    ended = false;
  };
  warm_up_inbox();
  run(kWarmUp);
  finish();
  done = 0;
  run(kCalls);  // the frame is made before it counts
  expect_no_allocation(finish);
  EXPECT_EQ(done, kCalls);
}

TEST_F(Allocations, of_submitted_calls_are_none) {
  int done = 0;
  const auto run = [&](int calls) {
    const int end = done + calls;
    for (int sent = done; done < end;) {
      if (sent < end && sent - done < 32) {
        (void)pool.submit("echo", bytes(payload.data(), payload.size()), [&done](Result<Reply>) { ++done; });
        ++sent;
      } else {
        pool.poll();
      }
    }
  };
  warm_up_inbox();
  run(kWarmUp);
  expect_no_allocation([&] { run(kCalls); });
}

TEST_F(Allocations, of_calls_from_many_threads_are_none) {
  constexpr int kThreads = 4;
  std::atomic<int> warm = 0, done = 0, failed = 0;
  std::atomic<bool> go = false, end = false;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      const auto call = [&] { failed += !pool.call("echo", bytes(payload.data(), payload.size())).has_value(); };
      warm_up_inbox();
      for (int i = 0; i < kWarmUp / kThreads; ++i) call();
      ++warm;
      while (!go) std::this_thread::yield();
      for (int i = 0; i < kCalls / kThreads; ++i) call();
      ++done;
      while (!end) std::this_thread::yield();  // a thread that ends allocates
    });
  }
  while (warm < kThreads) std::this_thread::yield();
  expect_no_allocation([&] {
    go = true;
    while (done < kThreads) std::this_thread::yield();
  });
  end = true;
  threads.clear();
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace samovar::test
