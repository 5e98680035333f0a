// Question: what does a lane cost, without messages in it: pushed and popped by one thread, and there and back by two?
// The argument of each benchmark is the message in bytes; 112 is a request of 64 bytes, two cache lines.
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include <benchmark/benchmark.h>

#include "ipc/lane.h"

namespace samovar::bench {
namespace {

constexpr std::uint32_t kLaneBytes = 64 * 1024;

// One lane in private memory: the ring, and the reader's position on a line of its own.
struct Lane {
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> ring{static_cast<std::byte*>(std::aligned_alloc(ipc::kPageBytes, kLaneBytes))};
  alignas(128) std::atomic<std::uint64_t> consumed{0};
  std::byte* zeroed = static_cast<std::byte*>(std::memset(ring.get(), 0, kLaneBytes));
  alignas(128) ipc::LaneWriter writer{zeroed, kLaneBytes, consumed};
  alignas(128) ipc::LaneReader reader{zeroed, kLaneBytes, kLaneBytes / 4, consumed};
};

bool push(ipc::LaneWriter& writer, std::uint32_t size, std::uint64_t value) {
  std::byte* room = writer.try_claim(size);
  if (room == nullptr) return false;
  std::memset(room, static_cast<int>(value), size);
  writer.publish();
  return true;
}

bool pop(ipc::LaneReader& reader, std::byte* copy) {
  if (reader.peek() != ipc::Peek::record) return false;
  std::memcpy(copy, reader.message(), reader.size());
  reader.pop();
  reader.publish_consumed();
  return true;
}

void push_pop_one_thread(benchmark::State& state) {
  Lane lane;
  std::byte copy[8192];
  const auto size = static_cast<std::uint32_t>(state.range(0));
  std::uint64_t value = 0;
  for (auto _ : state) {
    push(lane.writer, size, ++value);
    benchmark::DoNotOptimize(pop(lane.reader, copy));
    benchmark::ClobberMemory();
  }
}

void pin_to(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

// Two pinned threads that spin without a pause.
void round_trip_two_threads(benchmark::State& state) {
  if (std::thread::hardware_concurrency() < 2) {
    state.SkipWithError("two CPUs are needed");
    return;
  }
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  Lane there, back;
  const auto size = static_cast<std::uint32_t>(state.range(0));
  std::atomic<bool> stop{false};
  std::thread answerer([&] {
    pin_to(1);
    std::byte copy[8192];
    while (!stop.load(std::memory_order_relaxed)) {
      if (pop(there.reader, copy)) push(back.writer, size, 1);
    }
  });
  pin_to(0);
  std::byte copy[8192];
  for (auto _ : state) {
    push(there.writer, size, 1);
    while (!pop(back.reader, copy)) {
    }
  }
  stop = true;
  answerer.join();
  sched_setaffinity(0, sizeof before, &before);
}

// The floor under it: a line there, a line back, between the same two threads.
void line_round_trip_two_threads(benchmark::State& state) {
  if (std::thread::hardware_concurrency() < 2) {
    state.SkipWithError("two CPUs are needed");
    return;
  }
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  struct Lines {
    alignas(128) std::atomic<std::uint64_t> there{0};
    alignas(128) std::atomic<std::uint64_t> back{0};
  } lines;
  constexpr std::uint64_t kStop = ~std::uint64_t{0};
  std::thread answerer([&] {
    pin_to(1);
    for (std::uint64_t seen = 0, now = 0; now != kStop; seen = now) {
      while ((now = lines.there.load(std::memory_order_acquire)) == seen) {
      }
      lines.back.store(now, std::memory_order_release);
    }
  });
  pin_to(0);
  std::uint64_t value = 0;
  for (auto _ : state) {
    lines.there.store(++value, std::memory_order_release);
    while (lines.back.load(std::memory_order_acquire) != value) {
    }
  }
  lines.there.store(kStop, std::memory_order_release);
  answerer.join();
  sched_setaffinity(0, sizeof before, &before);
}

BENCHMARK(push_pop_one_thread)->Arg(48)->Arg(112)->Arg(4144);
BENCHMARK(line_round_trip_two_threads)->UseRealTime();
BENCHMARK(round_trip_two_threads)->Arg(48)->Arg(112)->Arg(4144)->UseRealTime();

}  // namespace
}  // namespace samovar::bench
