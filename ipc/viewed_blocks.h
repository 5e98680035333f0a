// ViewedBlocks: blocks of the response arena that the worker's Python may still view: made to be written in place, and perhaps sent
// by now. Such a block is free when its view has died *and* the host has given it back, or was never told of it.
//
// Threads: view_died() any; everything else the worker's main thread.
// Invariant: a block is here from add() until its view has died and that has been settled.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace samovar::ipc {

class ViewedBlocks {
 public:
  struct Block {
    std::uint64_t offset = 0;  // in the arena
    std::uint64_t bytes = 0;
    bool is_sent = false;      // and not given back: the host reads it
  };

  // Requires: no block that is here has a byte in common.
  void add(std::uint64_t offset, std::uint64_t bytes) {
    blocks_.insert(next(offset), {offset, bytes});
    if (blocks_.capacity() <= room_) return;
    const std::lock_guard lock(mutex_);
    died_.reserve(blocks_.capacity());
    room_ = blocks_.capacity();
  }
  bool empty() const { return blocks_.empty(); }

  // The block that the byte at `offset` belongs to; null where it is in none. Valid until the next add() or settle().
  const Block* at(std::uint64_t offset) const {
    const auto after = next(offset);
    if (after == blocks_.begin()) return nullptr;
    const Block& block = *(after - 1);
    return offset - block.offset < block.bytes ? &block : nullptr;
  }

  // The host has been sent the block that begins at `offset`. Requires: it is here and not sent.
  void send(std::uint64_t offset) { find(offset)->is_sent = true; }

  // The view of a block that is sent has died, in this thread: it is like any other from now on. Requires: it is here and sent.
  void forget(std::uint64_t offset) { blocks_.erase(blocks_.begin() + (find(offset) - blocks_.data())); }

  enum class GivenBack { free, viewed, never_sent };

  // The host gives the block back that begins at `offset`. viewed: it is not free yet.
  GivenBack give_back(std::uint64_t offset) {
    Block* const block = find(offset);
    if (block == nullptr) return GivenBack::free;
    return std::exchange(block->is_sent, false) ? GivenBack::viewed : GivenBack::never_sent;
  }

  // The view of the block that begins at `offset` has died. Allocates nothing: there is room for each.
  void view_died(std::uint64_t offset) {
    const std::lock_guard lock(mutex_);
    died_.push_back(offset);
    any_died_.store(true, std::memory_order_relaxed);
  }

  // Calls `free(offset)` for what has become free by deaths of views.
  template <typename Free>
  void settle(Free&& free) {
    if (!any_died_.load(std::memory_order_relaxed)) return;  // what died since is settled the next time
    const std::lock_guard lock(mutex_);
    any_died_.store(false, std::memory_order_relaxed);
    for (const std::uint64_t offset : died_) {
      Block* const block = find(offset);
      const bool is_free = !block->is_sent;
      blocks_.erase(blocks_.begin() + (block - blocks_.data()));  // one that is sent is from now on like any other
      if (is_free) free(offset);
    }
    died_.clear();
  }

 private:
  std::vector<Block>::const_iterator next(std::uint64_t offset) const {
    return std::upper_bound(blocks_.begin(), blocks_.end(), offset, [](std::uint64_t o, const Block& block) { return o < block.offset; });
  }
  Block* find(std::uint64_t offset) {
    const auto after = next(offset);
    if (after == blocks_.begin() || (after - 1)->offset != offset) return nullptr;
    return &blocks_[static_cast<std::size_t>(after - 1 - blocks_.begin())];
  }

  std::vector<Block> blocks_;  // by offset
  std::size_t room_ = 0;       // in died_
  std::mutex mutex_;
  std::vector<std::uint64_t> died_;  // guarded by mutex_
  std::atomic<bool> any_died_{false};
};

}  // namespace samovar::ipc
