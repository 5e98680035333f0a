// CallList: calls in the order of their tickets, linked through their own members. A call is in one list at a time.
//
// Threads: the holder of the dispatch token.
#pragma once

#include "core/dispatch/call.h"

namespace samovar::core {

class CallList {
 public:
  Call* front() const { return first_; }
  bool empty() const { return !first_; }

  // Tickets arrive nearly in order: the place is at or near the end, or (of one that comes back) at the front.
  void insert(Call& call) {
    Call* after = last_;
    if (first_ && call.ticket < first_->ticket) after = nullptr;
    while (after && after->ticket > call.ticket) after = after->previous;
    call.previous = after;
    call.next = after ? after->next : first_;
    (after ? after->next : first_) = &call;
    (call.next ? call.next->previous : last_) = &call;
  }

  void remove(Call& call) {
    (call.previous ? call.previous->next : first_) = call.next;
    (call.next ? call.next->previous : last_) = call.previous;
    call.previous = call.next = nullptr;
  }

 private:
  Call* first_ = nullptr;
  Call* last_ = nullptr;
};

}  // namespace samovar::core
