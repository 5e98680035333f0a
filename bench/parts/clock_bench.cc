// Question: what do the small things cost that stand on the way of every call? Time, fences, and taking a token.
#include <atomic>

#include <benchmark/benchmark.h>

#include "ipc/clock.h"
#include "ipc/fence.h"

namespace samovar::bench {
namespace {

void now(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(ipc::now_ns());
}
BENCHMARK(now);

void coarse_now(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(ipc::coarse_now_ns());
}
BENCHMARK(coarse_now);

// A deadline of a call: far away, so the coarse clock decides.
void has_passed_far(benchmark::State& state) {
  const std::int64_t deadline_ns = ipc::now_ns() + std::int64_t{3'600'000'000'000};
  for (auto _ : state) benchmark::DoNotOptimize(ipc::has_passed(deadline_ns));
}
BENCHMARK(has_passed_far);

// One that is due: both clocks are read.
void has_passed_due(benchmark::State& state) {
  const std::int64_t deadline_ns = ipc::now_ns();
  for (auto _ : state) benchmark::DoNotOptimize(ipc::has_passed(deadline_ns));
}
BENCHMARK(has_passed_due);

// With a store before it to wait for, as in every duty cycle; beside the store alone.
void store(benchmark::State& state) {
  std::atomic<std::uint64_t> word{0};
  std::uint64_t value = 0;
  for (auto _ : state) {
    word.store(++value, std::memory_order_release);
    benchmark::DoNotOptimize(word);
  }
}
BENCHMARK(store);

void store_and_fence(benchmark::State& state) {
  std::atomic<std::uint64_t> word{0};
  std::uint64_t value = 0;
  for (auto _ : state) {
    word.store(++value, std::memory_order_release);
    ipc::store_load_fence();
    benchmark::DoNotOptimize(word);
  }
}
BENCHMARK(store_and_fence);

void pause(benchmark::State& state) {
  for (auto _ : state) ipc::cpu_pause();
}
BENCHMARK(pause);

// Taking and leaving the dispatch token when nobody else wants it.
void uncontended_cas(benchmark::State& state) {
  std::atomic<std::uint32_t> token{0};
  for (auto _ : state) {
    std::uint32_t free = 0;
    benchmark::DoNotOptimize(token.compare_exchange_strong(free, 1, std::memory_order_acquire));
    token.store(0, std::memory_order_release);
  }
}
BENCHMARK(uncontended_cas);

}  // namespace
}  // namespace samovar::bench
