// Journal: what one incarnation has in its request lane, in lane order, in memory private to the host.
//
// Owned by the holder of the dispatch token. An entry holds the dispatcher's reference of its call until the response, the
// proof of death, or the call's being taken back. Entries are resolved in any order; their places come free in that of the lane.
// Invariant: what is set aside has been begun and not answered, and lay before all that is still in a place.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/dispatch/call.h"

namespace samovar::core {

class Journal {
 public:
  struct Entry {
    Call* call = nullptr;  // null: taken back, only its "skipped" is to come
    std::uint64_t call_id = 0;
    std::uint64_t lane_position = 0;
    std::uint32_t batch_rest = 0;  // how many entries behind this one belong to its batch
    bool revocable = false;  // it was sent behind others, not counting those of its batch
    bool revoked = false;
    bool swept = false;  // its call has its outcome, and the worker has been told so
    bool told = false;  // to the breakers: that its deadline passed while it ran
    bool cancelled = false;  // a note has told the worker that nobody waits
    bool answered = false;  // before one that lies in front of it
  };

  explicit Journal(std::uint32_t capacity) : entries_(std::bit_ceil(capacity)) {}

  bool empty() const { return sent_ == resolved_ && aside_.empty(); }
  std::uint32_t size() const {  // without those answered
    return static_cast<std::uint32_t>(sent_ - resolved_ - answered_ + aside_.size());
  }
  bool full() const { return sent_ - resolved_ == entries_.size(); }

  void push(Call& call, std::uint64_t lane_position) { push(call, lane_position, !empty(), 0); }
  void push(Call& call, std::uint64_t lane_position, bool revocable, std::uint32_t batch_rest) {
    if (full()) [[unlikely]] grow();
    at(sent_) = {.call = &call, .call_id = call.ticket, .lane_position = lane_position, .batch_rest = batch_rest, .revocable = revocable,
                 .revoked = false, .swept = false, .told = false, .cancelled = false, .answered = false};
    ++sent_;
  }

  // The number of the first entry behind what a worker runs now that runs one call or one batch at a time. Requires: not empty.
  std::uint64_t waiting_from() const { return std::min(sent_, resolved_ + at(resolved_).batch_rest + 1); }

  Entry& front() { return at(resolved_); }

  // The entry of a call that has not been answered, or null. Fast for the oldest.
  Entry* find(std::uint64_t call_id) {
    for (Entry& entry : aside_) {
      if (entry.call_id == call_id) return &entry;
    }
    for (std::uint64_t number = resolved_; number != sent_; ++number) {
      Entry& entry = at(number);
      if (entry.call_id == call_id && !entry.answered) return &entry;
    }
    return nullptr;
  }

  // Its final response has come. Other entries may move.
  void resolve(Entry& entry) {
    if (!aside_.empty() && &entry >= aside_.data() && &entry < aside_.data() + aside_.size()) {
      aside_.erase(aside_.begin() + (&entry - aside_.data()));
      return;
    }
    entry.call = nullptr;
    entry.answered = true;
    ++answered_;
    for (; sent_ != resolved_ && front().answered; ++resolved_) --answered_;
  }

  // Takes the entries before `begun` out of their places, where what they wait for would keep all that was answered behind them.
  // A worker that runs several calls at once may have a long one among many short ones.
  void set_aside(std::uint64_t begun) {
    for (; resolved_ != sent_ && resolved_ < begun; ++resolved_) {
      if (front().answered) {
        --answered_;
      } else {
        aside_.push_back(front());
      }
    }
    for (; sent_ != resolved_ && front().answered; ++resolved_) --answered_;
  }

  // Those not answered, in lane order: visit(entry, its number); of those set aside the number is 0: they have been begun.
  template <typename Visit>
  void visit(Visit&& visit) {
    for (Entry& entry : aside_) visit(entry, std::uint64_t{0});
    for (std::uint64_t number = resolved_; number != sent_; ++number) {
      if (!at(number).answered) visit(at(number), number);
    }
  }

  // Entries by number in lane order: resolved() is the oldest, sent() - 1 the youngest.
  Entry& at(std::uint64_t number) { return entries_[number & (entries_.size() - 1)]; }
  const Entry& at(std::uint64_t number) const { return entries_[number & (entries_.size() - 1)]; }
  std::uint64_t resolved() const { return resolved_; }
  std::uint64_t sent() const { return sent_; }

  // How many the worker has begun, of what it says itself. A count that cannot be is taken as "all": none runs twice.
  std::uint64_t believe_started(std::uint64_t said) const { return said < resolved_ || said > sent_ ? sent_ : said; }

  // Whether it lies before `said`, the worker's count of those begun.
  bool is_begun(const Entry& entry, std::uint64_t said) {
    if (&entry < entries_.data() || &entry >= entries_.data() + entries_.size()) return true;  // set aside
    const auto place = static_cast<std::uint64_t>(&entry - entries_.data());
    return resolved_ + ((place - resolved_) & (entries_.size() - 1)) < believe_started(said);
  }

  // Empty, and the next entry is the lane's record of this number. (0 is the ping; the worker counts it as started.)
  void begin(std::uint64_t number) {
    sent_ = resolved_ = number;
    answered_ = 0;
    aside_.clear();
  }

 private:
  void grow() {
    std::vector<Entry> larger(entries_.size() * 2);
    for (std::uint64_t number = resolved_; number != sent_; ++number) larger[number & (larger.size() - 1)] = at(number);
    entries_ = std::move(larger);
  }

  std::vector<Entry> entries_;
  std::vector<Entry> aside_;
  std::uint64_t sent_ = 0;
  std::uint64_t resolved_ = 0;
  std::uint32_t answered_ = 0;  // of those between the two
};

}  // namespace samovar::core
