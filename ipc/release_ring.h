// ReleaseRing: how the side that used another's block gives it back: a ring of numbers in its own pages.
//
// Releases use no lane: a full lane would wait for blocks that wait for the lane. A ring never waits, since a side may have no
// more blocks of the other's than the ring has entries, and releases each once; the allocating side sees to the former.
// Threads: one writer, one reader at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ipc/fence.h"
#include "ipc/layout.h"

namespace samovar::ipc {

using ReleaseEntry = std::atomic<std::uint64_t>;
static_assert(sizeof(ReleaseEntry) * kReleaseEntries == kReleaseRingBytes);

class ReleaseWriter {
 public:
  // Requires: `count`, the number of releases so far, in the writer's page, both zeroed.
  ReleaseWriter(std::byte* ring, std::atomic<std::uint64_t>& count) : ring_(reinterpret_cast<ReleaseEntry*>(ring)), count_(&count) {}

  // Requires: fewer than kReleaseEntries releases are unread.
  void push(std::uint64_t number) {
    ring_[released_ % kReleaseEntries].store(number, std::memory_order_relaxed);
    // RELEASE: pairs with the acquire in ReleaseReader::look(); the entry, and our last read of the block, come first.
    count_->store(++released_, std::memory_order_release);
  }

  // Has the lines that the next push() writes brought here, meanwhile: the reader has them. Threads: any.
  void take_ahead() const {
    const std::uint64_t next = count_->load(std::memory_order_relaxed);
    prefetch_to_write(count_);
    prefetch_to_write(&ring_[next % kReleaseEntries]);
  }

 private:
  ReleaseEntry* ring_;
  std::atomic<std::uint64_t>* count_;
  std::uint64_t released_ = 0;
};

class ReleaseReader {
 public:
  ReleaseReader(const std::byte* ring, const std::atomic<std::uint64_t>& count)
      : ring_(reinterpret_cast<const ReleaseEntry*>(ring)), count_(&count) {}

  // One relaxed load: whether look() would find something.
  bool has_news() const { return count_->load(std::memory_order_relaxed) != read_; }

  // Has the lines that look() and front() read brought here, meanwhile: the writer has them.
  void read_ahead() const {
    __builtin_prefetch(count_);
    __builtin_prefetch(&ring_[read_ % kReleaseEntries]);
  }

  // How many entries lie unread. More than kReleaseEntries is what no right writer says.
  std::uint64_t look() const {
    // ACQUIRE: pairs with the release in ReleaseWriter::push(); the entries become visible.
    return count_->load(std::memory_order_acquire) - read_;
  }

  // The next entry, and on. Requires: look() found one.
  std::uint64_t front() const { return ring_[read_ % kReleaseEntries].load(std::memory_order_relaxed); }
  void pop() { ++read_; }

 private:
  const ReleaseEntry* ring_;
  const std::atomic<std::uint64_t>* count_;
  std::uint64_t read_ = 0;
};

}  // namespace samovar::ipc
