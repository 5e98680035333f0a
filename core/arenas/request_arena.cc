#include "core/arenas/request_arena.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>

#include "core/errors.h"
#include "ipc/clock.h"

namespace samovar::detail {

void Block::add_reference() const {
  if (arena_) arena_->references(offset_).fetch_add(1, std::memory_order_relaxed);
}

void Block::drop_reference() {
  core::RequestArena* arena = std::exchange(arena_, nullptr);
  // ACQ_REL: whoever allocates these bytes next comes after everybody who used them.
  if (arena->references(offset_).fetch_sub(1, std::memory_order_acq_rel) == 1) arena->free(offset_);
}

}  // namespace samovar::detail

namespace samovar::core {
namespace {

constexpr std::uint32_t kPunchPages = 8192;  // 32 MiB

}  // namespace

ipc::SystemResult<RequestArena::Owner> RequestArena::create(const std::string& name, std::uint64_t bytes, std::vector<int> nodes) {
  const std::size_t count = std::max<std::size_t>(nodes.size(), 1);
  auto fd = ipc::create_memfd((name + "-requests").c_str(), bytes * count);
  if (!fd) return tl::unexpected(fd.error());
  if (auto sealed = ipc::seal_seals(*fd); !sealed) return tl::unexpected(sealed.error());
  auto worker_fd = ipc::reopen_read_only(*fd);
  if (!worker_fd) return tl::unexpected(worker_fd.error());
  try {
    auto segment = ipc::Segment::map(*fd, bytes * count, ipc::Access::read_write, ipc::Populate::no);
    if (!segment) return tl::unexpected(segment.error());
    Parts parts{.segment = std::move(*segment), .worker_fd = std::move(*worker_fd), .regions = {}, .nodes = std::move(nodes), .unbound = {}};
    for (std::size_t i = 0; i < count; ++i) {
      ipc::UniqueFd own(fcntl(fd->get(), F_DUPFD_CLOEXEC, 0));
      if (!own) return ipc::system_error("a descriptor of the request arena");
      const std::span<std::byte> memory(parts.segment.data() + i * bytes, bytes);
      const auto preferred = ipc::prefer_node(memory, parts.nodes.empty() ? ipc::kAnyNode : parts.nodes[i]);
      if (!preferred && !parts.unbound) parts.unbound = preferred.error();
      parts.regions.emplace_back(std::move(own), memory, i * bytes);
    }
    return Owner(new RequestArena(std::move(parts)));
  } catch (const std::bad_alloc&) {  // address space for its books: 24 bytes a page
    errno = ENOMEM;
    return ipc::system_error("the books of the request arena (request_arena_bytes = " + std::to_string(bytes) + ")");
  }
}

RequestArena::RequestArena(Parts parts)
    : segment_(std::move(parts.segment)),
      memory_(segment_.data()),
      worker_fd_(std::move(parts.worker_fd)),
      nodes_(std::move(parts.nodes)),
      unbound_(std::move(parts.unbound)),
      // Zero and untouched, as it comes from the system: 4 bytes for each page that a block has begun at.
      references_(static_cast<std::atomic<std::uint32_t>*>(
          std::calloc(segment_.size() / ipc::kPageBytes, sizeof(std::atomic<std::uint32_t>)))),
      regions_(std::move(parts.regions)),
      region_bytes_(regions_.front().bytes_total()) {
  if (!references_) throw std::bad_alloc();
}

Result<detail::Block> RequestArena::allocate(std::uint64_t bytes, int node) {
  std::unique_lock lock(mutex_);
  const std::optional<Place> place = reserve(bytes, node);
  if (!place) return tl::unexpected(bytes > region_bytes_ ? payload_too_large(bytes, region_bytes_) : full(bytes));
  ipc::Arena& region = regions_[place->region];
  const std::uint64_t offset = place->region * region_bytes_ + std::uint64_t{place->span.first} * ipc::kPageBytes;
  if (!region.is_backed(place->span)) {
    lock.unlock();
    auto allocated = region.allocate_pages(place->span);
    lock.lock();
    if (!allocated) {
      give_back(offset);
      return tl::unexpected(no_pages(allocated.error(), bytes));
    }
    region.set_backed(place->span);
  }
  ++blocks_;
  references(offset).store(1, std::memory_order_relaxed);
  return detail::Block(this, offset);
}

std::optional<RequestArena::Place> RequestArena::reserve(std::uint64_t bytes, int node) {
  std::size_t region = 0;
  std::optional<ipc::Span> span;
  if (!is_spread()) {
    span = regions_.front().reserve(bytes);
  } else if (std::max<std::uint64_t>(bytes, 1) <= region_bytes_ - in_use_) {  // what is left is whole pages
    // A thread on a node without workers begins with the first region. The next one serves where this one is too much divided.
    const auto own = std::find(nodes_.begin(), nodes_.end(), node);
    if (own != nodes_.end()) region = static_cast<std::size_t>(own - nodes_.begin());
    for (std::size_t i = 0; i < regions_.size() && !(span = regions_[region].reserve(bytes)); ++i) region = (region + 1) % regions_.size();
  }
  if (!span) return std::nullopt;
  in_use_ += std::uint64_t{span->count} * ipc::kPageBytes;
  return Place{region, *span};
}

void RequestArena::give_back(std::uint64_t offset) {
  ipc::Arena& region = regions_[region_at(offset)];
  const std::uint64_t before = region.bytes_in_use();
  region.free(offset - region_at(offset) * region_bytes_);
  in_use_ -= before - region.bytes_in_use();
}

Error RequestArena::full(std::uint64_t bytes) const {
  std::uint64_t longest = 0;
  for (const ipc::Arena& region : regions_) longest = std::max(longest, region.longest_free_bytes());
  return arena_full(bytes, region_bytes_, in_use_, std::min(longest, region_bytes_ - in_use_));
}

void RequestArena::free(std::uint64_t offset) {
  bool last;
  {
    const std::lock_guard lock(mutex_);
    give_back(offset);
    last = --blocks_ == 0 && closed_;
    if (waiting_ > 0) released_.notify_all();
    expect_trim();
  }
  if (last) delete this;
}

void RequestArena::expect_trim() {
  if (!std::exchange(trim_expected_, true) && on_trim_expected_) on_trim_expected_();
}

void RequestArena::expect_releases() {
  const std::lock_guard lock(mutex_);
  expect_trim();
}

void RequestArena::wait_for_release(std::int64_t until_ns) {
  std::unique_lock lock(mutex_);
  ++waiting_;
  released_.wait_for(lock, std::chrono::nanoseconds(std::max<std::int64_t>(until_ns - ipc::now_ns(), 0)));
  --waiting_;
}

bool RequestArena::trim() {
  std::unique_lock lock(mutex_);
  trim_expected_ = false;
  for (ipc::Arena& region : regions_) {
    if (region.end_period()) trim_expected_ = true;
  }
  for (ipc::Arena& region : regions_) {
    while (const std::optional<ipc::Span> span = region.take_stale(kPunchPages)) {
      lock.unlock();  // loans go on meanwhile
      region.punch(*span);
      lock.lock();
      region.return_punched(*span);
    }
  }
  return trim_expected_;
}

void RequestArena::on_trim_expected(std::function<void()> expected) {
  const std::lock_guard lock(mutex_);
  on_trim_expected_ = std::move(expected);
}

std::uint64_t RequestArena::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

std::uint64_t RequestArena::bytes_backed() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const ipc::Arena& region : regions_) bytes += region.bytes_backed();
  return bytes;
}

void RequestArena::close() {
  bool last;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    on_trim_expected_ = nullptr;
    last = blocks_ == 0;
  }
  if (last) delete this;
}

}  // namespace samovar::core
