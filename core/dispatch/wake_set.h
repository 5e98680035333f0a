// WakeSet: where the host sleeps. Two epolls, since an edge wakes but one sleeper: `sleeper` for the one thread of ours that
// may sleep there (the sentinel, or the pinned dispatcher), `completion` for the user, who polls completion_fd().
//
// Both hold the workers' eventfds, edge-triggered and never read (a worker could make a read block), and one eventfd of our
// own each; completion also holds a timer. Threads: any; wait() one at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "ipc/result.h"
#include "ipc/unique_fd.h"

namespace samovar::core {

class WakeSet {
 public:
  static ipc::SystemResult<std::unique_ptr<WakeSet>> create();

  ipc::SystemResult<void> add(int eventfd);
  void remove(int eventfd);

  // Our own sleeper.
  void wait(std::int64_t until_ns);  // sleeps until an event or the time; may return early. Blocks.
  void ring_sleeper();               // wakes who sleeps in wait(), or the next who would

  // The user.
  int completion_fd() const { return completion_.epoll.get(); }
  void ring_completion();               // makes completion_fd() readable
  void harvest();                       // takes its events, so that it is no longer readable
  void set_timer(std::int64_t due_ns);  // makes it readable then; kNever: not at all

 private:
  struct Side {
    ipc::UniqueFd epoll;
    ipc::UniqueFd own;
  };

  WakeSet() = default;
  static ipc::SystemResult<Side> create_side();

  Side sleeper_;
  Side completion_;
  ipc::UniqueFd timer_;
};

}  // namespace samovar::core
