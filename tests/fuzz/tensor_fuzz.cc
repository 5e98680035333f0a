// The header of tensors, which a peer has written: at the end of a payload, and by itself beside a block. Any bytes are refused, or
// describe tensors that lie within the payload; and what is written from that is read as the same.
#include <cstring>
#include <span>
#include <vector>

#include "ipc/tensor.h"
#include "tests/fuzz/target.h"

namespace samovar::fuzz {
namespace {

using Shape = std::vector<std::uint64_t>;

Input written(const ipc::TensorLayout& layout) {
  std::vector<std::byte> payload(layout.payload_bytes());
  layout.write_header(payload.data());
  return input_of(payload);
}

void expect_right(const ipc::TensorHeader& header, std::uint64_t data_bytes) {
  expect(!header.tensors().empty() && header.tensors().size() <= ipc::kTensorsMax, "as many as there may be");
  for (const ipc::TensorEntry& entry : header.tensors()) {
    expect(static_cast<std::uint8_t>(entry.dtype) <= ipc::kDTypeMax, "a dtype that exists");
    expect(entry.item_bytes > 0 && entry.offset % ipc::alignment_of(entry.dtype) == 0, "elements that are aligned");
    expect(entry.shape.size() <= ipc::kTensorRankMax, "no more dimensions than there may be");
    expect(entry.name.empty() != header.named(), "names for all or for none");
    __int128 bytes = entry.item_bytes;
    for (const std::uint64_t dimension : entry.shape) {
      bytes *= dimension;
      expect(bytes <= static_cast<__int128>(ipc::kTensorBytesMax), "a size that is a number");
    }
    expect(bytes == entry.bytes && entry.offset <= data_bytes && entry.bytes <= data_bytes - entry.offset, "elements within the payload");
  }
}

bool same(const ipc::TensorHeader& a, const ipc::TensorHeader& b) {
  if (a.tensors().size() != b.tensors().size()) return false;
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    const ipc::TensorEntry& left = a.tensors()[i];
    const ipc::TensorEntry& right = b.tensors()[i];
    if (left.dtype != right.dtype || left.item_bytes != right.item_bytes || left.name != right.name || left.offset != right.offset ||
        !std::equal(left.shape.begin(), left.shape.end(), right.shape.begin(), right.shape.end())) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::vector<Input> seeds() {
  std::vector<Input> inputs;
  for (std::uint8_t dtype = 0; dtype <= ipc::kDTypeMax; ++dtype) {
    ipc::TensorLayout layout;
    const std::uint32_t item_bytes = ipc::item_bytes_of(static_cast<ipc::DType>(dtype));
    (void)layout.add(static_cast<ipc::DType>(dtype), item_bytes == 0 ? 3 : item_bytes, Shape(dtype % 4, 2));
    inputs.push_back(written(layout));
  }
  ipc::TensorLayout named;
  (void)named.add(ipc::DType::float32, 4, Shape{2, 3}, "image");
  (void)named.add(ipc::DType::bool_, 1, Shape{5}, "mask");
  (void)named.add(ipc::DType::bytes, 9, Shape{}, "a name of more than eight bytes");
  inputs.push_back(written(named));
  ipc::TensorLayout empty;
  (void)empty.add(ipc::DType::float64, 8, Shape{0, std::uint64_t{1} << 40});
  (void)empty.add(ipc::DType::int16, 2, Shape(ipc::kTensorRankMax, 1));
  inputs.push_back(written(empty));
  return inputs;
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar;
  using fuzz::expect;
  const auto payload = std::as_bytes(std::span(data, size));

  ipc::TensorHeader header;
  if (const auto read = header.read(payload); !read) {
    expect(!read.error().empty() && header.tensors().empty(), "what is refused leaves a reason and nothing else");
  } else {
    fuzz::expect_right(header, size);
    ipc::TensorLayout layout;
    for (const ipc::TensorEntry& entry : header.tensors()) {
      layout.add_placed(entry.dtype, entry.item_bytes, entry.shape, entry.name, entry.offset);
    }
    std::vector<std::byte> again(layout.header_bytes());
    layout.copy_header(again.data());
    ipc::TensorHeader of_again;
    expect(of_again.read(again, size).has_value() && fuzz::same(header, of_again), "what is written of it is the same");
  }
  // By itself, beside blocks that are too small for it and too large to be filled.
  for (const std::uint64_t block : {std::uint64_t{0}, std::uint64_t{64}, ipc::kTensorBytesMax}) {
    if (header.read(payload, block)) fuzz::expect_right(header, block);
  }
  return 0;
}
