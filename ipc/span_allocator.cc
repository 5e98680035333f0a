#include "ipc/span_allocator.h"

#include <algorithm>
#include <bit>
#include <new>

namespace samovar::ipc {

SpanAllocator::SpanAllocator(std::uint32_t granules)
    : granules_(granules), tags_(map_tags(granules)) {
  for (auto& row : heads_) row.fill(kNone);
  set(0, granules, kNone);
  insert(0);
}

std::unique_ptr<SpanAllocator::Tag[], SpanAllocator::Unmap> SpanAllocator::map_tags(std::uint32_t count) {
  const std::size_t bytes = count * sizeof(Tag);
  void* tags = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (tags == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<Tag*>(tags), Unmap{bytes}};
}

// Sizes below 16 have a class each; above, a power of two is divided into 16.
SpanAllocator::Class SpanAllocator::class_of(std::uint32_t count) {
  if (count < kSeconds) return {0, static_cast<int>(count)};
  const int power = std::bit_width(count) - 1;
  return {power - kSecondBits + 1, static_cast<int>(count >> (power - kSecondBits)) - kSeconds};
}

// The least size of a class in which every span holds `count`.
std::uint32_t SpanAllocator::rounded_up(std::uint32_t count) {
  if (count < kSeconds) return count;
  const std::uint32_t step = 1u << (std::bit_width(count) - 1 - kSecondBits);
  return count > UINT32_MAX - step ? count : (count + step - 1) & ~(step - 1);
}

std::uint32_t SpanAllocator::find(std::uint32_t count) const {
  const auto [first, second] = class_of(rounded_up(count));
  if (first < kFirsts) {
    const std::uint32_t here = second_bits_[static_cast<std::size_t>(first)] & (~0u << second);
    if (here != 0) return heads_[static_cast<std::size_t>(first)][static_cast<std::size_t>(std::countr_zero(here))];
    const std::uint32_t above = first + 1 < 32 ? first_bits_ & (~0u << (first + 1)) : 0;
    if (above != 0) {
      const auto row = static_cast<std::size_t>(std::countr_zero(above));
      return heads_[row][static_cast<std::size_t>(std::countr_zero(second_bits_[row]))];
    }
  }
  // The class of `count` itself holds shorter spans, too; before giving up, look for one that is long enough.
  const auto own = class_of(count);
  for (std::uint32_t at = heads_[static_cast<std::size_t>(own.first)][static_cast<std::size_t>(own.second)]; at != kNone;
       at = tags_[at].list_next) {
    if (tags_[at].count >= count) return at;
  }
  return kNone;
}

std::optional<std::uint32_t> SpanAllocator::allocate(std::uint32_t count) {
  if (count > granules_) return std::nullopt;
  const std::uint32_t at = find(count);
  if (at == kNone) return std::nullopt;
  remove(at);
  cut(at, count);
  tags_[at].used = 1;
  in_use_ += count;
  return at;
}

bool SpanAllocator::free(std::uint32_t first) {
  if (used_at(first) == 0) return false;
  std::uint32_t at = first;
  std::uint32_t count = tags_[at].count;
  in_use_ -= count;
  if (const std::uint32_t next = at + count; next < granules_ && tags_[next].used == 0) {
    remove(next);
    count += tags_[next].count;
    tags_[next].count = 0;
  }
  if (const std::uint32_t previous = tags_[at].previous; previous != kNone && tags_[previous].used == 0) {
    remove(previous);
    count += tags_[previous].count;
    tags_[at].count = 0;
    at = previous;
  }
  set(at, count, tags_[at].previous);
  insert(at);
  return true;
}

void SpanAllocator::take(Span free_span, Span part) {
  remove(free_span.first);
  if (part.first != free_span.first) {
    set(part.first, free_span.end() - part.first, free_span.first);
    set(free_span.first, part.first - free_span.first, tags_[free_span.first].previous);
    insert(free_span.first);
  }
  cut(part.first, part.count);
  tags_[part.first].used = 1;
  in_use_ += part.count;
}

std::uint32_t SpanAllocator::used_at(std::uint32_t first) const {
  return first < granules_ && tags_[first].used != 0 ? tags_[first].count : 0;
}

Span SpanAllocator::before(Span span) const {
  const std::uint32_t previous = tags_[span.first].previous;
  return previous == kNone ? Span{} : Span{previous, tags_[previous].count};
}

std::uint32_t SpanAllocator::longest_free() const {
  if (first_bits_ == 0) return 0;
  const auto row = static_cast<std::size_t>(std::bit_width(first_bits_) - 1);
  const auto column = static_cast<std::size_t>(std::bit_width(second_bits_[row]) - 1);
  std::uint32_t longest = 0;
  for (std::uint32_t at = heads_[row][column]; at != kNone; at = tags_[at].list_next) longest = std::max(longest, tags_[at].count);
  return longest;
}

void SpanAllocator::insert(std::uint32_t at) {
  const auto [first, second] = class_of(tags_[at].count);
  std::uint32_t& head = heads_[static_cast<std::size_t>(first)][static_cast<std::size_t>(second)];
  tags_[at].list_previous = kNone;
  tags_[at].list_next = head;
  if (head != kNone) tags_[head].list_previous = at;
  head = at;
  first_bits_ |= 1u << first;
  second_bits_[static_cast<std::size_t>(first)] |= 1u << second;
}

void SpanAllocator::remove(std::uint32_t at) {
  const auto [first, second] = class_of(tags_[at].count);
  const Tag& tag = tags_[at];
  std::uint32_t& head = heads_[static_cast<std::size_t>(first)][static_cast<std::size_t>(second)];
  (tag.list_previous == kNone ? head : tags_[tag.list_previous].list_next) = tag.list_next;
  if (tag.list_next != kNone) tags_[tag.list_next].list_previous = tag.list_previous;
  if (head != kNone) return;
  std::uint32_t& row = second_bits_[static_cast<std::size_t>(first)];
  row &= ~(1u << second);
  if (row == 0) first_bits_ &= ~(1u << first);
}

void SpanAllocator::cut(std::uint32_t at, std::uint32_t count) {
  const std::uint32_t rest = tags_[at].count - count;
  if (rest == 0) return;
  tags_[at].count = count;
  set(at + count, rest, at);
  insert(at + count);
}

// A span that is not in use, and its neighbour behind told of it.
void SpanAllocator::set(std::uint32_t at, std::uint32_t count, std::uint32_t previous) {
  tags_[at].count = count;
  tags_[at].previous = previous;
  tags_[at].used = 0;
  if (at + count < granules_) {
    tags_[at + count].previous = at;
  } else {
    last_ = at;
  }
}

}  // namespace samovar::ipc
