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

// Records of a batch that become visible together, where its writer has them: see LaneWriter::publish_held(). So many lines are on their way at
// once, and a reader does not touch those that are still being written.
inline constexpr std::uint32_t kRecordsAtOnce = 8;

// Asks for the line at `address` to write it. Not __builtin_prefetch: without -mprfchw that asks for it to read.
inline void prefetch_for_writing(const std::byte* address) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*address));
#else
  __builtin_prefetch(address, 1);
#endif
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
    claimed_aside_ = false;
    commit_word(ring_, capacity_, published_ + skip_ + advance)->store(0, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_release);  // for the compiler: not behind the body
    return ring_ + ((published_ + skip_) & (capacity_ - 1)) + kCommitWordBytes;
  }

  // The same for a record that publish_held() follows. A small one is written to memory of our own and goes into the lane with show(): the
  // reader polls its line, and would take it back between the first store and the last.
  std::byte* try_claim_held(std::uint32_t size) {
    std::byte* const out = try_claim(size);
    claimed_aside_ = out != nullptr && skip_ == 0 && size <= sizeof aside_;
    return claimed_aside_ ? aside_ : out;
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

  // publish(), but for the word that the reader polls: neither this record nor those published behind it are seen until show(). So
  // that several are read at a stretch, where each on its own would have its line fetched twice by a reader that waits for it.
  // Requires: nothing is held back.
  std::uint64_t publish_held() {
    const std::uint64_t start = published_ + skip_;
    held_at_ = published_;
    held_aside_ = claimed_aside_;
    held_word_ = kCommitValid | (skip_ != 0 ? kCommitWrap : claimed_size_);
    // RELEASE: as in publish(). The record at the start of the ring is not seen before the wrap.
    if (skip_ != 0) commit_word(ring_, capacity_, start)->store(kCommitValid | claimed_size_, std::memory_order_release);
    published_ = start + record_advance(claimed_size_);
    ++records_;
    return start;
  }

  // Shows what is held back, if anything is.
  void show() {
    if (held_word_ == 0) return;
    if (held_aside_) {
      // Back to front, as it is written: the polled line last.
      constexpr std::uint32_t kInFirstLine = kGranuleBytes - kCommitWordBytes;
      const auto size = static_cast<std::uint32_t>(held_word_ & kCommitSizeMask);
      std::byte* const out = ring_ + (held_at_ & (capacity_ - 1)) + kCommitWordBytes;
      if (size > kInFirstLine) std::memcpy(out + kInFirstLine, aside_ + kInFirstLine, size - kInFirstLine);
      std::atomic_signal_fence(std::memory_order_release);  // for the compiler: not in another order
      std::memcpy(out, aside_, std::min(size, kInFirstLine));
    }
    // RELEASE: as in publish(), for all records published since.
    commit_word(ring_, capacity_, held_at_)->store(held_word_, std::memory_order_release);
    held_word_ = 0;
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

  // Asks for the lines of what will be written next: `bytes` of them, after the next `skip`. For a batch of records, whose lines would
  // otherwise be fetched from the reader's cache one after the other.
  void prefetch_ahead(std::uint64_t bytes, std::uint64_t skip = 0) const {
    const std::uint64_t end = published_ + skip + bytes;
    for (std::uint64_t position = (published_ + skip) & ~std::uint64_t{kCacheLineBytes - 1}; position < end; position += kCacheLineBytes) {
      prefetch_for_writing(ring_ + (position & (capacity_ - 1)));
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
  std::uint64_t held_at_ = 0;
  bool claimed_aside_ = false;   // the claimed message is in aside_
  bool held_aside_ = false;      // the one held back is
  alignas(8) std::byte aside_[192];
  std::uint64_t held_word_ = 0;  // the commit word that belongs there; 0: nothing is held back
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

  // Fetches `records` more like the one that peek() found, which are said to lie behind it.
  void prefetch_behind(std::uint32_t records) const {
    const std::uint64_t begin = consumed_ + record_advance(size_);
    const std::uint64_t end = begin + std::uint64_t{records} * record_advance(size_);
    for (std::uint64_t position = begin; position < end; position += kCacheLineBytes) {
      __builtin_prefetch(ring_ + (position & (capacity_ - 1)));
    }
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
