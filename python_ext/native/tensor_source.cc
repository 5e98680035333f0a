#include "python_ext/native/tensor_source.h"

#include <cstring>

#include "ipc/copy_for_peer.h"

namespace samovar::python {
namespace {

// `count` elements of `Bytes` bytes, `stride` apart, beside each other.
template <std::size_t Bytes>
void gather(std::byte* out, const std::byte* from, std::uint64_t count, std::ptrdiff_t stride) {
  for (std::uint64_t i = 0; i < count; ++i) std::memcpy(out + i * Bytes, from + static_cast<std::ptrdiff_t>(i) * stride, Bytes);
}

void gather(std::byte* out, const std::byte* from, std::uint64_t count, std::ptrdiff_t stride, std::size_t bytes) {
  switch (bytes) {
    case 1: return gather<1>(out, from, count, stride);
    case 2: return gather<2>(out, from, count, stride);
    case 4: return gather<4>(out, from, count, stride);
    case 8: return gather<8>(out, from, count, stride);
    case 16: return gather<16>(out, from, count, stride);
    default:
      for (std::uint64_t i = 0; i < count; ++i) std::memcpy(out + i * bytes, from + static_cast<std::ptrdiff_t>(i) * stride, bytes);
  }
}

}  // namespace

void TensorSource::look_at_strides() {
  is_contiguous = true;
  auto expected = static_cast<std::ptrdiff_t>(item_bytes);
  for (std::size_t i = rank; i-- > 0;) {
    if (dimensions[i] == 0) {
      is_contiguous = true;
      return;
    }
    if (dimensions[i] != 1 && strides[i] != expected) is_contiguous = false;
    expected *= static_cast<std::ptrdiff_t>(dimensions[i]);
  }
}

void TensorSource::copy_to(std::byte* out, std::uint64_t bytes) const {
  if (bytes == 0) return;
  if (is_contiguous) return ipc::copy_for_peer(out, {data, bytes});
  // The inner dimensions that lie in order are one run; what remains is counted through like an odometer.
  std::size_t outer = rank;
  std::uint64_t run = item_bytes;
  while (outer > 0 && (dimensions[outer - 1] == 1 || strides[outer - 1] == static_cast<std::ptrdiff_t>(run))) run *= dimensions[--outer];
  const std::size_t last = outer - 1;  // at least one dimension is out of order
  std::array<std::uint64_t, ipc::kTensorRankMax> index{};
  const std::byte* from = data;
  for (std::byte* const end = out + bytes; out != end; out += dimensions[last] * run) {
    gather(out, from, dimensions[last], strides[last], run);
    for (std::size_t i = last; i-- > 0;) {
      from += strides[i];
      if (++index[i] < dimensions[i]) break;
      from -= strides[i] * static_cast<std::ptrdiff_t>(dimensions[i]);
      index[i] = 0;
    }
  }
}

}  // namespace samovar::python
