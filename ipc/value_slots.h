// ValueSlots: finds and checks the parts of bytes of kind `value` (VALUES.md), and makes nothing of them; that is for
// ValueReader, and for whoever reads part by part.
//
// Threads: one. The bytes must be private memory: no peer may write them meanwhile.
// Invariants: (1) Nothing outside the given bytes is read, whatever they are. (2) What is found is paid for from a budget, and
//   lies no deeper than kValueDepthMax; so a buffer whose parts point at each other, or at themselves, ends in an error.
//   (3) No offset points forwards. (4) Alignment is not required.
// Functions that return a `const char*` return nullptr, or what is wrong; failed_at() then says near which byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "ipc/value_format.h"

namespace samovar::ipc {

class ValueSlots {
 public:
  // A slot within the bytes, `width` wide, and the packed type of what it holds.
  struct Slot {
    std::size_t at;
    std::uint8_t width;
    std::uint8_t packed;

    ValueType type() const { return static_cast<ValueType>(packed >> 2U); }
    std::uint8_t target_width() const { return static_cast<std::uint8_t>(1U << (packed & 3U)); }
  };

  // A run of slots, all of them within the bytes.
  struct Slots {
    std::size_t at = 0;
    std::size_t count = 0;
    std::uint8_t width = 0;
    std::uint8_t packed = 0;   // of each, if types_at is 0
    std::size_t types_at = 0;  // where their packed types are
  };

  // `budget`: how much may be found, see value_budget().
  ValueSlots(std::span<const std::byte> bytes, std::size_t budget)
      : bytes_(reinterpret_cast<const std::uint8_t*>(bytes.data())), size_(bytes.size()), budget_(budget) {}

  const char* find_root(Slot& root) {
    if (size_ > kValueBytesMax) return wrong("larger than 2 GiB", 0);
    if (size_ < 3) return wrong("shorter than three bytes", 0);
    const std::uint8_t width = bytes_[size_ - 1];
    if (!is_width(width) || width > size_ - 2) return wrong("the width of the root is not valid", size_ - 1);
    root = {size_ - 2 - width, width, bytes_[size_ - 2]};
    return nullptr;
  }

  Slot slot(const Slots& slots, std::size_t i) const {
    return {slots.at + i * slots.width, slots.width, slots.types_at != 0 ? bytes_[slots.types_at + i] : slots.packed};
  }

  std::uint64_t load(std::size_t at, std::uint8_t width) const {
    switch (width) {
      case 1: return bytes_[at];
      case 2: return load_as<std::uint16_t>(at);
      case 4: return load_as<std::uint32_t>(at);
      default: return load_as<std::uint64_t>(at);
    }
  }
  std::int64_t load_signed(std::size_t at, std::uint8_t width) const {
    switch (width) {
      case 1: return load_as<std::int8_t>(at);
      case 2: return load_as<std::int16_t>(at);
      case 4: return load_as<std::int32_t>(at);
      default: return load_as<std::int64_t>(at);
    }
  }
  template <class T>
  T load_as(std::size_t at) const {
    T value;
    std::memcpy(&value, bytes_ + at, sizeof(value));
    return value;
  }

  // What a slot points at.
  bool follow(std::size_t at, std::uint8_t width, std::size_t& target) const {
    const std::uint64_t back = load(at, width);
    if (back > at) return false;
    target = at - static_cast<std::size_t>(back);
    return true;
  }

  // The characters of a key, a str or a blob at `at`.
  const char* find_key(std::size_t at, std::string_view& out) {
    const void* end = std::memchr(bytes_ + at, 0, size_ - at);
    if (end == nullptr) return wrong("a key does not end", at);
    const auto length = static_cast<std::size_t>(static_cast<const std::uint8_t*>(end) - (bytes_ + at));
    if (!spend(1 + length / 16)) return wrong(kTooMuch, at);
    out = {reinterpret_cast<const char*>(bytes_ + at), length};
    return nullptr;
  }
  const char* find_sized(ValueType type, std::size_t at, std::uint8_t width, int depth, std::string_view& out) {
    if (depth > kValueDepthMax) return wrong(kTooDeep, at);
    if (width > at) return wrong("a length stands before the first byte", at);
    const std::uint64_t length = load(at - width, width);
    // The NUL after a str is not looked at, but its place must be there, as for the stock verifier.
    const std::size_t after = type == ValueType::string ? 1 : 0;
    if (length + after > size_ - at || length > size_) return wrong("a str or bytes goes past the end", at);
    const auto size = static_cast<std::size_t>(length);
    if (!spend(1 + size / 16)) return wrong(kTooMuch, at);
    out = {reinterpret_cast<const char*>(bytes_ + at), size};
    return nullptr;
  }

