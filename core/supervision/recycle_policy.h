// RecyclePolicy: which worker has lived long enough. Pure.
//
// Workers that are equally loaded reach equal limits together. So each has its own: the first the whole limit, the others less, in
// equal steps down to four fifths. A random spread does not keep them apart. That two are never out at once does not depend on it:
// a worker is recycled only while all are in.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace samovar::core {

struct RecycleLimits {  // 0: none
  std::uint64_t calls = 0;
  std::int64_t age_ns = 0;
  std::uint64_t memory_bytes = 0;
  std::int64_t idle_ns = 0;
};

struct WorkerUse {
  unsigned seat = 0;              // its place among `seats` workers
  std::uint64_t calls = 0;
  std::int64_t age_ns = 0;
  std::uint64_t memory_bytes = 0;
  std::int64_t idle_ns = 0;       // since its last call; 0 where it is busy or has had none
};

template <typename T>
constexpr T limit_of_seat(T limit, unsigned seat, unsigned seats) {
  return seats < 2 ? limit : limit - static_cast<T>(limit / 5 / seats * seat);
}

// Why the worker is to be recycled, or nothing.
constexpr std::optional<std::string_view> recycle_reason(const RecycleLimits& limits, const WorkerUse& use, unsigned seats) {
  const auto reached = [&](auto limit, auto value) { return limit > 0 && value >= limit_of_seat(limit, use.seat, seats); };
  if (reached(limits.calls, use.calls)) return "calls";
  if (reached(limits.memory_bytes, use.memory_bytes)) return "memory";
  if (reached(limits.age_ns, use.age_ns)) return "age";
  if (limits.idle_ns > 0 && use.idle_ns >= limits.idle_ns) return "idle";
  return std::nullopt;
}

}  // namespace samovar::core
