#include "bench/whole/churn.h"

#include <atomic>
#include <cmath>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "ipc/clock.h"

namespace samovar::bench {
namespace {

constexpr int kThreads = 4;
constexpr std::uint64_t kFillPerThread = 8;  // a part of the arena
constexpr double kSizeExponentMin = 12;      // 4 KiB
constexpr double kSizeExponentMax = 24;      // 16 MiB

struct Shared {
  Pool& pool;
  std::int64_t end_ns;
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::uint64_t> refused{0};
  std::mutex mutex;
  std::string error;  // guarded by mutex
};

void churn(Shared& shared, unsigned seed) {
  struct Held {
    Reply reply;  // its memory is its argument's
    std::uint64_t bytes;
  };
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(kSizeExponentMin, kSizeExponentMax);
  std::vector<Held> held;
  std::uint64_t held_bytes = 0;
  const std::uint64_t held_max = shared.pool.options().request_arena_bytes / kFillPerThread;
  while (ipc::now_ns() < shared.end_ns) {
    const auto bytes = static_cast<std::uint64_t>(std::exp2(exponent(random)));
    while (held_bytes + bytes > held_max && !held.empty()) {
      const std::size_t victim = random() % held.size();
      held_bytes -= held[victim].bytes;
      std::swap(held[victim], held.back());
      held.pop_back();
    }
    Result<Loan> loan = shared.pool.loan(bytes);
    if (!loan) {
      shared.refused.fetch_add(1);
      continue;
    }
    loan->span().front() = loan->span().back() = std::byte{1};
    Result<Reply> reply = shared.pool.call("noop", std::move(*loan));
    if (!reply || reply->data().size() != bytes) {
      const std::lock_guard lock(shared.mutex);
      shared.error = reply ? "a reply of another size" : reply.error().to_string();
      return;
    }
    held.push_back({std::move(*reply), bytes});
    held_bytes += bytes;
    shared.calls.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace

Made<Churn> measure_churn(Pool& pool, std::chrono::seconds window) {
  const std::int64_t begin_ns = ipc::now_ns();
  const std::int64_t window_ns = std::chrono::nanoseconds(window).count();
  Shared shared{.pool = pool, .end_ns = begin_ns + window_ns, .mutex = {}, .error = {}};
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back([&shared, i] { churn(shared, i + 1); });

  Churn result{.window = window};
  double filled = 0;
  int looks = 0;
  while (ipc::now_ns() < shared.end_ns) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const Stats stats = pool.stats();
    if (ipc::now_ns() > begin_ns + window_ns / 4) {
      if (result.resident_quarter == 0) result.resident_quarter = stats.request_arena_resident;
      filled += static_cast<double>(stats.request_arena_in_use);
      ++looks;
    }
    if (ipc::now_ns() < shared.end_ns) result.resident_end = stats.request_arena_resident;
  }
  threads.clear();
  if (!shared.error.empty()) return tl::unexpected(shared.error);
  result.calls = shared.calls;
  result.refused = shared.refused;
  result.per_s = static_cast<double>(result.calls) / (static_cast<double>(ipc::now_ns() - begin_ns) / 1e9);
  if (looks > 0) result.fill = filled / looks / static_cast<double>(pool.options().request_arena_bytes);
  return result;
}

}  // namespace samovar::bench
