// Batching: the calls of methods that take several at once, until they leave as a batch.
//
// A batch of a method is ready once it is full or its oldest call has waited as long as the method says. A deadline that is near makes it
// leave earlier: when half of the time until then is over. Who asks decides whether a worker is free; until one is,
// the batch grows.
// Threads: the holder of the dispatch token. No clock of its own, no OS.
// Invariant: a call is here exactly while Call::in_batch says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/dispatch/call.h"
#include "core/dispatch/call_list.h"
#include "ipc/clock.h"

namespace samovar::core {

// What a method says of its batches.
struct BatchRule {
  std::uint32_t max = 1;      // calls in one
  std::int64_t wait_ns = 0;   // how long a call may wait for others
};

class Batching {
 public:
  // As the present time: whatever waits is ready.
  static constexpr std::int64_t kAtOnce = ipc::kNever;

  bool empty() const { return active_.empty(); }
  std::size_t methods() const { return active_.size(); }  // of which calls wait
  std::uint32_t size() const { return size_; }
  std::uint32_t size(std::uint32_t method) const { return method < groups_.size() ? groups_[method].size : 0; }
  Call* front(std::uint32_t method) const { return groups_[method].calls.front(); }

  // `now_ns` counts for the first call of a batch alone, and need not be read for others. True: due_ns() may be earlier than it was.
  bool add(Call& call, const BatchRule& rule, std::int64_t now_ns);

  // A call that has waited before and comes back: its batch is due.
  void add_again(Call& call, const BatchRule& rule) { add(call, rule, 0), groups_[call.method].due_ns = 0; }

  // More calls of this method come at once: until another one is named, its batch is ready when it is full.
  void gather(std::uint32_t method) { gathering_ = method; }
  static constexpr std::uint32_t kNoMethod = UINT32_MAX;

  void remove(Call& call);

  // When the next batch that is not full is due; kNever where none waits, at most 0 where one need not wait.
  std::int64_t due_ns() const;

  // The method whose batch is to leave next, of those that are ready at `now_ns`: that of the oldest call. Null: none is.
  // The returned call is the first of it.
  Call* next_ready(std::int64_t now_ns) const;

  // How many batches are ready, and the oldest ticket in them (0: none), for who looks whether workers are short.
  struct Waiting {
    std::uint32_t batches = 0;
    std::uint64_t oldest = 0;
  };
  Waiting ready_at(std::int64_t now_ns) const;

  // Calls `visit(call)` for each call; it may remove that call.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (std::size_t i = active_.size(); i-- > 0;) {  // a group that becomes empty leaves the places before it alone
      for (Call* call = groups_[active_[i]].calls.front(); call;) {
        Call* next = call->next;
        visit(*call);
        call = next;
      }
    }
  }

 private:
  struct Group {
    CallList calls;
    std::uint32_t size = 0;
    std::uint32_t max = 1;
    std::int64_t began_ns = 0;
    std::int64_t due_ns = ipc::kNever;
  };

  bool is_ready(std::uint32_t method, std::int64_t now_ns) const {
    const Group& group = groups_[method];
    return group.size >= group.max || (group.due_ns <= now_ns && (method != gathering_ || now_ns == kAtOnce));
  }

  std::vector<Group> groups_;          // by method
  std::vector<std::uint32_t> active_;  // methods of which calls wait
  std::uint32_t size_ = 0;
  std::uint32_t gathering_ = kNoMethod;
};

}  // namespace samovar::core
