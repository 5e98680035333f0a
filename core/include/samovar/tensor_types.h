// What the elements of a tensor are: DType, its C++ types, and shapes.
#pragma once

#include <array>
#include <bit>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <samovar/api.h>

namespace samovar {

enum class DType : std::uint8_t {
  bool_,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  float32,
  float64,
  bfloat16,
  complex64,
  complex128,
  bytes,  // of a fixed length, padded with zeros: NumPy's S<n>
};

SAMOVAR_API std::string_view to_string(DType dtype);  // as NumPy calls it: "float32"

// The two floats of 16 bits that C++20 has no type for: their bits, and the way from and to float (rounded to nearest, ties to even).
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  SAMOVAR_API explicit float16(float value) noexcept;
  SAMOVAR_API explicit operator float() const noexcept;
  static constexpr float16 from_bits(std::uint16_t bits) noexcept { return float16(bits, 0); }
  friend bool operator==(const float16&, const float16&) = default;  // of bits

 private:
  constexpr float16(std::uint16_t b, int) noexcept : bits(b) {}
};

struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  SAMOVAR_API explicit bfloat16(float value) noexcept;
  explicit operator float() const noexcept { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  static constexpr bfloat16 from_bits(std::uint16_t bits) noexcept { return bfloat16(bits, 0); }
  friend bool operator==(const bfloat16&, const bfloat16&) = default;  // of bits

 private:
  constexpr bfloat16(std::uint16_t b, int) noexcept : bits(b) {}
};

static_assert(sizeof(float16) == 2 && sizeof(bfloat16) == 2 && sizeof(bool) == 1);

namespace detail {

template <typename T, typename... Others>
inline constexpr bool kIsOneOf = (std::same_as<T, Others> || ...);

template <typename T>
concept TensorInteger = std::integral<T> && !kIsOneOf<T, bool, char, wchar_t, char8_t, char16_t, char32_t> && sizeof(T) <= 8;

}  // namespace detail

// What can be an element: bool, integers, std::byte (as uint8), float16, bfloat16, float, double and their std::complex.
template <typename T>
concept TensorElement = detail::TensorInteger<T> || detail::kIsOneOf<T, bool, std::byte, float16, bfloat16, float, double,
                                                                     std::complex<float>, std::complex<double>>;

template <TensorElement T>
constexpr DType dtype_of() {
  if constexpr (std::same_as<T, bool>) return DType::bool_;
  if constexpr (std::same_as<T, std::byte>) return DType::uint8;
  if constexpr (std::same_as<T, float16>) return DType::float16;
  if constexpr (std::same_as<T, bfloat16>) return DType::bfloat16;
  if constexpr (std::same_as<T, float>) return DType::float32;
  if constexpr (std::same_as<T, double>) return DType::float64;
  if constexpr (std::same_as<T, std::complex<float>>) return DType::complex64;
  if constexpr (std::same_as<T, std::complex<double>>) return DType::complex128;
  if constexpr (detail::TensorInteger<T>) {
    constexpr int kLog2 = std::countr_zero(sizeof(T));
    return static_cast<DType>(static_cast<int>(std::is_signed_v<T> ? DType::int8 : DType::uint8) + kLog2);
  }
}

// The dimensions of a tensor, outermost first: at most 32, and none for a single element. Elements lie in C order, the last
// dimension's beside each other.
class Shape {
 public:
  static constexpr std::size_t kRankMax = 32;

  Shape() noexcept { forget_first(); }
  Shape(const Shape& other) noexcept : rank_(other.rank_) { take(other); }
  Shape& operator=(const Shape& other) noexcept {
    rank_ = other.rank_;
    take(other);
    return *this;
  }
  Shape(std::initializer_list<std::uint64_t> dimensions) : Shape(std::span(dimensions.begin(), dimensions.size())) {}
  // More than kRankMax dimensions make a shape that each use of it refuses: rank() tells how many were asked for.
  explicit Shape(std::span<const std::uint64_t> dimensions) : rank_(dimensions.size()) {
    forget_first();
    for (std::size_t i = 0; i < kFew && i < rank_; ++i) dimensions_[i] = dimensions[i];
    for (std::size_t i = kFew; i < rank_ && i < kRankMax; ++i) dimensions_[i] = dimensions[i];
  }

  std::size_t rank() const { return rank_; }
  std::size_t size() const { return rank_; }
  std::uint64_t operator[](std::size_t i) const { return dimensions_[i]; }  // requires: i < rank() <= kRankMax
  const std::uint64_t* begin() const { return dimensions_.data(); }
  const std::uint64_t* end() const { return dimensions_.data() + (rank_ < kRankMax ? rank_ : kRankMax); }

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t i = 0; i < a.rank_ && i < kRankMax; ++i) {
      if (a.dimensions_[i] != b.dimensions_[i]) return false;
    }
    return true;
  }

  SAMOVAR_API std::string to_string() const;  // "(1080, 1920, 3)"

 private:
  // Nearly all have few dimensions, which are always copied, since their number is then known to the compiler; where it is not it makes a
  // copy out of the loop that costs 12 ns to begin.
  static constexpr std::size_t kFew = 4;

  void forget_first() {
    for (std::size_t i = 0; i < kFew; ++i) dimensions_[i] = 0;
  }
  void take(const Shape& other) {
    for (std::size_t i = 0; i < kFew; ++i) dimensions_[i] = other.dimensions_[i];
    for (std::size_t i = kFew; i < rank_ && i < kRankMax; ++i) dimensions_[i] = other.dimensions_[i];
  }

  std::size_t rank_ = 0;
  std::array<std::uint64_t, kRankMax> dimensions_;  // rank() of them are set, and the first few: zeroing all costs a call 50 ns
};

}  // namespace samovar
