#include "ipc/arena.h"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include "ipc/huge_pages.h"

namespace samovar::ipc {
namespace {

std::uint32_t pages_of(std::uint64_t bytes) { return static_cast<std::uint32_t>((bytes + kPageBytes - 1) / kPageBytes); }

std::uint32_t chunks_of(std::uint32_t pages) { return (pages + kChunkPages - 1) / kChunkPages; }

}  // namespace

template <typename Change>
void ChunkSet::change(std::uint64_t first, std::uint64_t end, Change&& change) {
  while (first < end) {
    const std::uint64_t count = std::min(end - first, 64 - first % 64);
    const std::uint64_t mask = (count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1) << (first % 64);
    change(words_[first / 64], mask);
    first += count;
  }
}

void ChunkSet::insert(std::uint64_t first, std::uint64_t end) {
  change(first, end, [](std::uint64_t& word, std::uint64_t mask) { word |= mask; });
}

void ChunkSet::erase(std::uint64_t first, std::uint64_t end) {
  change(first, end, [](std::uint64_t& word, std::uint64_t mask) { word &= ~mask; });
}

bool ChunkSet::contains_all(std::uint64_t first, std::uint64_t end) const {
  bool all = true;
  const_cast<ChunkSet*>(this)->change(first, end, [&](std::uint64_t& word, std::uint64_t mask) { all &= (word & mask) == mask; });
  return all;
}

std::uint64_t ChunkSet::next(std::uint64_t from, std::uint64_t end) const {
  while (from < end) {
    if (const std::uint64_t word = words_[from / 64] >> (from % 64); word != 0) return std::min(from + static_cast<std::uint64_t>(std::countr_zero(word)), end);
    from = (from / 64 + 1) * 64;
  }
  return end;
}

std::uint64_t ChunkSet::size() const {
  std::uint64_t size = 0;
  for (const std::uint64_t word : words_) size += static_cast<std::uint64_t>(std::popcount(word));
  return size;
}

Arena::Arena(UniqueFd fd, std::span<std::byte> memory, std::uint64_t file_offset)
    : fd_(std::move(fd)),
      memory_(memory),
      file_offset_(file_offset),
      spans_(pages_of(memory.size())),
      backed_(memory.size() / kChunkBytes),
      used_(memory.size() / kChunkBytes),
      used_before_(memory.size() / kChunkBytes) {}

SystemResult<Arena> Arena::map(UniqueFd fd, std::uint64_t bytes) {
  auto segment = Segment::map(fd, bytes, Access::read_write, Populate::no);
  if (!segment) return tl::unexpected(segment.error());
  Arena arena(std::move(fd), {segment->data(), static_cast<std::size_t>(bytes)});
  arena.segment_ = std::move(*segment);
  return arena;
}

SystemResult<std::optional<std::uint64_t>> Arena::allocate(std::uint64_t bytes) {
  const std::optional<Span> span = reserve(bytes);
  if (!span) return std::optional<std::uint64_t>();
  const std::uint64_t offset = std::uint64_t{span->first} * kPageBytes;
  if (!is_backed(*span)) {
    if (auto allocated = allocate_pages(*span); !allocated) {
      free(offset);
      return tl::unexpected(allocated.error());
    }
    set_backed(*span);
  }
  return std::optional(offset);
}

bool Arena::free(std::uint64_t offset) {
  if (offset % kPageBytes != 0 || offset >= memory_.size()) return false;
  const auto first = static_cast<std::uint32_t>(offset / kPageBytes);
  const std::uint32_t pages = spans_.used_at(first);
  if (!spans_.free(first)) return false;
  used_.insert(first / kChunkPages, chunks_of(first + pages));
  return true;
}

std::optional<Span> Arena::reserve(std::uint64_t bytes) {
  if (bytes > memory_.size()) return std::nullopt;
  const std::uint32_t pages = std::max(pages_of(bytes), 1u);
  const std::optional<std::uint32_t> first = spans_.allocate(pages);
  if (!first) return std::nullopt;
  return Span{*first, pages};
}

bool Arena::is_backed(Span span) const { return backed_.contains_all(span.first / kChunkPages, chunks_of(span.end())); }

SystemResult<void> Arena::allocate_pages(Span span) const {
  const std::uint64_t begin = span.first / kChunkPages * kChunkBytes;
  const std::uint64_t end = chunks_of(span.end()) * kChunkBytes;
  make_huge(begin, end);
  return allocate_file_pages(begin, end - begin);  // does nothing where they are there
}

// A page in each, from the arena's node, has the kernel take the huge one there. That takes it 0.1 ms, and 512 small ones, which are
// cleared and mapped one by one when they are used, 2 ms. Where it does not come to it, small ones serve.
void Arena::make_huge(std::uint64_t begin, std::uint64_t end) const {
  const std::uint64_t first = -(file_offset_ + begin) % kHugePageBytes + begin;
  if (first + kHugePageBytes > end || !has_huge_pages()) return;
  const std::uint64_t bytes = (end - first) / kHugePageBytes * kHugePageBytes;
  for (std::uint64_t at = first; at < first + bytes; at += kHugePageBytes) {
    if (!allocate_file_pages(at, kPageBytes)) return;
  }
  (void)collapse(memory_.subspan(first, bytes));
}

SystemResult<void> Arena::allocate_file_pages(std::uint64_t offset, std::uint64_t bytes) const {
  while (fallocate(fd_.get(), 0, static_cast<off_t>(file_offset_ + offset), static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return system_error("fallocate of " + std::to_string(bytes) + " bytes in an arena");
  }
  return {};
}

void Arena::set_backed(Span span) { backed_.insert(span.first / kChunkPages, chunks_of(span.end())); }

bool Arena::end_period() {
  stale_.clear();
  bool more = false;
  for (Span span = spans_.last(); span.count != 0; span = spans_.before(span)) {
    if (!spans_.is_free(span)) continue;
    const std::uint64_t end = span.end() / kChunkPages;
    bool stale = false;
    for (std::uint64_t chunk = backed_.next(chunks_of(span.first), end); chunk < end; chunk = backed_.next(chunk + 1, end)) {
      (is_stale(chunk) ? stale : more) = true;
    }
    if (stale) stale_.push_back(span);
  }
  used_.swap(used_before_);
  used_.clear();
  return more;
}

std::optional<Span> Arena::take_stale(std::uint32_t pages_max) {
  for (; !stale_.empty(); stale_.pop_back()) {
    const Span span = stale_.back();
    if (spans_.free_at(span.first) != span.count) continue;  // somebody uses some of it by now
    const std::uint64_t end = span.end() / kChunkPages;
    std::uint64_t first = chunks_of(span.first);
    while (first < end && !is_stale(first)) ++first;
    std::uint64_t last = first;
    while (last < end && is_stale(last) && (last - first + 1) * kChunkPages <= std::max(pages_max, kChunkPages)) ++last;
    if (first == last) continue;
    const Span part{static_cast<std::uint32_t>(first * kChunkPages), static_cast<std::uint32_t>((last - first) * kChunkPages)};
    spans_.take(span, part);
    return part;
  }
  return std::nullopt;
}

void Arena::punch(Span span) const {
  // Refused, the pages stay until their next use, which finds them allocated.
  (void)fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(file_offset_ + std::uint64_t{span.first} * kPageBytes), static_cast<off_t>(std::uint64_t{span.count} * kPageBytes));
}

void Arena::return_punched(Span span) {
  backed_.erase(span.first / kChunkPages, span.end() / kChunkPages);
  spans_.free(span.first);
}

}  // namespace samovar::ipc
