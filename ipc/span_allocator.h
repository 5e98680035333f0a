// SpanAllocator: which granules of an arena are in use. Two-level segregated fit (Masmano et al., "TLSF: a new dynamic memory
// allocator for real-time systems", 2004) over numbers: it never touches the memory it hands out, so its state can stay in the
// owner's private memory while the peer maps the arena.
//
// Threads: one at a time. Cost: constant, but for longest_free().
// Invariants: (1) Spans tile [0, granules) without gap or overlap. (2) Two free spans never touch. (3) Every free span is in
// the list of its size class, and a class's bit is set if and only if its list has one.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace samovar::ipc {

struct Span {
  std::uint32_t first = 0;  // granule
  std::uint32_t count = 0;  // granules

  std::uint32_t end() const { return first + count; }
  friend bool operator==(const Span&, const Span&) = default;
};

class SpanAllocator {
 public:
  // Owns 20 bytes per granule of address space, which become memory as spans begin there.
  // Requires: 0 < granules < 2^31. Fails: std::bad_alloc.
  explicit SpanAllocator(std::uint32_t granules);

  // The first of `count` granules, or nothing where no free span is that long. Requires: count > 0.
  std::optional<std::uint32_t> allocate(std::uint32_t count);

  // Gives back the span that begins at `first`. False: none in use begins there. (Peers name spans, too.)
  bool free(std::uint32_t first);

  // Takes `part` of a free span, as if it had been allocated. Requires: `part` lies within `free_span`, which is one.
  void take(Span free_span, Span part);

  // Length of the span in use that begins at `first`, or 0.
  std::uint32_t used_at(std::uint32_t first) const;
  std::uint32_t free_at(std::uint32_t first) const { return tags_[first].used == 0 ? tags_[first].count : 0; }  // likewise

  // All spans, from the last to the first: the last one, and the one before `span` (of no granules where that is the first).
  Span last() const { return {last_, tags_[last_].count}; }
  Span before(Span span) const;
  bool is_free(Span span) const { return tags_[span.first].used == 0; }

  std::uint32_t granules() const { return granules_; }
  std::uint32_t in_use() const { return in_use_; }  // granules
  std::uint32_t longest_free() const;               // granules

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr int kSecondBits = 4;  // each power of two is divided into 16 classes
  static constexpr int kSeconds = 1 << kSecondBits;
  static constexpr int kFirsts = 32 - kSecondBits;

  // At the granule where a span begins. Zero, as memory comes from the system: no span begins here.
  struct Tag {
    std::uint32_t count;     // of the span, 0: none begins here
    std::uint32_t previous;  // where the span before it begins
    std::uint32_t used;
    std::uint32_t list_previous;  // of a free one
    std::uint32_t list_next;
  };

  struct Class {
    int first;
    int second;
  };

  struct Unmap {
    std::size_t bytes;
    void operator()(Tag* tags) const { munmap(tags, bytes); }
  };

  static std::unique_ptr<Tag[], Unmap> map_tags(std::uint32_t count);
  static Class class_of(std::uint32_t count);
  static std::uint32_t rounded_up(std::uint32_t count);
  std::uint32_t find(std::uint32_t count) const;
  void insert(std::uint32_t at);
  void remove(std::uint32_t at);
  void cut(std::uint32_t at, std::uint32_t count);  // the span at `at` keeps `count`; the rest becomes a free span
  void set(std::uint32_t at, std::uint32_t count, std::uint32_t previous);

  std::uint32_t granules_;
  std::uint32_t in_use_ = 0;
  std::uint32_t last_ = 0;  // where the last span begins
  std::unique_ptr<Tag[], Unmap> tags_;  // of its own mapping: calloc() may take, and clear, a used piece of the heap
  std::uint32_t first_bits_ = 0;
  std::array<std::uint32_t, kFirsts> second_bits_{};
  std::array<std::array<std::uint32_t, kSeconds>, kFirsts> heads_;
};

}  // namespace samovar::ipc
