// What C++ says of tensors before they are sent: dtypes, shapes, the floats of 16 bits, and payloads in parts.
#include <samovar/tensor.h>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "ipc/tensor.h"

namespace samovar {
namespace {

static_assert(dtype_of<bool>() == DType::bool_ && dtype_of<std::byte>() == DType::uint8);
static_assert(dtype_of<std::int8_t>() == DType::int8 && dtype_of<long long>() == DType::int64);
static_assert(dtype_of<std::uint16_t>() == DType::uint16 && dtype_of<unsigned long>() == DType::uint64);
static_assert(dtype_of<std::complex<double>>() == DType::complex128);
static_assert(!TensorElement<char> && !TensorElement<long double> && !TensorElement<std::string>);

// Each of the 65,536 is what its bits say, by the textbook, and comes back.
TEST(Float16, all_of_them_are_read_and_written) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float16 half = float16::from_bits(static_cast<std::uint16_t>(bits));
    const auto value = static_cast<float>(half);
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const auto mantissa = static_cast<float>(bits & 1023);
    const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
    if (exponent == 31 && mantissa != 0) {
      ASSERT_TRUE(std::isnan(value));
      ASSERT_TRUE(std::isnan(static_cast<float>(float16(value))));
      continue;
    }
    const float expected = exponent == 31 ? std::numeric_limits<float>::infinity()
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(value, sign * expected) << bits;
    ASSERT_EQ(float16(value).bits, bits);
  }
}

// What lies between two of them goes to the nearer, and from the middle to the even one.
TEST(Float16, rounds_to_the_nearest) {
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const auto low = static_cast<float>(float16::from_bits(static_cast<std::uint16_t>(bits)));
    const auto high = static_cast<float>(float16::from_bits(static_cast<std::uint16_t>(bits + 1)));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(float16(middle).bits, bits + (bits & 1)) << bits;
    ASSERT_EQ(float16(std::nextafter(middle, low)).bits, bits);
    ASSERT_EQ(float16(std::nextafter(middle, high)).bits, bits + 1);
    ASSERT_EQ(float16(-std::nextafter(middle, high)).bits, (bits + 1) | 0x8000);
  }
  EXPECT_EQ(float16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(float16(65520.0f).bits, 0x7c00) << "infinity";
  EXPECT_EQ(float16(1e30f).bits, 0x7c00);
  EXPECT_EQ(float16(1e-30f).bits, 0);
}

TEST(BFloat16, is_the_upper_half_of_a_float_rounded) {
  EXPECT_EQ(bfloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(static_cast<float>(bfloat16(-2.5f)), -2.5f);
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80) << "from the middle to the even one";
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80) << "infinity";
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Shape, says_what_it_is) {
  EXPECT_EQ((Shape{1080, 1920, 3}).to_string(), "(1080, 1920, 3)");
  EXPECT_EQ(Shape().to_string(), "()");
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_EQ(to_string(DType::complex64), "complex64");
}

TEST(TensorPayload, small_is_copied_at_once_and_large_is_in_parts) {
  std::vector<float> values(6, 1.0f);
  const Payload small = tensor(values, {2, 3});
  values.assign(6, 2.0f);
  EXPECT_FALSE(small.in_parts());
  float first;
  std::memcpy(&first, small.data().data(), sizeof first);
  EXPECT_EQ(first, 1.0f);

  std::vector<float> many(5000);
  std::iota(many.begin(), many.end(), 0.0f);
  const std::array<std::uint8_t, 3> bytes{7, 8, 9};
  const Payload large = tensors({{"bytes", tensor(bytes)}, {"many", tensor(many)}});
  ASSERT_TRUE(large.in_parts());
  std::vector<std::byte> together(large.size());
  large.write(together.data());
  ipc::TensorHeader header;
  ASSERT_TRUE(header.read(together));
  ASSERT_EQ(header.tensors().size(), 2u);
  EXPECT_EQ(std::memcmp(together.data() + header.tensors()[0].offset, bytes.data(), 3), 0);
  EXPECT_EQ(std::memcmp(together.data() + header.tensors()[1].offset, many.data(), 20'000), 0);
  EXPECT_EQ(header.tensors()[1].offset % ipc::kTensorAlignment, 0u);

  std::vector<std::byte> elements(large.elements_bytes());
  large.write_elements(elements.data());
  EXPECT_TRUE(header.read(large.header(), elements.size())) << "the header by itself";
  EXPECT_EQ(std::memcmp(elements.data(), together.data(), elements.size()), 0);
}

}  // namespace
}  // namespace samovar
