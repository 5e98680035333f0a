// TensorSource: where the elements of one tensor lie in this process, and what they are: of a NumPy array, a samovar.Tensor, a
// buffer or a DLPack object. Contiguous or not.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/tensor.h"
#include "python_ext/native/ref.h"

namespace samovar::python {

struct TensorSource {
  TensorSource() {}  // so that emplace_back() does not zero the arrays

  ipc::DType dtype = ipc::DType::uint8;
  std::uint32_t item_bytes = 1;
  std::size_t rank = 0;
  std::array<std::uint64_t, ipc::kTensorRankMax> dimensions;
  std::array<std::ptrdiff_t, ipc::kTensorRankMax> strides;  // in bytes; undefined where is_contiguous
  const std::byte* data = nullptr;
  bool is_contiguous = true;
  Ref keeper;  // while it lives, so does the memory

  std::span<const std::uint64_t> shape() const { return {dimensions.data(), rank}; }

  // Sets is_contiguous from dimensions and strides. Requires: they are set.
  void look_at_strides();

  // Copies the elements to `out`, in C order. Requires: room for `bytes`, which is what tensor_bytes() says of it. GIL: not needed.
  void copy_to(std::byte* out, std::uint64_t bytes) const;
};

}  // namespace samovar::python
