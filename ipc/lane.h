// Lane: a one-way byte ring in shared memory, one writer, one reader.
//
// Threads: LaneWriter by one thread at a time (host: the holder of the dispatch token; worker: its main thread), LaneReader
// likewise at the other end.
// Invariants: (1) consumed <= published <= consumed + capacity. (2) The commit word at `published` is zero.
//   (3) Either side may die between any two instructions. (4) A reader trusts nothing it reads: a commit word is copied
//   once, checked, and only the copy is used; what does not fit is `broken` and nothing behind it is read.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ipc/layout.h"

namespace samovar::ipc {

// The commit word of a record at `position` (cumulative bytes) of a ring of `capacity` bytes, a power of two.
inline std::atomic<std::uint64_t>* commit_word(std::byte* ring, std::uint32_t capacity, std::uint64_t position) {
  return reinterpret_cast<std::atomic<std::uint64_t>*>(ring + (position & (capacity - 1)));
}

class LaneWriter {
 public:
  // Requires: ring zeroed, aligned to a page, `capacity` a power of two; `consumed` in the reader's page.
  LaneWriter(std::byte* ring, std::uint32_t capacity, const std::atomic<std::uint64_t>& consumed)
      : ring_(ring), capacity_(capacity), consumed_(&consumed) {}

  // Room for a message of `size` bytes, or null when the lane is full. Nothing is visible until publish(); a claim that is
  // not published is forgotten by the next one.
  // Requires: record_advance(size) * kRecordsPerLaneMin <= capacity.
  // The next commit word is zeroed here and not in publish(): its line may be far away, and every store that comes between
  // the first one into the record's polled line and the commit gives the reader time to steal that line back.
  std::byte* try_claim(std::uint32_t size) {
    const std::uint32_t advance = record_advance(size);
    const std::uint32_t to_end = capacity_ - static_cast<std::uint32_t>(published_ & (capacity_ - 1));
    skip_ = advance > to_end ? to_end : 0;
    // One granule more than the record: publish() zeroes the next commit word, which must not be an unread record's.
    const std::uint64_t end = published_ + skip_ + advance + kGranuleBytes;
    if (end > consumed_cache_ + capacity_ && !refresh_consumed(end)) return nullptr;
    claimed_size_ = size;
    commit_word(ring_, capacity_, published_ + skip_ + advance)->store(0, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_release);  // for the compiler: not behind the body
    return ring_ + ((published_ + skip_) & (capacity_ - 1)) + kCommitWordBytes;
  }

  // Whether messages whose records advance by `advances` bytes in all, and none by more than `largest`, can be claimed and published
  // one after the other. Says no where a lane that is just full would do.
  bool has_room_for(std::uint64_t advances, std::uint32_t largest) {
    const std::uint64_t end = published_ + advances + largest + kGranuleBytes;  // one of them may skip the end of the ring
    return end <= consumed_cache_ + capacity_ || refresh_consumed(end);
  }

  // Publishes the claimed record. Returns its position, by which revoke() finds it.
  std::uint64_t publish() {
    const std::uint64_t start = published_ + skip_;
    const std::uint64_t next = start + record_advance(claimed_size_);
    // RELEASE: pairs with the acquire in LaneReader::peek(); the record's bytes and the zeroed next commit word come first.
    commit_word(ring_, capacity_, start)->store(kCommitValid | claimed_size_, std::memory_order_release);
    if (skip_ != 0) {
      // RELEASE: as above; the record at the start of the ring comes first.
      commit_word(ring_, capacity_, published_)->store(kCommitValid | kCommitWrap, std::memory_order_release);
    }
    published_ = next;
    ++records_;
    return start;
  }

  // Takes the lines of a next record like the last one away from the reader's cache, by storing into them, while there is
  // time: a writer calls it when it has published and is about to wait. The polled line, the first, is left alone. Stores do
  // what prefetchw did not: a C round trip of two lines each way fell from 260 to 150 ns, the floor being 140.
  void take_ahead() {
    const std::uint64_t advance = record_advance(claimed_size_);
    const std::uint64_t to_end = capacity_ - (published_ & (capacity_ - 1));
    const std::uint64_t room = consumed_cache_ + capacity_ - published_;
    const std::uint64_t end = published_ + std::min({advance + kGranuleBytes, to_end, room});
    // Nothing there is published, and what the reader may still read ends at `room`: zeros are as good as anything.
    for (std::uint64_t position = published_ + kGranuleBytes; position < end; position += kGranuleBytes) {
      commit_word(ring_, capacity_, position)->store(0, std::memory_order_relaxed);
    }
  }

