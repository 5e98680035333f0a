// Arena: payload blocks in a sparse memfd. The side that writes the blocks owns the arena and allocates; the other maps it
// read-only and is told of a block by its offset and size.
//
//   request arena    one per pool, written by the host, read by all workers
//   response arena   one per incarnation, written by the worker, read by the host
//
// A sparse memfd costs nothing until it is touched, never has to grow, and lies outside /dev/shm. Pages of a block are allocated
// before its first use, so that no memory is an error and not a SIGBUS; freed ones go back to the kernel lazily, in chunks that
// no block has used for two periods: steady traffic never faults. What of a block fills huge pages lies in such, where the system has them.
//
// Threads: one at a time, but for allocate_pages() and punch(), which only make system calls.
// Invariants: (1) No state of the allocator lies in the memfd. (2) Blocks begin on pages; no page belongs to two.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipc/layout.h"
#include "ipc/message.h"
#include "ipc/result.h"
#include "ipc/segment.h"
#include "ipc/span_allocator.h"
#include "ipc/unique_fd.h"

namespace samovar::ipc {

// Pages are allocated and given back by chunks of so many.
inline constexpr std::uint32_t kChunkPages = 16;
inline constexpr std::uint64_t kChunkBytes = std::uint64_t{kChunkPages} * kPageBytes;

// A set of chunks, as bits.
class ChunkSet {
 public:
  explicit ChunkSet(std::uint64_t chunks) : words_((chunks + 63) / 64) {}

  bool contains_all(std::uint64_t first, std::uint64_t end) const;
  void insert(std::uint64_t first, std::uint64_t end);
  void erase(std::uint64_t first, std::uint64_t end);
  void clear() { std::fill(words_.begin(), words_.end(), 0); }
  void swap(ChunkSet& other) { words_.swap(other.words_); }
  bool contains(std::uint64_t chunk) const { return (words_[chunk / 64] >> (chunk % 64) & 1) != 0; }
  std::uint64_t next(std::uint64_t from, std::uint64_t end) const;  // the first member in [from, end), or end
  std::uint64_t size() const;

 private:
  template <typename Change>
  void change(std::uint64_t first, std::uint64_t end, Change&& change);

  std::vector<std::uint64_t> words_;
};

// An arena's size: a multiple of chunks.
inline constexpr std::uint64_t kArenaBytesMin = kChunkBytes;
inline constexpr std::uint64_t kArenaBytesMax = std::uint64_t{1} << 40;
constexpr std::uint64_t arena_bytes(std::uint64_t wanted) { return (wanted + kChunkBytes - 1) / kChunkBytes * kChunkBytes; }

// The bytes of a block that a peer names, or nothing where they lie outside the arena.
inline std::optional<std::span<const std::byte>> block_at(std::span<const std::byte> arena, BlockReference block) {
  if (block.offset > arena.size() || block.size > arena.size() - block.offset) return std::nullopt;
  return arena.subspan(block.offset, block.size);
}

class Arena {
 public:
  // Over the memfd `fd` from `file_offset` on, mapped writable at `memory`, which outlives this. Offsets of blocks count from there.
  // Requires: `memory.size()` is arena_bytes() of something.
  Arena(UniqueFd fd, std::span<std::byte> memory, std::uint64_t file_offset = 0);

  // The same, mapping it here.
  static SystemResult<Arena> map(UniqueFd fd, std::uint64_t bytes);

  // A block of at least `bytes`, its pages allocated; nothing where no room is. Fails: the system has no memory.
  SystemResult<std::optional<std::uint64_t>> allocate(std::uint64_t bytes);
  bool free(std::uint64_t offset);  // false: no block begins there

  // allocate() in steps, for who holds a lock meanwhile: reserve; if not backed, allocate pages without the lock, then set.
  std::optional<Span> reserve(std::uint64_t bytes);
  bool is_backed(Span span) const;
  SystemResult<void> allocate_pages(Span span) const;
  void set_backed(Span span);

  // Giving memory back, once a period: end_period() finds what no block has used for two of them; then take_stale() until it
  // has nothing, each span punched and returned. `pages_max` bounds one span, and so the time of one punch. What is allocated
  // meanwhile is left alone. False: nothing is free and backed that could become stale.
  bool end_period();
  std::optional<Span> take_stale(std::uint32_t pages_max);
  void punch(Span span) const;
  void return_punched(Span span);

  std::span<std::byte> memory() const { return memory_; }
  std::byte* at(std::uint64_t offset) const { return memory_.data() + offset; }
  int fd() const { return fd_.get(); }

  std::uint64_t bytes_total() const { return memory_.size(); }
  std::uint64_t bytes_in_use() const { return std::uint64_t{spans_.in_use()} * kPageBytes; }
  std::uint64_t bytes_backed() const { return backed_.size() * kChunkBytes; }  // what the kernel holds for it
  bool holds_memory() const { return backed_.next(0, memory_.size() / kChunkBytes) != memory_.size() / kChunkBytes; }
  std::uint64_t longest_free_bytes() const { return std::uint64_t{spans_.longest_free()} * kPageBytes; }

 private:
  SystemResult<void> allocate_file_pages(std::uint64_t offset, std::uint64_t bytes) const;
  void make_huge(std::uint64_t begin, std::uint64_t end) const;
  bool is_stale(std::uint64_t chunk) const { return backed_.contains(chunk) && !used_.contains(chunk) && !used_before_.contains(chunk); }

  Segment segment_;  // empty on memory of others
  UniqueFd fd_;
  std::span<std::byte> memory_;
  std::uint64_t file_offset_;
  SpanAllocator spans_;
  ChunkSet backed_;
  ChunkSet used_;         // in this period
  ChunkSet used_before_;  // in the last one
  std::vector<Span> stale_;
};

}  // namespace samovar::ipc
