#include "python_ext/native/doorbell_thread.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "ipc/clock.h"
#include "ipc/doorbell.h"
#include "python_ext/native/thread.h"

namespace samovar::python {

int DoorbellThread::start() {
  alarm_ = ipc::UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!alarm_) return errno;
  const int error = start_thread("samovar-bell", run, this);
  if (error != 0) alarm_.reset();
  return error;
}

void DoorbellThread::arm(std::uint32_t seen) {
  seen_.store(seen, std::memory_order_relaxed);
  // RELEASE: pairs with the acquire in run(); `seen_` comes first.
  armed_.store(1, std::memory_order_release);
  ipc::futex_wake_one(armed_);
}

void DoorbellThread::disarm() {
  armed_.store(0, std::memory_order_relaxed);
  // Also where nothing has been written: a write that is under way would else be found at the next disarm() only.
  std::uint64_t count;
  (void)!read(alarm_.get(), &count, sizeof count);
}

// A thread that is still on the doorbell when it is armed again needs no newer `seen`: whatever rings wakes it.
void* DoorbellThread::run(void* self) {
  auto& thread = *static_cast<DoorbellThread*>(self);
  for (;;) {
    while (thread.armed_.load(std::memory_order_acquire) == 0) ipc::futex_wait(thread.armed_, 0, ipc::kNever);
    const std::uint32_t seen = thread.seen_.load(std::memory_order_relaxed);
    while (thread.armed_.load(std::memory_order_relaxed) != 0 && thread.doorbell_.load(std::memory_order_relaxed) == seen) {
      ipc::futex_wait(thread.doorbell_, seen, ipc::kNever);
    }
    if (thread.armed_.exchange(0, std::memory_order_acq_rel) != 0) {
      thread.end_.tell_turn(ipc::now_ns());  // the main thread may wait long for the GIL; where it is up already, the alarm brings it round again
      const std::uint64_t one = 1;
      (void)!write(thread.alarm_.get(), &one, sizeof one);
    } else {
      ipc::futex_wake_one(thread.doorbell_);
    }
  }
}

}  // namespace samovar::python
