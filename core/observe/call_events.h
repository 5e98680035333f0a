// CallEvents: what may happen to very many calls at once is counted where it happens and told now and then, all of it by one event:
// calls_timed_out for each method, and queue_full.
//
// Threads: timed_out() and queue_full() any; tell() one, now and then.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch/method_table.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"

namespace samovar::core {

class CallEvents {
 public:
  // `methods` outlives this.
  explicit CallEvents(const MethodTable& methods) : methods_(methods), timed_out_(methods.size()), told_(methods.size()) {}

  void timed_out(std::uint32_t method) { timed_out_[method].add(); }
  void queue_full() { full_.add(); }

  // Tells what has come since the last time.
  void tell(Events& events);

 private:
  const MethodTable& methods_;
  std::vector<SharedCounter> timed_out_;  // by method
  SharedCounter full_;

  // Owned by the thread that tells.
  std::vector<std::uint64_t> told_;
  std::uint64_t told_full_ = 0;
};

}  // namespace samovar::core
