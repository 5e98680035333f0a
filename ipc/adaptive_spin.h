// AdaptiveSpin: how long a waiter spins before it parks. A busy pool spins and an idle one costs no CPU.
//
// The budget follows a moving average of how long the waits have been: four times the average, at most `max_ns`; where waits
// are longer than `max_ns` on average spinning would not catch them, so the budget falls to nothing and every sleep that
// turns out short raises it again. One owner, no sharing.
//
// Beside a payload of megabytes a wait is longer, since the peer reads or writes them meanwhile, and it is worth as much time: spinning
// for as long as moving them takes at most doubles what they cost, and saves two wake-ups of a call. Such waits have an average of their own.
#pragma once

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "ipc/clock.h"
#include "ipc/fence.h"

namespace samovar::ipc {

class AdaptiveSpin {
 public:
  explicit AdaptiveSpin(std::int64_t max_ns) : max_ns_(max_ns) {}

  // Spins until `done()`, the budget is used up, or `keep_on()` says no (asked once in a block of looks).
  // `payload_bytes`: what the peer reads, or writes, meanwhile. Returns whether done. A wait that ends within the first block reads no clock.
  template <typename Done, typename KeepOn>
  bool spin(Done&& done, KeepOn&& keep_on, std::uint64_t payload_bytes = 0) {
    payload_bytes_ = payload_bytes;
    for (int look = 0; look < kFirstBlock; ++look) {
      if (done()) {
        settle(0);
        return true;
      }
    }
    begin_ns_ = now_ns();
    const std::int64_t budget_ns = budget();
    for (std::int64_t waited_ns = 0; waited_ns < budget_ns && keep_on(); waited_ns = now_ns() - begin_ns_) {
      // Where the kernel has put the peer on this very CPU, it runs now and not when the budget is used up. Beside a payload that would
      // not end the wait, and somebody else who runs here may keep the CPU for milliseconds: a sleeper is let in sooner than who yields.
      if (waited_ns > kYieldAfterNs && !beside_payload()) sched_yield();
      for (int look = 0; look < kBlock; ++look) {
        if (done()) {
          settle(now_ns() - begin_ns_);
          return true;
        }
        if (waited_ns > kYieldAfterNs) cpu_pause();
      }
    }
    return false;
  }

  // After a sleep that followed a spin() in vain. What sleeping itself cost, on both sides, is not the peer's pace: counted
  // in, two sides that have once begun to sleep would keep each other from ever spinning again.
  void slept() { settle(std::max<std::int64_t>(0, now_ns() - begin_ns_ - 2 * kWakeNs)); }

  std::int64_t budget() const {
    const std::int64_t average_ns = average_ns_[beside_payload()];
    return average_ns > longest_ns() ? 0 : std::min(longest_ns(), kBudgetMinNs + 4 * average_ns);
  }

 private:
  // Looks without a clock between them: a clock reading is 22 ns in which nothing is seen. The first block outlasts a call.
  static constexpr int kFirstBlock = 1024;
  static constexpr int kBlock = 256;
  static constexpr std::int64_t kBudgetMinNs = 5'000;
  static constexpr std::int64_t kYieldAfterNs = 20'000;
  static constexpr std::int64_t kWakeNs = 50'000;  // a futex wake across cores: 38 us on a VM, 3 us without one

  static constexpr std::uint64_t kPayloadBytesMin = 1 << 20;
  static constexpr std::uint64_t kPayloadBytesPerNs = 16;  // a core reads or writes them so fast at best
  static constexpr std::int64_t kBesidePayloadMaxNs = 1'000'000;  // of more than that a wake-up is a small part

  bool beside_payload() const { return payload_bytes_ >= kPayloadBytesMin; }
  std::int64_t longest_ns() const {
    if (!beside_payload() || max_ns_ == 0) return max_ns_;
    return max_ns_ + std::min(static_cast<std::int64_t>(payload_bytes_ / kPayloadBytesPerNs), kBesidePayloadMaxNs);
  }

  void settle(std::int64_t waited_ns) {
    // A single long pause must not end the spinning of a busy pool: it counts for at most 4 * max.
    std::int64_t& average_ns = average_ns_[beside_payload()];
    average_ns += (std::min(waited_ns, 4 * longest_ns()) - average_ns) / 8;
  }

  std::int64_t max_ns_;
  std::array<std::int64_t, 2> average_ns_{};  // of waits beside no payload, and beside one
  std::uint64_t payload_bytes_ = 0;
  std::int64_t begin_ns_ = 0;
};

}  // namespace samovar::ipc
