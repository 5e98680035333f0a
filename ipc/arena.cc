#include "ipc/arena.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace samovar::ipc {
namespace {

std::uint32_t pages_of(std::uint64_t bytes) { return static_cast<std::uint32_t>((bytes + kPageBytes - 1) / kPageBytes); }

std::uint32_t chunks_of(std::uint32_t pages) { return (pages + kChunkPages - 1) / kChunkPages; }

}  // namespace

Arena::Arena(UniqueFd fd, std::span<std::byte> memory)
    : fd_(std::move(fd)), memory_(memory), spans_(pages_of(memory.size())), backed_((memory.size() / kChunkBytes + 63) / 64) {}

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
  return spans_.free(static_cast<std::uint32_t>(offset / kPageBytes));
}

std::optional<Span> Arena::reserve(std::uint64_t bytes) {
  if (bytes > memory_.size()) return std::nullopt;
  const std::uint32_t pages = std::max(pages_of(bytes), 1u);
  const std::optional<std::uint32_t> first = spans_.allocate(pages);
  if (!first) return std::nullopt;
  peak_ = std::max(peak_, spans_.in_use());
  return Span{*first, pages};
}

bool Arena::is_backed(Span span) const {
  for (std::uint32_t chunk = span.first / kChunkPages; chunk < chunks_of(span.end());) {
    if (chunk % 64 == 0 && chunk + 64 <= chunks_of(span.end())) {
      if (~backed_[chunk / 64] != 0) return false;
      chunk += 64;
    } else if (!backed(chunk++)) {
      return false;
    }
  }
  return true;
}

SystemResult<void> Arena::allocate_pages(Span span) const {
  const std::uint32_t first = span.first / kChunkPages;
  const std::uint32_t count = chunks_of(span.end()) - first;
  while (fallocate(fd_.get(), 0, static_cast<off_t>(first * kChunkBytes), static_cast<off_t>(count * kChunkBytes)) != 0) {
    if (errno != EINTR) return system_error("fallocate of " + std::to_string(count * kChunkBytes) + " bytes in an arena");
  }
  return {};
}

void Arena::set_backed(Span span) {
  for (std::uint32_t chunk = span.first / kChunkPages; chunk < chunks_of(span.end()); ++chunk) set(chunk, true);
}

void Arena::set(std::uint32_t chunk, bool backed_now) {
  if (backed(chunk) == backed_now) return;
  backed_[chunk / 64] ^= std::uint64_t{1} << (chunk % 64);
  backed_chunks_ += backed_now ? 1u : ~0u;
}

void Arena::begin_period() {
  keep_ = std::max(peak_, peak_before_);
  peak_before_ = std::exchange(peak_, spans_.in_use());
}

// Backed chunks that lie wholly in free spans, from the end of the arena on.
std::optional<Span> Arena::take_excess(std::uint32_t pages_max) {
  const std::uint32_t keep_chunks = chunks_of(keep_);
  if (backed_chunks_ <= keep_chunks) return std::nullopt;
  const std::uint32_t most = std::min(backed_chunks_ - keep_chunks, std::max(pages_max / kChunkPages, 1u));
  for (Span span = spans_.last(); span.count != 0; span = spans_.before(span)) {
    if (!spans_.is_free(span)) continue;
    const std::uint32_t first = chunks_of(span.first);
    std::uint32_t end = span.end() / kChunkPages;
    while (end > first && !backed(end - 1)) --end;
    std::uint32_t begin = end;
    while (begin > first && end - begin < most && backed(begin - 1)) --begin;
    if (begin == end) continue;
    const Span part{begin * kChunkPages, (end - begin) * kChunkPages};
    spans_.take(span, part);
    return part;
  }
  return std::nullopt;
}

void Arena::punch(Span span) const {
  // Refused, the pages merely stay: they are still a hole's worth of memory, and the next use writes over them.
  (void)fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(std::uint64_t{span.first} * kPageBytes),
                  static_cast<off_t>(std::uint64_t{span.count} * kPageBytes));
}

void Arena::return_punched(Span span) {
  for (std::uint32_t chunk = span.first / kChunkPages; chunk < span.end() / kChunkPages; ++chunk) set(chunk, false);
  spans_.free(span.first);
}

}  // namespace samovar::ipc
