#include "core/arenas/request_arena.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <new>
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

ipc::SystemResult<RequestArena::Owner> RequestArena::create(const std::string& name, std::uint64_t bytes) {
  auto fd = ipc::create_memfd((name + "-requests").c_str(), bytes);
  if (!fd) return tl::unexpected(fd.error());
  if (auto sealed = ipc::seal_seals(*fd); !sealed) return tl::unexpected(sealed.error());
  auto worker_fd = ipc::reopen_read_only(*fd);
  if (!worker_fd) return tl::unexpected(worker_fd.error());
  try {
    auto arena = ipc::Arena::map(std::move(*fd), bytes);
    if (!arena) return tl::unexpected(arena.error());
    return Owner(new RequestArena(std::move(*arena), std::move(*worker_fd)));
  } catch (const std::bad_alloc&) {  // address space for its books: 24 bytes a page
    errno = ENOMEM;
    return ipc::system_error("the books of the request arena (request_arena_bytes = " + std::to_string(bytes) + ")");
  }
}

RequestArena::RequestArena(ipc::Arena arena, ipc::UniqueFd worker_fd)
    : worker_fd_(std::move(worker_fd)),
      // Zero and untouched, as it comes from the system: 4 bytes for each page that a block has begun at.
      references_(static_cast<std::atomic<std::uint32_t>*>(
          std::calloc(arena.bytes_total() / ipc::kPageBytes, sizeof(std::atomic<std::uint32_t>)))),
      arena_(std::move(arena)) {
  if (!references_) throw std::bad_alloc();
}

Result<detail::Block> RequestArena::allocate(std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  const std::optional<ipc::Span> span = arena_.reserve(bytes);
  if (!span) return tl::unexpected(bytes > arena_.bytes_total() ? payload_too_large(bytes, arena_.bytes_total()) : full(bytes));
  const std::uint64_t offset = std::uint64_t{span->first} * ipc::kPageBytes;
  if (!arena_.is_backed(*span)) {
    lock.unlock();
    auto allocated = arena_.allocate_pages(*span);
    lock.lock();
    if (!allocated) {
      arena_.free(offset);
      return tl::unexpected(no_pages(allocated.error(), bytes));
    }
    arena_.set_backed(*span);
  }
  ++blocks_;
  references(offset).store(1, std::memory_order_relaxed);
  return detail::Block(this, offset);
}

Error RequestArena::full(std::uint64_t bytes) const {
  return arena_full(bytes, arena_.bytes_total(), arena_.bytes_in_use(), arena_.longest_free_bytes());
}

void RequestArena::free(std::uint64_t offset) {
  bool last;
  {
    const std::lock_guard lock(mutex_);
    arena_.free(offset);
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
  trim_expected_ = arena_.end_period();
  while (const std::optional<ipc::Span> span = arena_.take_stale(kPunchPages)) {
    lock.unlock();  // loans go on meanwhile
    arena_.punch(*span);
    lock.lock();
    arena_.return_punched(*span);
  }
  return trim_expected_;
}

void RequestArena::on_trim_expected(std::function<void()> expected) {
  const std::lock_guard lock(mutex_);
  on_trim_expected_ = std::move(expected);
}

std::uint64_t RequestArena::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return arena_.bytes_in_use();
}

std::uint64_t RequestArena::bytes_backed() const {
  const std::lock_guard lock(mutex_);
  return arena_.bytes_backed();
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
