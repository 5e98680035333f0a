// Tensor: payloads of kind `tensor`, TENSORS.md: the elements of one or more tensors, then a header that says what they are.
//
// The header is a trailer of plain little-endian words. A FlatBuffer would have to be built and verified for each array (some
// 60 ns each way, measured for the envelopes in message.h), and what stands here has no optional fields.
//
// Threads: any. Elements are read in place by who uses them; all that bounds them is copied here to private memory, then checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/container/small_vector.hpp>
#include <tl/expected.hpp>

namespace samovar::ipc {

// What an element is. Numbers are on the wire.
enum class DType : std::uint8_t {
  bool_ = 0,
  int8 = 1,
  int16 = 2,
  int32 = 3,
  int64 = 4,
  uint8 = 5,
  uint16 = 6,
  uint32 = 7,
  uint64 = 8,
  float16 = 9,
  float32 = 10,
  float64 = 11,
  bfloat16 = 12,
  complex64 = 13,
  complex128 = 14,
  bytes = 15,  // of a fixed length, padded with zeros: NumPy's S<n>
};
inline constexpr std::uint8_t kDTypeMax = 15;

inline constexpr std::size_t kTensorAlignment = 64;  // of each tensor's elements, from the payload's beginning
inline constexpr std::size_t kTensorRankMax = 32;
inline constexpr std::size_t kTensorsMax = 256;  // in one payload
inline constexpr std::size_t kTensorNameBytesMax = 255;
inline constexpr std::uint64_t kTensorBytesMax = 0x7fff'ffff'ffff'ffff;
inline constexpr std::size_t kTensorTailBytes = 8;    // of a header: how many tensors, how many bytes it has
inline constexpr std::size_t kTensorFixedBytes = 16;  // of an entry, before its shape and its name
inline constexpr std::size_t kTensorHeaderBytesMax =
    kTensorTailBytes + kTensorsMax * (kTensorFixedBytes + 8 * kTensorRankMax + ((kTensorNameBytesMax + 7) & ~std::size_t{7}));

// Bytes of an element, 0 for DType::bytes, which has as many as its tensor says; and of the numbers that it consists of.
constexpr std::uint32_t item_bytes_of(DType dtype) {
  constexpr std::uint8_t kBytes[] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8, 16, 0};
  return kBytes[static_cast<std::size_t>(dtype)];
}
constexpr std::uint32_t alignment_of(DType dtype) {
  constexpr std::uint8_t kBytes[] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 4, 8, 1};
  return kBytes[static_cast<std::size_t>(dtype)];
}

// "float32", as NumPy calls it. Requires: a DType that exists.
std::string_view name_of(DType dtype);

// "(1080, 1920, 3)", as Python writes it.
std::string shape_text(std::span<const std::uint64_t> shape);

// Bytes of a tensor's elements, C-contiguous. Fails, with why: more than kTensorRankMax dimensions, one that is negative as a
// signed number, or dimensions that are not zero whose product has more than kTensorBytesMax.
tl::expected<std::uint64_t, std::string> tensor_bytes(std::uint32_t item_bytes, std::span<const std::uint64_t> shape);

// The words of a header. Nearly all have one tensor of few dimensions, for which nothing is allocated.
using TensorWords = boost::container::small_vector<std::uint64_t, 8>;

// One tensor of a payload.
struct TensorEntry {
  DType dtype = DType::uint8;
  std::uint32_t item_bytes = 1;
  std::span<const std::uint64_t> shape;
  std::string_view name;  // empty: it has none
  std::uint64_t offset = 0;  // of its elements in the payload
  std::uint64_t bytes = 0;   // of them
};

// A payload to be written: where elements and header go.
class TensorLayout {
 public:
  void clear();

  // Places one more tensor behind the others. Its offset. Fails, with why: as tensor_bytes(), too many, or a name that is too
  // long or taken; or one has a name and another has none.
  tl::expected<std::uint64_t, std::string> add(DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape,
                                               std::string_view name = {});

  // One more tensor, whose elements lie at `offset` of a block already. Requires: what add() would check has been.
  void add_placed(DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::string_view name, std::uint64_t offset);

  std::uint64_t payload_bytes() const { return header_at() + header_bytes(); }
  std::uint64_t data_bytes() const { return data_bytes_; }  // before header and padding
  std::uint64_t header_at() const { return (data_bytes_ + 7) & ~std::uint64_t{7}; }

  std::size_t header_bytes() const { return header_.size() * 8 + kTensorTailBytes; }

  // Writes zeros where there is padding between elements; or that, and before the header, and the header.
  // Requires: `payload` has data_bytes(), or payload_bytes().
  void write_gaps(std::byte* payload) const;
  void write_header(std::byte* payload) const;

  // The header alone. Requires: `out` has header_bytes().
  void copy_header(std::byte* out) const;

 private:
  struct Gap {
    std::uint64_t at;
    std::uint64_t bytes;
  };

  void put(DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::string_view name, std::uint64_t offset);

  std::uint64_t data_bytes_ = 0;
  std::uint32_t count_ = 0;
  TensorWords header_;  // but for its tail
  std::vector<std::string> names_;
  std::vector<Gap> gaps_;
};

// The header of a payload that a peer has written. May be used again and again.
class TensorHeader {
 public:
  TensorHeader() = default;
  TensorHeader(const TensorHeader&) = delete;  // entries view what lies here
  TensorHeader& operator=(const TensorHeader&) = delete;

  // Copies and checks the one at the end of `payload`: afterwards everything below holds whatever the peer still writes. Fails, with
  // what is wrong.
  tl::expected<void, std::string> read(std::span<const std::byte> payload);

  // The same for one that came by itself, for elements in a block of `data_bytes`.
  tl::expected<void, std::string> read(std::span<const std::byte> header, std::uint64_t data_bytes);

  // Views this. Each lies within the payload, aligned to alignment_of() from its beginning; names are all there and differ, or
  // none is. They may be any bytes.
  std::span<const TensorEntry> tensors() const { return {entries_.data(), entries_.size()}; }
  bool named() const { return !entries_.empty() && !entries_.front().name.empty(); }

 private:
  tl::expected<void, std::string> take(std::span<const std::byte> header, std::uint32_t count, std::uint64_t data_bytes);
  tl::expected<void, std::string> parse(std::uint32_t count, std::uint64_t data_bytes);

  TensorWords words_;
  boost::container::small_vector<TensorEntry, 1> entries_;
};

}  // namespace samovar::ipc