  // Marks the record at `position` as revoked, unless the reader is done with it: another may lie there by now. (A worker
  // gives a request's room back before its response is taken.)
  void revoke(std::uint64_t position) {
    if (position < consumed_cache_) return;  // only what lies before this is ever written again
    std::atomic<std::uint64_t>* word = commit_word(ring_, capacity_, position);
    word->store(word->load(std::memory_order_relaxed) | kCommitRevoked, std::memory_order_relaxed);
  }

  std::uint64_t published() const { return published_; }
  std::uint64_t records() const { return records_; }  // published so far

 private:
  bool refresh_consumed(std::uint64_t end) {
    // ACQUIRE: pairs with the release in LaneReader::publish_consumed(); the reader is done with what lies before.
    const std::uint64_t consumed = consumed_->load(std::memory_order_acquire);
    // The peer may be wrong: a position outside what was published and not yet known as consumed is not believed.
    if (consumed < consumed_cache_ || consumed > published_) return false;
    consumed_cache_ = consumed;
    return end <= consumed_cache_ + capacity_;
  }

  std::byte* ring_;
  std::uint32_t capacity_;
  std::uint32_t claimed_size_ = 0;
  std::uint32_t skip_ = 0;  // bytes to the end of the ring, where the claimed record begins at its start
  std::uint64_t published_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t consumed_cache_ = 0;
  const std::atomic<std::uint64_t>* consumed_;
};

enum class Peek { record, empty, broken };

class LaneReader {
 public:
  // Requires: as LaneWriter; `message_max` is the largest message this reader accepts; `consumed` in its own page.
  LaneReader(const std::byte* ring, std::uint32_t capacity, std::uint32_t message_max, std::atomic<std::uint64_t>& consumed)
      : ring_(const_cast<std::byte*>(ring)), capacity_(capacity), message_max_(message_max), consumed_word_(&consumed) {}

  // Whether something lies at the read position: one load, for spinning.
  bool has_record() const { return (load_commit() & kCommitValid) != 0; }

  // Looks at the next record; with Peek::record, message() and size() are its bytes until pop().
  Peek peek() {
    std::uint64_t word = load_commit();
    if ((word & kCommitValid) == 0) return Peek::empty;
    if ((word & kCommitWrap) != 0) {
      const std::uint64_t offset = consumed_ & (capacity_ - 1);
      if (offset == 0) return Peek::broken;
      consumed_ += capacity_ - offset;
      word = load_commit();
      if ((word & kCommitValid) == 0 || (word & kCommitWrap) != 0) return Peek::broken;
    }
    const std::uint64_t size = word & kCommitSizeMask;
    const std::uint64_t to_end = capacity_ - (consumed_ & (capacity_ - 1));
    if ((word & ~(kCommitValid | kCommitRevoked | kCommitSizeMask)) != 0) return Peek::broken;
    if (size > message_max_ || record_advance(static_cast<std::uint32_t>(size)) > to_end) return Peek::broken;
    size_ = static_cast<std::uint32_t>(size);
    // All lines of the record are fetched at once instead of one after the other.
    for (std::uint32_t line = kCacheLineBytes; line < kCommitWordBytes + size_; line += kCacheLineBytes) {
      __builtin_prefetch(record() + line);
    }
    return Peek::record;
  }

  const std::byte* message() const { return record() + kCommitWordBytes; }
  std::uint32_t size() const { return size_; }

  // Whether the writer has revoked the record that peek() found. Relaxed: ordered by the fence of started and revoked.
  bool revoked() const { return (current_word()->load(std::memory_order_relaxed) & kCommitRevoked) != 0; }

  // The commit word of the record that peek() found, for a handler that looks at `revoked` while it runs.
  const std::atomic<std::uint64_t>* current_word() const { return commit_word(ring_, capacity_, consumed_); }

  // Moves on behind the record that peek() found; the writer learns of it by publish_consumed().
  void pop() { consumed_ += record_advance(size_); }

  void publish_consumed() {
    // RELEASE: pairs with the acquire in LaneWriter::refresh_consumed(); our reads of the records come first.
    consumed_word_->store(consumed_, std::memory_order_release);
  }

  std::uint64_t consumed() const { return consumed_; }

 private:
  std::byte* record() const { return ring_ + (consumed_ & (capacity_ - 1)); }

  std::uint64_t load_commit() const {
    // ACQUIRE: pairs with the release in LaneWriter::publish(); the record and the next commit word become visible.
    return current_word()->load(std::memory_order_acquire);
  }

  std::byte* ring_;
  std::uint32_t capacity_;
  std::uint32_t message_max_;
  std::uint32_t size_ = 0;
  std::uint64_t consumed_ = 0;
  std::atomic<std::uint64_t>* consumed_word_;
};

}  // namespace samovar::ipc
