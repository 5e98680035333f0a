// WakeSet: the epoll on which the host sleeps, and which completion_fd() is: the workers' eventfds, edge-triggered and never
// read (a worker could make a read block), one eventfd of our own, and a timer.
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>

#include "ipc/result.h"
#include "ipc/unique_fd.h"

namespace samovar::core {

class WakeSet {
 public:
  static ipc::SystemResult<std::unique_ptr<WakeSet>> create();

  int fd() const { return epoll_.get(); }

  ipc::SystemResult<void> add(int eventfd);
  void remove(int eventfd);

  void ring();                             // wakes who sleeps here, or the next who would
  void wait(std::int64_t until_ns);        // sleeps until an event or the time; may return early. Blocks.
  void harvest();                          // takes what events there are, so that fd() is no longer readable
  void set_timer(std::int64_t due_ns);     // makes fd() readable then; kNever: not at all

 private:
  WakeSet(ipc::UniqueFd epoll, ipc::UniqueFd own, ipc::UniqueFd timer);

  ipc::UniqueFd epoll_;
  ipc::UniqueFd own_;
  ipc::UniqueFd timer_;
};

}  // namespace samovar::core
