// Loan: a block of shared memory borrowed from a pool, written in place and moved into a call: no byte of it is copied.
//
//   auto frame = pool.loan(8 << 20);                            // Result<Loan>
//   read_frame(frame->span());
//   pool.call("detect", std::move(*frame));                     // as `bytes`; samovar::text(std::move(*frame)) as a str
//
// Threads: one at a time. A loan may outlive its pool; it is given back when it, and all that it was moved into, are gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <samovar/api.h>

namespace samovar {

namespace core {
class RequestArena;
}

namespace detail {

// Shares the ownership of one block of a request arena.
class SAMOVAR_API Block {
 public:
  Block() = default;
  Block(const Block& other) : arena_(other.arena_), offset_(other.offset_) { add_reference(); }
  Block(Block&& other) noexcept : arena_(std::exchange(other.arena_, nullptr)), offset_(other.offset_) {}
  Block& operator=(Block other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(offset_, other.offset_);
    return *this;
  }
  ~Block() { reset(); }

  explicit operator bool() const { return arena_ != nullptr; }
  core::RequestArena* arena() const { return arena_; }
  std::uint64_t offset() const { return offset_; }
  void reset() {
    if (arena_) drop_reference();
  }

 private:
  friend class core::RequestArena;
  Block(core::RequestArena* arena, std::uint64_t offset) : arena_(arena), offset_(offset) {}  // takes over a reference
  void add_reference() const;
  void drop_reference();

  core::RequestArena* arena_ = nullptr;
  std::uint64_t offset_ = 0;
};

}  // namespace detail

class Loan {
 public:
  // Made by Pool::loan().
  Loan(detail::Block block, std::span<std::byte> span) : block_(std::move(block)), span_(span) {}

  Loan(Loan&& other) noexcept : block_(std::move(other.block_)), span_(std::exchange(other.span_, {})) {}
  Loan& operator=(Loan&& other) noexcept {
    block_ = std::move(other.block_);
    span_ = std::exchange(other.span_, {});
    return *this;
  }

  // Aligned to 4096 bytes. Content: whatever an earlier payload of this pool has left there, or zeros.
  std::span<std::byte> span() const { return span_; }
  std::byte* data() const { return span_.data(); }
  std::size_t size() const { return span_.size(); }

  // Copies `bytes` to `at`. Quicker than memcpy() where they are many, since they go past this core's caches to the worker's:
  // up to nine times where the two share none. Requires: they have room within size(), and do not overlap it.
  SAMOVAR_API void write(std::span<const std::byte> bytes, std::size_t at = 0);

  // Sends only the first `bytes`. Requires: no more than size().
  void truncate(std::size_t bytes) { span_ = span_.first(bytes); }

  // Sends only `bytes` from `offset` on. Requires: they lie within size().
  void narrow(std::size_t offset, std::size_t bytes) { span_ = span_.subspan(offset, bytes); }

 private:
  friend class Payload;

  detail::Block block_;
  std::span<std::byte> span_;
};

}  // namespace samovar
