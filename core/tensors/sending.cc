#include "core/tensors/sending.h"

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace samovar {
namespace core {
namespace {

static_assert(static_cast<int>(DType::bytes) == ipc::kDTypeMax && static_cast<int>(DType::float16) == static_cast<int>(ipc::DType::float16) &&
              static_cast<int>(DType::bfloat16) == static_cast<int>(ipc::DType::bfloat16));
static_assert(Shape::kRankMax == ipc::kTensorRankMax);

// Up to here a payload is put together at once: it will travel inside of a record, or cost no more than that.
constexpr std::uint64_t kEncodedAtOnceMax = 4096;

template <typename Tensors, typename Named>
Payload payload_of(const Tensors& tensors, Named named) {
  ipc::TensorLayout layout;
  std::vector<detail::PayloadPart> parts;
  parts.reserve(tensors.size());
  const auto refused = [](std::string why) { return Payload(PayloadKind::tensor, std::vector<std::byte>(), std::move(why)); };
  if (tensors.empty()) return refused("tensors() needs at least one tensor");
  for (const auto& item : tensors) {
    const auto& [name, tensor] = named(item);
    const auto at = add(layout, name, tensor.dtype(), tensor.item_bytes(), tensor.shape());
    if (!at) return refused(at.error());
    const std::uint64_t bytes = *ipc::tensor_bytes(static_cast<std::uint32_t>(tensor.item_bytes()), tensor.shape());
    if (bytes != tensor.elements().size()) {
      return refused("a tensor of shape " + tensor.shape().to_string() + " has " + std::to_string(bytes / tensor.item_bytes()) +
                     " elements, and " + std::to_string(tensor.elements().size() / tensor.item_bytes()) + " were given");
    }
    parts.push_back({*at, tensor.elements()});
  }
  detail::PayloadHeader header(layout.header_bytes());
  layout.copy_header(header.data());
  const std::uint64_t size = layout.payload_bytes();
  Payload payload = parts.size() == 1 ? Payload(parts.front().bytes, header) : Payload(std::move(parts), header);
  if (size > kEncodedAtOnceMax) return payload;
  std::vector<std::byte> encoded(size);
  payload.write(encoded.data());
  return Payload(PayloadKind::tensor, std::move(encoded), {});
}

struct Item {
  std::string_view name;
  const TensorRef& tensor;
};

}  // namespace

tl::expected<std::uint64_t, std::string> add(ipc::TensorLayout& layout, std::string_view name, DType dtype, std::size_t item_bytes,
                                             const Shape& shape) {
  const auto refused = [](std::string why) { return tl::unexpected(std::move(why)); };
  if (static_cast<int>(dtype) > ipc::kDTypeMax) return refused("there is no DType " + std::to_string(static_cast<int>(dtype)));
  if (shape.rank() > Shape::kRankMax) {
    return refused("a tensor has at most " + std::to_string(Shape::kRankMax) + " dimensions, this one has " + std::to_string(shape.rank()));
  }
  const std::uint32_t expected = ipc::item_bytes_of(wire_dtype(dtype));
  if (expected != 0 ? item_bytes != expected : item_bytes == 0 || item_bytes > std::numeric_limits<std::int32_t>::max()) {
    return refused("an element of " + std::string(to_string(dtype)) + " cannot have " + std::to_string(item_bytes) + " bytes");
  }
  return layout.add(wire_dtype(dtype), static_cast<std::uint32_t>(item_bytes), shape, name);
}

}  // namespace core

TensorRef::operator Payload() const {
  return core::payload_of(std::span(this, 1), [](const TensorRef& tensor) { return core::Item{{}, tensor}; });
}

Payload tensors(std::span<const NamedTensor> named) {
  for (const NamedTensor& item : named) {
    if (item.name.empty()) return Payload(PayloadKind::tensor, std::vector<std::byte>(), "the name of a tensor is empty; pass tensors without names instead");
  }
  return core::payload_of(named, [](const NamedTensor& item) { return core::Item{item.name, item.tensor}; });
}

Payload tensors(std::span<const TensorRef> unnamed) {
  return core::payload_of(unnamed, [](const TensorRef& tensor) { return core::Item{{}, tensor}; });
}

}  // namespace samovar
