// CallEvents: what may happen to very many calls at once is counted where it happens and told now and then, all of it by one event:
// calls_timed_out for each method, and queue_full.
//
// Threads: timed_out() and queue_full() any; tell() one at a time.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/dispatch/method_table.h"
#include "core/observe/events.h"

namespace samovar::core {

class CallEvents {
 public:
  explicit CallEvents(const Methods& methods) : methods_(methods) {}  // which outlives this

  void timed_out(std::uint32_t method) {
    const std::lock_guard lock(mutex_);
    if (timed_out_.size() <= method) timed_out_.resize(method + 1);
    ++timed_out_[method];
  }
  void queue_full() {
    const std::lock_guard lock(mutex_);
    ++full_;
  }

  // Tells what has come since the last time.
  void tell(Events& events);

 private:
  const Methods& methods_;
  std::mutex mutex_;
  std::vector<std::uint64_t> timed_out_;  // guarded by mutex_: by method, since the last telling
  std::uint64_t full_ = 0;                // likewise
};

}  // namespace samovar::core
