// The numbers of payload kind `value`, FlexBuffers with the conventions of VALUES.md: type codes, widths, limits.
//
// Shared by both rooms, so that what one refuses to write is what the other refuses to read. Knows neither Python nor
// samovar::Value, and does not include flexbuffers.h: VALUES.md says why, tests/unit/value_test.cc holds us to its format.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace samovar::ipc {

static_assert(std::endian::native == std::endian::little, "FlexBuffers are little-endian; loads and stores here are memcpy");

// Numbers of FlexBuffers, flexbuffers.h `enum Type`. A packed type is `type << 2 | log2(width in bytes)`.
enum class ValueType : std::uint8_t {
  null = 0,
  int_ = 1,
  uint = 2,
  float_ = 3,
  // Those above and `bool_` stand in their slot. For the rest the slot holds how many bytes before itself they begin.
  key = 4,
  string = 5,
  indirect_int = 6,
  indirect_uint = 7,
  indirect_float = 8,
  map = 9,
  vector = 10,
  vector_int = 11,
  vector_uint = 12,
  vector_float = 13,
  vector_key = 14,
  vector_int2 = 16,    // 16..24: fixed length 2, 3, 4 of int, uint, float
  vector_float4 = 24,
  blob = 25,
  bool_ = 26,
  vector_bool = 36,
};

// Levels of nesting, counted as flexbuffers::Verifier does: a str, bytes or list is one, a dict two (its map, and the vector
// of its keys or values); None, bool, int and float are none. So a str may stand inside 63 lists, an int inside 64.
inline constexpr int kValueDepthMax = 64;

// Bytes of an encoded value, the last one included: FlexBuffers' own limit.
inline constexpr std::size_t kValueBytesMax = 0x7fff'ffff;

// What reading one buffer may make, however often its parts are shared: one for each value and one for each 16 bytes of
// text or bytes. A buffer that shares nothing needs less than its size. See VALUES.md, "Sharing".
constexpr std::size_t value_budget(std::size_t size_bytes) { return 2 * size_bytes + 1024; }

constexpr bool is_inline(ValueType type) { return type <= ValueType::float_ || type == ValueType::bool_; }

// Bytes, out of 1, 2, 4, 8, that hold `number`.
constexpr std::uint8_t width_of(std::uint64_t number) {
  if (number <= 0xff) return 1;
  if (number <= 0xffff) return 2;
  return number <= 0xffff'ffff ? 4 : 8;
}
constexpr std::uint8_t width_of_signed(std::int64_t number) {
  const auto doubled = static_cast<std::uint64_t>(number) << 1;
  return width_of(number >= 0 ? doubled : ~doubled);
}

// Whether `text` is UTF-8 as Python has it: no surrogates, no overlong forms, nothing above U+10FFFF. NUL is fine.
inline bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at < end) {
    if (std::uint64_t eight = 0; end - at >= 8) {
      std::memcpy(&eight, at, 8);
      if ((eight & 0x8080'8080'8080'8080U) == 0) {
        at += 8;
        continue;
      }
    }
    const unsigned lead = *at;
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const int more = lead >= 0xc2 && lead <= 0xdf ? 1 : (lead & 0xf0U) == 0xe0 ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
    if (more == 0 || end - at <= more) return false;
    const unsigned second_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned second_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < second_min || at[1] > second_max) return false;
    for (int i = 2; i <= more; ++i) {
      if ((at[i] & 0xc0U) != 0x80) return false;
    }
    at += more + 1;
  }
  return true;
}

}  // namespace samovar::ipc
