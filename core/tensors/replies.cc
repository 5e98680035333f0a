// Tensors of replies: what a worker says of them is copied and checked, its elements are read in place.
#include <algorithm>
#include <cstdint>
#include <utility>

#include <samovar/tensor.h>

#include "core/dispatch/call.h"
#include "core/errors.h"
#include "ipc/tensor.h"

namespace samovar {
namespace {

tl::unexpected<Error> refused(std::string why) {
  return tl::unexpected(core::make_error(Category::application, Code::invalid_result, std::move(why)));
}

std::string_view name_of(PayloadKind kind) {
  constexpr std::string_view kNames[] = {"None", "bytes", "a str", "a value", "arguments", "a tensor", "a FlatBuffer"};
  return kNames[static_cast<std::size_t>(kind)];
}

// `beside`: the header, where it did not come at the end of the reply's data.
Result<void> read_header(const Reply& reply, std::span<const std::byte> beside, ipc::TensorHeader& header) {
  if (reply.kind() != PayloadKind::tensor) return refused("the reply is " + std::string(name_of(reply.kind())) + " and no tensor");
  auto read = beside.empty() ? header.read(reply.data()) : header.read(beside, reply.data().size());
  for (std::size_t i = 0; read && i < header.tensors().size(); ++i) {
    const ipc::TensorEntry& entry = header.tensors()[i];
    // What is a part of the call's argument may begin anywhere.
    const auto address = reinterpret_cast<std::uintptr_t>(reply.data().data()) + entry.offset;
    if (address % ipc::alignment_of(entry.dtype) != 0) read = tl::unexpected("tensor " + std::to_string(i) + " is not aligned in memory");
  }
  if (!read) return tl::unexpected(core::make_error(Category::worker, Code::invalid_result, "the reply is no tensor: " + read.error()));
  return {};
}

Result<TensorView> view_of(const Reply& reply, detail::ReplyHold hold, const ipc::TensorEntry& entry) {
  return Result<TensorView>(tl::in_place, std::move(hold), entry.name, static_cast<DType>(entry.dtype), entry.item_bytes, entry.shape,
                            reply.data().subspan(entry.offset, entry.bytes));
}

}  // namespace

namespace detail {

ReplyHold::ReplyHold(core::Call* call) : call_(call) {
  if (call_) call_->add_reference();
}
void ReplyHold::release() { std::exchange(call_, nullptr)->drop_reference(); }

}  // namespace detail

Result<TensorView> Reply::tensor(std::string_view name) const {
  ipc::TensorHeader header;
  if (auto read = read_header(*this, call_->response.header, header); !read) return tl::unexpected(std::move(read.error()));
  const auto tensors = header.tensors();
  if (name.empty()) {
    if (tensors.size() == 1) return view_of(*this, detail::ReplyHold(call_), tensors.front());
    return refused("the reply has " + std::to_string(tensors.size()) + " tensors; " +
                   (header.named() ? "ask for one by its name, or for all by tensors()" : "ask for all by tensors()"));
  }
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const ipc::TensorEntry& entry) { return entry.name == name; });
  if (found != tensors.end()) return view_of(*this, detail::ReplyHold(call_), *found);
  std::string names;
  for (const ipc::TensorEntry& entry : tensors) names += (names.empty() ? "" : ", ") + std::string(entry.name);
  return refused("the reply has no tensor \"" + std::string(name) + "\"; " + (header.named() ? "it has " + names : std::string("its tensors have no names")));
}

Result<std::vector<TensorView>> Reply::tensors() const {
  ipc::TensorHeader header;
  if (auto read = read_header(*this, call_->response.header, header); !read) return tl::unexpected(std::move(read.error()));
  std::vector<TensorView> views;
  views.reserve(header.tensors().size());
  const detail::ReplyHold hold(call_);
  for (const ipc::TensorEntry& entry : header.tensors()) views.push_back(*view_of(*this, hold, entry));
  return views;
}

std::optional<Error> TensorView::check(DType expected, int rank) const {
  const bool same = dtype_ == expected || (dtype_ == DType::bool_ && expected == DType::uint8);
  if (same && (rank < 0 || shape_.rank() == static_cast<std::size_t>(rank))) return std::nullopt;
  std::string wanted(to_string(expected));
  if (rank >= 0) wanted += " of " + std::to_string(rank) + (rank == 1 ? " dimension" : " dimensions");
  return core::make_error(Category::application, Code::invalid_result,
                          (name_.empty() ? "the tensor" : "the tensor \"" + name_ + "\"") + " is " + std::string(to_string(dtype_)) +
                              " of shape " + shape_.to_string() + ", and " + wanted + " was asked for");
}

}  // namespace samovar
