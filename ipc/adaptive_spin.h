// AdaptiveSpin: how long a waiter spins before it parks. A busy pool spins and an idle one costs no CPU.
//
// The budget follows a moving average of how long the waits have been: four times the average, at most `max_ns`; where waits
// are longer than `max_ns` on average spinning would not catch them, so the budget falls to nothing and every sleep that
// turns out short raises it again. One owner, no sharing.
#pragma once

#include <sched.h>

#include <algorithm>
#include <cstdint>

#include "ipc/clock.h"
#include "ipc/fence.h"

namespace samovar::ipc {

class AdaptiveSpin {
 public:
  explicit AdaptiveSpin(std::int64_t max_ns) : max_ns_(max_ns) {}

  // Spins until `done()`, the budget is used up, or `keep_on()` says no (asked once in a block of looks).
  // Returns whether done. A wait that ends within the first block reads no clock.
  template <typename Done, typename KeepOn>
  bool spin(Done&& done, KeepOn&& keep_on) {
    for (int look = 0; look < kFirstBlock; ++look) {
      if (done()) {
        settle(0);
        return true;
      }
    }
    begin_ns_ = now_ns();
    const std::int64_t budget_ns = budget();
    for (std::int64_t waited_ns = 0; waited_ns < budget_ns && keep_on(); waited_ns = now_ns() - begin_ns_) {
      // Where the kernel has put the peer on this very CPU, it runs now and not when the budget is used up.
      if (waited_ns > kYieldAfterNs) sched_yield();
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

  std::int64_t budget() const { return average_ns_ > max_ns_ ? 0 : std::min(max_ns_, kBudgetMinNs + 4 * average_ns_); }

 private:
  // Looks without a clock between them: a clock reading is 22 ns in which nothing is seen. The first block outlasts a call.
  static constexpr int kFirstBlock = 1024;
  static constexpr int kBlock = 256;
  static constexpr std::int64_t kBudgetMinNs = 5'000;
  static constexpr std::int64_t kYieldAfterNs = 20'000;
  static constexpr std::int64_t kWakeNs = 50'000;  // a futex wake across cores: 38 us on a VM, 3 us without one

  void settle(std::int64_t waited_ns) {
    // A single long pause must not end the spinning of a busy pool: it counts for at most 4 * max.
    average_ns_ += (std::min(waited_ns, 4 * max_ns_) - average_ns_) / 8;
  }

  std::int64_t max_ns_;
  std::int64_t average_ns_ = 0;
  std::int64_t begin_ns_ = 0;
};

}  // namespace samovar::ipc
