// Question: what does it cost to hand bytes over to another core: copied there by memcpy() or past the caches, and read there?
// One buffer, used again and again, as a block of an arena is: what the other core has just read is written here. Two pinned threads.
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include <benchmark/benchmark.h>

#include "ipc/copy_for_peer.h"
#include "ipc/huge_pages.h"

namespace samovar::bench {
namespace {

using Bytes = std::unique_ptr<std::byte[], decltype(&std::free)>;

Bytes ones(std::size_t size) {
  Bytes bytes(static_cast<std::byte*>(std::aligned_alloc(ipc::kHugePageBytes, (size + ipc::kHugePageBytes - 1) / ipc::kHugePageBytes * ipc::kHugePageBytes)), &std::free);
  std::memset(bytes.get(), 1, size);
  return bytes;
}

// One load of each line, as fast as they come.
std::uint64_t read_lines(const std::byte* bytes, std::size_t size) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < size; at += 64) {
    std::uint64_t word;
    std::memcpy(&word, bytes + at, sizeof word);
    sum += word;
  }
  return sum;
}

void pin_to(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

template <typename Copy>
void hand_over(benchmark::State& state, Copy copy) {
  if (std::thread::hardware_concurrency() < 2) {
    state.SkipWithError("two CPUs are needed");
    return;
  }
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  const auto size = static_cast<std::size_t>(state.range(0));
  const Bytes source = ones(size);
  const Bytes target = ones(size);
  struct Lines {
    alignas(128) std::atomic<std::uint64_t> there{0};
    alignas(128) std::atomic<std::uint64_t> back{0};
  } lines;
  constexpr std::uint64_t kStop = ~std::uint64_t{0};
  std::thread reader([&] {
    pin_to(1);
    for (std::uint64_t seen = 0, now = 0; now != kStop; seen = now) {
      while ((now = lines.there.load(std::memory_order_acquire)) == seen) {
      }
      benchmark::DoNotOptimize(read_lines(target.get(), size));
      lines.back.store(now, std::memory_order_release);
    }
  });
  pin_to(0);
  std::uint64_t value = 0;
  for (auto _ : state) {
    copy(target.get(), source.get(), size);
    lines.there.store(++value, std::memory_order_release);
    while (lines.back.load(std::memory_order_acquire) != value) {
    }
  }
  lines.there.store(kStop, std::memory_order_release);
  reader.join();
  sched_setaffinity(0, sizeof before, &before);
}

void by_memcpy(std::byte* out, const std::byte* in, std::size_t size) { std::memcpy(out, in, size); }
void for_peer(std::byte* out, const std::byte* in, std::size_t size) { ipc::copy_for_peer(out, {in, size}); }

BENCHMARK_CAPTURE(hand_over, by_memcpy, by_memcpy)->Arg(16 << 10)->Arg(64 << 10)->Arg(256 << 10)->Arg(1 << 20)->Arg(8 << 20)->UseRealTime();
BENCHMARK_CAPTURE(hand_over, for_peer, for_peer)->Arg(16 << 10)->Arg(64 << 10)->Arg(256 << 10)->Arg(1 << 20)->Arg(8 << 20)->UseRealTime();

}  // namespace
}  // namespace samovar::bench
