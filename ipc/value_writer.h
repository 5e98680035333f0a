// ValueWriter: writes one value as bytes of kind `value` (VALUES.md), children before parents.
//
// Threads: one at a time. Meant to be kept and cleared: a small value then allocates nothing.
// Invariants: (1) Each call leaves exactly one more open value, except close_list() and close_dict(), which take the values
//   they close. (2) Nothing is shared, so the bytes are a tree. (3) Depth, UTF-8 and keys are the caller's to check: what
//   it sees (a PyObject, a Value) is what an error must name.
// Fails: std::bad_alloc, or std::length_error above kValueBytesMax; the caller's room catches both.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <vector>

#include "ipc/value_format.h"

namespace samovar::ipc {

class ValueWriter {
 public:
  // Forgets everything written; keeps the memory, unless one large value has made it grow past kKeptBytesMax.
  void clear() noexcept {
    size_ = 0;
    open_.clear();
    if (capacity_ > kKeptBytesMax) {
      bytes_.reset();
      capacity_ = 0;
      open_.shrink_to_fit();
    }
  }

  void null() { push(0, ValueType::null, 1); }
  void boolean(bool value) { push(value ? 1 : 0, ValueType::bool_, 1); }
  void integer(std::int64_t value) { push(static_cast<std::uint64_t>(value), ValueType::int_, width_of_signed(value)); }
  void unsigned_integer(std::uint64_t value) { push(value, ValueType::uint, width_of(value)); }
  // Always eight bytes: every bit pattern comes back, a NaN's payload too.
  void number(double value) { push(std::bit_cast<std::uint64_t>(value), ValueType::float_, 8); }

  // A str of `size` bytes, which the caller writes at the returned place before any other call.
  std::uint8_t* open_text(std::size_t size) {
    std::uint8_t* at = sized(size, 1, ValueType::string);
    at[size] = 0;
    return at;
  }
  void text(std::string_view value) { copy(open_text(value.size()), value.data(), value.size()); }
  void blob(const void* data, std::size_t size) { copy(sized(size, 0, ValueType::blob), data, size); }

  // How many values are open: what close_list() wants to know from before the first element.
  std::size_t open_count() const noexcept { return open_.size(); }

  // Makes one list of the values opened since open_count() was `first`.
  void close_list(std::size_t first) {
    const std::size_t at = write_vector(first, 0);
    const std::uint8_t width = vector_width_;
    open_.resize(first);
    push(at, ValueType::vector, width);
  }

  // Makes one dict of the last two values. Requires: both lists, of one length: the keys, then the values.
  void close_dict() {
    // Both keys and the vector of keys, always the same seven bytes and never shared: it is as small as an offset to a
    // shared one would be, and Verifier 2.0.8 takes a shared vector for one more level of depth.
    static constexpr std::uint8_t kKeys[] = {'k', 0, 'v', 0, 2, 5, 4};
    copy(room(sizeof(kKeys)), kKeys, sizeof(kKeys));
    const std::size_t keys_at = size_ - 2;
    const std::size_t first = open_.size() - 2;
    const std::size_t at = write_vector(first, keys_at);
    const std::uint8_t width = vector_width_;
    open_.resize(first);
    push(at, ValueType::map, width);
  }

  // Makes one dict of the values opened since open_count() was `first`: a key, its value, a key, its value.
  void close_entries(std::size_t first) {
    const std::size_t end = open_.size();
    for (std::size_t i = first; i < end; i += 2) open_.push_back(Slot(open_[i]));
    close_list(end);
    for (std::size_t i = first + 1; i < end; i += 2) open_.push_back(Slot(open_[i]));
    close_list(end + 1);
    close_dict();
    open_[first] = open_[end];
    open_.resize(first + 1);
  }

  // Ends the one open value and returns its bytes. Owned by the writer, until the next call of any kind.
  std::span<const std::byte> finish() {
    const Slot root = open_.front();
    std::uint8_t width = root.width;
    if (!is_inline(root.type)) {
      width = 1;
      while (width_of(aligned(width) - root.bits) > width) width *= 2;
    }
    align(width);
    std::uint8_t* at = room(width + 2U);
    const std::size_t slot_at = size_ - width - 2U;
    store(at, is_inline(root.type) ? root.bits : slot_at - root.bits, width);
    at[width] = packed(root.type, root.width);
    at[width + 1] = width;
    open_.clear();
    return {reinterpret_cast<const std::byte*>(bytes_.get()), size_};
  }

 private:
  static constexpr std::size_t kKeptBytesMax = 1U << 20U;

