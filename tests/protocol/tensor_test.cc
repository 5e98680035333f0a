// The bytes of tensors: what is written is what TENSORS.md shows, and what cannot be is refused with why.
#include "ipc/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace samovar::ipc {
namespace {

using Shape = std::vector<std::uint64_t>;

std::vector<std::byte> header_of(const TensorLayout& layout) {
  std::vector<std::byte> header(layout.header_bytes());
  layout.copy_header(header.data());
  return header;
}

// A payload whose elements are all ff.
std::vector<std::byte> payload_of(const TensorLayout& layout) {
  std::vector<std::byte> payload(layout.payload_bytes(), std::byte{0xff});
  layout.write_header(payload.data());
  return payload;
}

TensorLayout image_and_mask() {
  TensorLayout layout;
  EXPECT_EQ(*layout.add(DType::float32, 4, Shape{2, 3}, "image"), 0u);
  EXPECT_EQ(*layout.add(DType::bool_, 1, Shape{5}, "mask"), 64u);
  return layout;
}

void put(std::vector<std::byte>& bytes, std::size_t at, auto value) { std::memcpy(bytes.data() + at, &value, sizeof value); }

std::string wrong(std::span<const std::byte> payload) {
  TensorHeader header;
  const auto read = header.read(payload);
  if (!read) {
    EXPECT_TRUE(header.tensors().empty()) << "nothing is left of what was refused";
  }
  return read ? "" : read.error();
}

#define EXPECT_SAYS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

TEST(Tensor, is_written_as_the_page_says) {
  TensorLayout layout;
  ASSERT_EQ(*layout.add(DType::float32, 4, Shape{2, 3}), 0u);
  const std::vector<float> elements{1, 2, 3, 4, 5, 6};
  std::vector<std::byte> payload(layout.payload_bytes());
  std::memcpy(payload.data(), elements.data(), 24);
  layout.write_header(payload.data());
  const std::vector<unsigned char> expected{
      0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 0, 0xa0, 0x40, 0, 0, 0xc0, 0x40,  // elements
      0, 0, 0, 0, 0, 0, 0, 0,                                                                                   // offset
      10, 2, 0, 0, 4, 0, 0, 0,                                                                                  // dtype, rank, name, item
      2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,                                                           // shape
      1, 0, 0, 0, 40, 0, 0, 0};                                                                                 // tensors, header
  ASSERT_EQ(payload.size(), expected.size());
  EXPECT_EQ(std::memcmp(payload.data(), expected.data(), expected.size()), 0);
}

TEST(Tensor, names_and_padding_are_filled_up_with_zeros) {
  const std::vector<std::byte> payload = payload_of(image_and_mask());
  EXPECT_TRUE(std::all_of(payload.begin() + 24, payload.begin() + 64, [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_TRUE(std::all_of(payload.begin() + 69, payload.begin() + 72, [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(std::memcmp(payload.data() + 72 + 32, "image\0\0\0", 8), 0);
}

TEST(Tensor, what_was_written_is_read) {
  TensorHeader header;
  ASSERT_TRUE(header.read(payload_of(image_and_mask())));
  ASSERT_EQ(header.tensors().size(), 2u);
  EXPECT_TRUE(header.named());
  const TensorEntry& image = header.tensors()[0];
  EXPECT_EQ(image.name, "image");
  EXPECT_EQ(image.dtype, DType::float32);
  EXPECT_TRUE(std::ranges::equal(image.shape, Shape{2, 3}));
  EXPECT_EQ(image.bytes, 24u);
  const TensorEntry& mask = header.tensors()[1];
  EXPECT_EQ(mask.name, "mask");
  EXPECT_EQ(mask.offset, 64u);
  EXPECT_EQ(mask.bytes, 5u);
}

TEST(Tensor, a_header_by_itself_is_read_against_its_block) {
  const std::vector<std::byte> bytes = header_of(image_and_mask());
  TensorHeader header;
  EXPECT_TRUE(header.read(bytes, 69));
  EXPECT_SAYS(header.read(bytes, 68).error(), "does not lie within the 68 bytes");
  std::vector<std::byte> longer = bytes;
  longer.insert(longer.begin(), 8, std::byte{0});
  EXPECT_SAYS(header.read(longer, 69).error(), "says");
}

TEST(Tensor, every_rank_and_every_dtype_is_read) {
  for (std::uint8_t i = 0; i <= kDTypeMax; ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::uint32_t item_bytes = dtype == DType::bytes ? 7 : item_bytes_of(dtype);
    for (std::size_t rank = 0; rank <= kTensorRankMax; ++rank) {
      TensorLayout layout;
      ASSERT_TRUE(layout.add(dtype, item_bytes, Shape(rank, 1)));
      TensorHeader header;
      ASSERT_TRUE(header.read(payload_of(layout)));
      EXPECT_EQ(header.tensors()[0].dtype, dtype);
      EXPECT_EQ(header.tensors()[0].item_bytes, item_bytes);
      EXPECT_EQ(header.tensors()[0].shape.size(), rank);
      EXPECT_FALSE(header.named());
    }
  }
}

TEST(Tensor, as_many_as_a_header_may_have_are_read_and_no_more_written) {
  TensorLayout layout;
  for (std::size_t i = 0; i < kTensorsMax; ++i) {
    const std::string name = std::to_string(i) + std::string(kTensorNameBytesMax - 3, 'x');
    ASSERT_TRUE(layout.add(DType::uint8, 1, Shape(kTensorRankMax, 1), name));
  }
  EXPECT_SAYS(layout.add(DType::uint8, 1, Shape{1}, "more").error(), "at most 256");
  EXPECT_LE(layout.header_bytes(), kTensorHeaderBytesMax);
  TensorHeader header;
  EXPECT_TRUE(header.read(payload_of(layout)));
  EXPECT_EQ(header.tensors().size(), kTensorsMax);
}

TEST(Tensor, sizes_that_cannot_be_are_told) {
  EXPECT_EQ(*tensor_bytes(4, Shape{2, 0, 3}), 0u);
  EXPECT_EQ(*tensor_bytes(4, Shape{}), 4u);
  EXPECT_EQ(*tensor_bytes(1, Shape{kTensorBytesMax}), kTensorBytesMax);
  EXPECT_SAYS(tensor_bytes(2, Shape{kTensorBytesMax}).error(), "more than 2**63 bytes");
  EXPECT_SAYS(tensor_bytes(4, Shape{std::uint64_t{1} << 32, std::uint64_t{1} << 32}).error(), "more than 2**63 bytes");
  EXPECT_SAYS(tensor_bytes(4, Shape{0, std::uint64_t{1} << 62, 4}).error(), "more than 2**63 bytes") << "though it has none";
  EXPECT_SAYS(tensor_bytes(4, Shape{3, static_cast<std::uint64_t>(-1)}).error(), "negative dimension: (3, -1)");
  EXPECT_SAYS(tensor_bytes(4, Shape(33, 1)).error(), "33 dimensions");
  EXPECT_EQ(shape_text(Shape{}) + shape_text(Shape{3}) + shape_text(Shape{3, 4}), "()(3,)(3, 4)");
}

TEST(Tensor, layouts_refuse_what_readers_would) {
  TensorLayout layout = image_and_mask();
  EXPECT_SAYS(layout.add(DType::uint8, 1, Shape{1}, "mask").error(), "two tensors are named \"mask\"");
  EXPECT_SAYS(layout.add(DType::uint8, 1, Shape{1}).error(), "either all tensors");
  EXPECT_SAYS(layout.add(DType::uint8, 1, Shape{1}, std::string(256, 'x')).error(), "at most 255 bytes");
  EXPECT_SAYS(layout.add(DType::uint8, 1, Shape{kTensorBytesMax - 100}, "huge").error(), "together");
  TensorHeader header;
  EXPECT_TRUE(header.read(payload_of(layout))) << "what was refused has left nothing";
}

// Where things stand in the payload of image_and_mask(): the header begins at 72.
constexpr std::size_t kHeader = 72;
constexpr std::size_t kImage = kHeader;
constexpr std::size_t kMask = kImage + 16 + 16 + 8;
constexpr std::size_t kTail = kMask + 16 + 8 + 8;

TEST(Tensor, headers_that_cannot_be_are_refused) {
  const std::vector<std::byte> good = payload_of(image_and_mask());
  ASSERT_EQ(good.size(), kTail + 8);
  const auto with = [&](std::size_t at, auto value) {
    std::vector<std::byte> payload = good;
    put(payload, at, value);
    return wrong(payload);
  };
  EXPECT_EQ(wrong(good), "");
  EXPECT_SAYS(with(kTail, std::uint32_t{0}), "tells of 0 tensors");
  EXPECT_SAYS(with(kTail, std::uint32_t{257}), "tells of 257 tensors");
  EXPECT_SAYS(with(kTail, std::uint32_t{1}), "32 bytes more than its tensors need");
  EXPECT_SAYS(with(kTail, std::uint32_t{3}), "tensor 2 is missing");
  EXPECT_SAYS(with(kTail + 4, std::uint32_t{0}), "cannot have 0 bytes");
  EXPECT_SAYS(with(kTail + 4, std::uint32_t{81}), "cannot have 81 bytes");
  EXPECT_SAYS(with(kTail + 4, std::uint32_t{1000}), "cannot have 1000 bytes");
  EXPECT_SAYS(with(kTail + 4, std::uint32_t{0xffff'fff8}), "cannot have");
  EXPECT_SAYS(with(kImage, std::uint64_t{60}), "does not lie within");
  EXPECT_SAYS(with(kImage, std::uint64_t{2}), "not aligned");
  EXPECT_SAYS(with(kImage, ~std::uint64_t{3}), "does not lie within");
  EXPECT_SAYS(with(kImage + 8, std::uint8_t{16}), "unknown dtype 16");
  EXPECT_SAYS(with(kImage + 9, std::uint8_t{33}), "33 dimensions");
  EXPECT_SAYS(with(kMask + 9, std::uint8_t{3}), "the header ends in");
  EXPECT_SAYS(with(kMask + 10, std::uint16_t{256}), "a name of 256 bytes");
  EXPECT_SAYS(with(kMask + 10, std::uint16_t{255}), "the header ends in");
  EXPECT_SAYS(with(kImage + 12, std::uint32_t{8}), "elements of 8 bytes, which float32 cannot have");
  EXPECT_SAYS(with(kImage + 16, std::uint64_t{20}), "does not lie within");
  EXPECT_SAYS(with(kImage + 16, std::uint64_t{1} << 62), "more than 2**63 bytes");
  EXPECT_SAYS(with(kImage + 16, static_cast<std::uint64_t>(-2)), "negative dimension");
  EXPECT_SAYS(wrong(std::span(good).first(7)), "too short");
  EXPECT_SAYS(wrong({}), "too short");
  EXPECT_SAYS(wrong(std::span(good).last(good.size() - kHeader)), "does not lie within") << "no room for elements";
}

TEST(Tensor, names_are_all_there_and_differ) {
  std::vector<std::byte> payload = payload_of(image_and_mask());
  put(payload, kImage + 10, std::uint16_t{4});
  std::memcpy(payload.data() + kImage + 32, "mask", 4);
  EXPECT_SAYS(wrong(payload), "tensor 1 has the name of another one");
  TensorLayout unnamed;
  ASSERT_TRUE(unnamed.add(DType::bytes, 3, Shape{2}));
  payload = payload_of(unnamed);
  put(payload, 8 + 12, std::uint32_t{0});
  EXPECT_SAYS(wrong(payload), "elements of 0 bytes, which bytes cannot have");
  unnamed.add_placed(DType::uint8, 1, Shape{1}, "x", 0);
  EXPECT_SAYS(wrong(payload_of(unnamed)), "tensor 1 has a name and others have none");
}

TEST(Tensor, what_is_read_does_not_change_with_the_payload) {
  std::vector<std::byte> payload = payload_of(image_and_mask());
  TensorHeader header;
  ASSERT_TRUE(header.read(payload));
  std::ranges::fill(payload, std::byte{0xff});
  EXPECT_EQ(header.tensors()[0].name, "image");
  EXPECT_TRUE(std::ranges::equal(header.tensors()[0].shape, Shape{2, 3}));
}

}  // namespace
}  // namespace samovar::ipc