  // Checks that the slots of a vector are within the bytes, and pays for them.
  const char* find_slots(ValueType type, std::size_t at, std::uint8_t width, int depth, Slots& slots) {
    if (depth > kValueDepthMax) return wrong(kTooDeep, at);
    std::size_t slot_bytes = width;
    std::uint64_t count = 0;
    switch (type) {
      case ValueType::vector: slot_bytes += 1; break;
      case ValueType::vector_int: slots.packed = packed(ValueType::int_); break;
      case ValueType::vector_uint: slots.packed = packed(ValueType::uint); break;
      case ValueType::vector_float: slots.packed = packed(ValueType::float_); break;
      case ValueType::vector_key: slots.packed = packed(ValueType::key); break;
      case ValueType::vector_bool: slots.packed = packed(ValueType::bool_); break;
      default:
        if (type < ValueType::vector_int2 || type > ValueType::vector_float4) return wrong("a type is not supported", at);
        const unsigned nth = static_cast<unsigned>(type) - static_cast<unsigned>(ValueType::vector_int2);
        slots.packed = packed(static_cast<ValueType>(static_cast<unsigned>(ValueType::int_) + nth % 3));
        count = nth / 3 + 2;
    }
    if (count == 0) {
      if (width > at) return wrong("a length stands before the first byte", at);
      count = load(at - width, width);
    }
    if (count > (size_ - at) / slot_bytes) return wrong("a list goes past the end", at);
    slots.at = at;
    slots.count = static_cast<std::size_t>(count);
    slots.width = width;
    if (type == ValueType::vector) slots.types_at = at + slots.count * width;
    // One for the list itself, or empty ones were free.
    return spend(slots.count + 1) ? nullptr : wrong(kTooMuch, at);
  }

  // The vectors of keys and of values of a dict, `at` being the map with the keys "k" and "v".
  const char* find_entries(std::size_t at, std::uint8_t width, int depth, Slots& keys, Slots& values) {
    if (depth > kValueDepthMax) return wrong(kTooDeep, at);
    if (at < 3U * width) return wrong("a map stands before the first byte", at);
    if (size_ - at < 2U * (width + 1U)) return wrong("a map goes past the end", at);
    const std::uint64_t key_width = load(at - 2U * width, width);
    std::size_t keys_at = 0;
    if (load(at - width, width) != 2 || !is_width(key_width) || !follow(at - 3U * width, width, keys_at) ||
        !has_our_keys(keys_at, static_cast<std::uint8_t>(key_width))) {
      return wrong("a map's keys are not k and v", at);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      const Slot slot{at + i * width, width, bytes_[at + 2U * width + i]};
      std::size_t target = 0;
      if (!is_vector(slot.type())) return wrong("a dict's keys or values are not a vector", slot.at);
      if (!follow(slot.at, width, target)) return wrong("an offset points before the first byte", slot.at);
      const char* what = find_slots(slot.type(), target, slot.target_width(), depth + 1, i == 0 ? keys : values);
      if (what != nullptr) return what;
    }
    if (keys.count != values.count) return wrong("a dict has more keys than values, or fewer", at);
    return nullptr;
  }

  // A float of 4 or 8 bytes, in its slot or elsewhere.
  const char* find_float(std::size_t at, std::uint8_t width, double& out) {
    if (width == 8) {
      out = load_as<double>(at);
    } else if (width == 4) {
      out = static_cast<double>(load_as<float>(at));
    } else {
      return wrong("a float of less than four bytes is not supported", at);
    }
    return nullptr;
  }
  // Whether an indirect number at `at` ends within the bytes.
  const char* find_indirect(std::size_t at, std::uint8_t width) {
    return width > size_ - at ? wrong("a number goes past the end", at) : nullptr;
  }

  static bool is_vector(ValueType type) {
    return (type >= ValueType::vector && type <= ValueType::vector_float4) || type == ValueType::vector_bool;
  }

  [[gnu::noinline, gnu::cold]] const char* wrong(const char* what, std::size_t at) {
    failed_at_ = at;
    return what;
  }
  std::size_t failed_at() const noexcept { return failed_at_; }

 private:
  static bool is_width(std::uint64_t width) { return width == 1 || width == 2 || width == 4 || width == 8; }
  static constexpr std::uint8_t packed(ValueType type) {
    return static_cast<std::uint8_t>(static_cast<unsigned>(type) << 2U);
  }

  bool spend(std::size_t amount) {
    if (amount > budget_) return false;
    budget_ -= amount;
    return true;
  }

  bool has_our_keys(std::size_t at, std::uint8_t width) const {
    if (width > at || size_ - at < 2U * width || load(at - width, width) != 2) return false;
    std::size_t k = 0;
    std::size_t v = 0;
    return follow(at, width, k) && follow(at + width, width, v) && is_key(k, 'k') && is_key(v, 'v');
  }
  bool is_key(std::size_t at, char letter) const {
    return size_ - at >= 2 && bytes_[at] == static_cast<std::uint8_t>(letter) && bytes_[at + 1] == 0;
  }

  static constexpr char kTooDeep[] = "nested deeper than 64 levels";
  static constexpr char kTooMuch[] = "its parts are shared so often that it would grow too large";
  static_assert(kValueDepthMax == 64);

  const std::uint8_t* bytes_;
  std::size_t size_;
  std::size_t budget_;
  std::size_t failed_at_ = 0;
};

}  // namespace samovar::ipc
