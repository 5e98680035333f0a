// The types of elements: their names, and the floats of 16 bits.
#include <samovar/tensor_types.h>

#include <bit>

#include "ipc/tensor.h"

namespace samovar {

std::string_view to_string(DType dtype) {
  return static_cast<int>(dtype) > ipc::kDTypeMax ? "no dtype" : ipc::name_of(static_cast<ipc::DType>(dtype));
}

std::string Shape::to_string() const { return ipc::shape_text({begin(), end()}); }

namespace {

constexpr std::uint32_t kFloatInfinity = 0x7f80'0000;

// `bits` without its lowest `dropped` ones, rounded to nearest, ties to even.
constexpr std::uint32_t rounded(std::uint32_t bits, int dropped) {
  const std::uint32_t half = (std::uint32_t{1} << (dropped - 1)) - 1;
  return (bits + half + ((bits >> dropped) & 1)) >> dropped;
}

}  // namespace

float16::float16(float value) noexcept {
  const auto all = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(all >> 16 & 0x8000);
  const std::uint32_t magnitude = all & 0x7fff'ffff;
  if (magnitude > kFloatInfinity) {
    bits = static_cast<std::uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));  // a NaN keeps what fits of its payload, and is quiet
  } else if (magnitude >= 0x4780'0000) {  // 2^16
    bits = sign | 0x7c00;
  } else if (magnitude >= 0x3880'0000) {  // 2^-14: a normal number; rounding may carry into the exponent, up to infinity
    bits = static_cast<std::uint16_t>(sign | rounded(magnitude - 0x3800'0000, 13));
  } else if (magnitude >= 0x3300'0000) {  // 2^-25: a subnormal one
    const int dropped = 126 - static_cast<int>(magnitude >> 23);
    bits = static_cast<std::uint16_t>(sign | rounded((magnitude & 0x7f'ffff) | 0x80'0000, dropped));
  } else {
    bits = sign;
  }
}

float16::operator float() const noexcept {
  const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
  const std::uint32_t exponent = bits >> 10 & 0x1f;
  const std::uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | kFloatInfinity | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | mantissa << 13);
  const float value = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

bfloat16::bfloat16(float value) noexcept {
  const auto all = std::bit_cast<std::uint32_t>(value);
  const bool nan = (all & 0x7fff'ffff) > kFloatInfinity;
  bits = static_cast<std::uint16_t>(nan ? (all >> 16 | 0x40) : rounded(all, 16));
}

}  // namespace samovar
