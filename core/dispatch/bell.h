// Bell: wakes a thread that sleeps in an epoll and may be needed by others only now and then.
//
// SYNC POINT: the sleeper stores `asleep`, FENCE, looks for work, sleeps; the ringer makes work, FENCE, reads `asleep`.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "ipc/fence.h"
#include "ipc/unique_fd.h"

namespace samovar::core {

class Bell {
 public:
  Bell() : eventfd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  int fd() const { return eventfd_.get(); }  // readable when rung; -1 where the process has no descriptor left

  void ring() {
    const std::uint64_t one = 1;
    (void)!write(eventfd_.get(), &one, sizeof one);
  }
  void ring_if_asleep() {
    ipc::store_load_fence();  // FENCE: see above.
    if (asleep_.load(std::memory_order_relaxed)) ring();
  }

  // By the sleeper.
  void announce(bool asleep) {
    asleep_.store(asleep, std::memory_order_relaxed);
    ipc::store_load_fence();  // FENCE: see above.
  }
  void clear() {
    std::uint64_t count;
    (void)!read(eventfd_.get(), &count, sizeof count);
  }

 private:
  ipc::UniqueFd eventfd_;
  std::atomic<bool> asleep_{false};
};

}  // namespace samovar::core