  struct Slot {
    std::uint64_t bits;  // the scalar, or where the value begins
    ValueType type;
    std::uint8_t width;  // bytes: of the scalar at least, or of the length and elements of what the slot points at
  };
  struct Freed {
    void operator()(std::uint8_t* bytes) const noexcept { std::free(bytes); }
  };

  static std::uint8_t packed(ValueType type, std::uint8_t width) {
    return static_cast<std::uint8_t>(static_cast<unsigned>(type) << 2U | static_cast<unsigned>(std::countr_zero(width)));
  }
  static void store(std::uint8_t* at, std::uint64_t value, std::uint8_t width) {
    switch (width) {
      case 1: *at = static_cast<std::uint8_t>(value); break;
      case 2: std::memcpy(at, &value, 2); break;
      case 4: std::memcpy(at, &value, 4); break;
      default: std::memcpy(at, &value, 8); break;
    }
  }
  static void copy(std::uint8_t* to, const void* from, std::size_t size) {
    if (size != 0) std::memcpy(to, from, size);
  }

  void push(std::uint64_t bits, ValueType type, std::uint8_t width) { open_.push_back({bits, type, width}); }

  // `size` more bytes at the end, uninitialised.
  std::uint8_t* room(std::size_t size) {
    if (size > capacity_ - size_) grow(size);
    std::uint8_t* at = bytes_.get() + size_;
    size_ += size;
    return at;
  }
  [[gnu::noinline]] void grow(std::size_t size) {
    if (size > kValueBytesMax - size_) throw std::length_error("value larger than 2 GiB");
    const std::size_t wanted = std::max({size_ + size, capacity_ * 2, std::size_t{1024}});
    auto* grown = static_cast<std::uint8_t*>(std::realloc(bytes_.get(), wanted));
    if (grown == nullptr) throw std::bad_alloc();
    static_cast<void>(bytes_.release());
    bytes_.reset(grown);
    capacity_ = wanted;
  }
  std::size_t aligned(std::size_t width) const { return (size_ + width - 1) & ~(width - 1); }
  void align(std::size_t width) {
    const std::size_t padding = aligned(width) - size_;
    if (padding != 0) std::memset(room(padding), 0, padding);
  }

  // A length, `size` bytes for the caller to write, and `after` more.
  std::uint8_t* sized(std::size_t size, std::size_t after, ValueType type) {
    if (size >= kValueBytesMax) throw std::length_error("value larger than 2 GiB");
    const std::uint8_t width = width_of(size);
    align(width);
    std::uint8_t* at = room(width + size + after);
    store(at, size, width);
    push(size_ - size - after, type, width);
    return at + width;
  }

  // Writes the open values from `first` on: for a map (keys_at != 0) where its keys are and how wide; the count; the slots;
  // their types. Leaves the width in vector_width_ and returns where the first slot is.
  std::size_t write_vector(std::size_t first, std::size_t keys_at) {
    const std::span<const Slot> slots = std::span(open_).subspan(first);
    const std::size_t before = keys_at != 0 ? 3 : 1;
    std::uint8_t width = width_of(slots.size());
    for (const Slot& slot : slots) {
      if (is_inline(slot.type)) width = std::max(width, slot.width);
    }
    // An offset that fits at one width fits at each greater one, so going up is enough.
    if (keys_at != 0) {
      while (width_of(aligned(width) - keys_at) > width) width *= 2;
    }
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (is_inline(slots[i].type)) continue;
      while (width_of(aligned(width) + (before + i) * width - slots[i].bits) > width) width *= 2;
    }
    align(width);
    const std::size_t start = size_;
    std::uint8_t* at = room((before + slots.size()) * width + slots.size());
    if (keys_at != 0) {
      store(at, start - keys_at, width);
      store(at + width, 1, width);
      at += 2 * width;
    }
    store(at, slots.size(), width);
    at += width;
    const std::size_t slots_at = start + before * width;
    std::uint8_t* type_at = at + slots.size() * width;
    std::size_t slot_at = slots_at;
    for (const Slot& slot : slots) {
      store(at, is_inline(slot.type) ? slot.bits : slot_at - slot.bits, width);
      *type_at++ = packed(slot.type, is_inline(slot.type) ? width : slot.width);
      at += width;
      slot_at += width;
    }
    vector_width_ = width;
    return slots_at;
  }

  std::unique_ptr<std::uint8_t, Freed> bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::vector<Slot> open_;
  std::uint8_t vector_width_ = 1;
};

}  // namespace samovar::ipc
