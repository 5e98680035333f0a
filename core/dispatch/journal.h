// Journal: what one incarnation has in its request lane, in lane order, in memory private to the host.
//
// Owned by the holder of the dispatch token. An entry holds the dispatcher's reference of its call until the response, the
// proof of death, or the call's being taken back. Entries are resolved in any order; their places come free in that of the lane.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "core/dispatch/call.h"

namespace samovar::core {

class Journal {
 public:
  struct Entry {
    Call* call = nullptr;  // null: taken back, only its "skipped" is to come
    std::uint64_t call_id = 0;
    std::uint64_t lane_position = 0;
    bool revocable = false;  // it was sent behind others
    bool revoked = false;
    bool told = false;  // to the breakers: that its deadline passed while it ran
    bool cancelled = false;  // a note has told the worker that nobody waits
    bool answered = false;  // before one that lies in front of it
  };

  explicit Journal(std::uint32_t capacity) : entries_(std::bit_ceil(capacity)) {}

  bool empty() const { return sent_ == resolved_; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(sent_ - resolved_ - answered_); }  // without those answered
  bool full() const { return sent_ - resolved_ == entries_.size(); }

  void push(Call& call, std::uint64_t lane_position) {
    at(sent_) = {.call = &call, .call_id = call.ticket, .lane_position = lane_position, .revocable = !empty(), .revoked = false, .told = false, .cancelled = false, .answered = false};
    ++sent_;
  }
  Entry& front() { return at(resolved_); }

  // The entry of a call that has not been answered, or null. Fast for the oldest.
  Entry* find(std::uint64_t call_id) {
    for (std::uint64_t number = resolved_; number != sent_; ++number) {
      Entry& entry = at(number);
      if (entry.call_id == call_id && !entry.answered) return &entry;
    }
    return nullptr;
  }

  // Its final response has come.
  void resolve(Entry& entry) {
    entry.call = nullptr;
    entry.answered = true;
    ++answered_;
    for (; sent_ != resolved_ && front().answered; ++resolved_) --answered_;
  }

  // Entries by number in lane order: resolved() is the oldest, sent() - 1 the youngest.
  Entry& at(std::uint64_t number) { return entries_[number & (entries_.size() - 1)]; }
  std::uint64_t resolved() const { return resolved_; }
  std::uint64_t sent() const { return sent_; }

  // How many the worker has begun, of what it says itself. A count that cannot be is taken as "all": none runs twice.
  std::uint64_t believe_started(std::uint64_t said) const { return said < resolved_ || said > sent_ ? sent_ : said; }

  // Empty, and the next entry is the lane's record of this number. (0 is the ping; the worker counts it as started.)
  void begin(std::uint64_t number) {
    sent_ = resolved_ = number;
    answered_ = 0;
  }

 private:
  std::vector<Entry> entries_;
  std::uint64_t sent_ = 0;
  std::uint64_t resolved_ = 0;
  std::uint32_t answered_ = 0;  // of those between the two
};

}  // namespace samovar::core
