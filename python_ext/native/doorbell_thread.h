// DoorbellThread: sleeps on the doorbell in the main thread's place, while that sleeps in an epoll, and writes an eventfd that the epoll
// watches. An event loop waits for descriptors, too, and a futex is none.
//
// The thread never takes the GIL, is started at the first need, and runs until the process ends. While nobody is to be woken it may
// still lie on the doorbell, from the sleep before: a ring that wakes it then is passed on, for it was meant for the main thread.
// Threads: the main thread. GIL: not needed.
#pragma once

#include <atomic>
#include <cstdint>

#include "ipc/channel.h"
#include "ipc/unique_fd.h"

namespace samovar::python {

class DoorbellThread {
 public:
  // Requires: `end` and this live until the process ends, once start() has been called.
  explicit DoorbellThread(ipc::WorkerEnd& end) : end_(end), doorbell_(end.doorbell()) {}

  // Once. Fails: errno, else 0.
  int start();
  int fd() const { return alarm_.get(); }  // -1: not started

  // Makes fd() readable as soon as the doorbell shows something else than `seen`, until disarm().
  void arm(std::uint32_t seen);
  void disarm();

 private:
  static void* run(void* self);

  ipc::WorkerEnd& end_;
  const std::atomic<std::uint32_t>& doorbell_;
  ipc::UniqueFd alarm_;
  std::atomic<std::uint32_t> seen_{0};
  std::atomic<std::uint32_t> armed_{0};  // futex word
};

}  // namespace samovar::python
