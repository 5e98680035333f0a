// What stands in a tensor payload, from what the public types say. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <samovar/tensor.h>

#include "ipc/tensor.h"

namespace samovar::core {

inline ipc::DType wire_dtype(DType dtype) { return static_cast<ipc::DType>(dtype); }

// Places a tensor behind the others; its offset, or why it cannot be sent.
tl::expected<std::uint64_t, std::string> add(ipc::TensorLayout& layout, std::string_view name, DType dtype, std::size_t item_bytes,
                                             const Shape& shape);

}  // namespace samovar::core
