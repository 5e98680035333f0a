// Loans that are tensors: where the elements go, with the header behind them already written.
#include <algorithm>
#include <utility>

#include <samovar/tensor.h>

#include "core/errors.h"
#include "core/tensors/sending.h"
#include "ipc/message.h"

namespace samovar {

namespace {

tl::unexpected<Error> refused(std::string why) {
  return tl::unexpected(core::make_error(Category::request, Code::invalid_payload, std::move(why)));
}

detail::PayloadHeader header_of(const ipc::TensorLayout& layout) {
  detail::PayloadHeader header(layout.header_bytes());
  layout.copy_header(header.data());
  return header;
}

// Of elements, with room for the header, should it not fit into a record.
std::uint64_t bytes_to_loan(const ipc::TensorLayout& layout, const Options& options) {
  const bool header_fits = layout.header_bytes() + ipc::kBlockReferenceBytes <= options.inline_bytes_max;
  return header_fits ? layout.data_bytes() : layout.payload_bytes();
}

}  // namespace

Result<detail::OneLoan> Pool::loan_one(DType dtype, const Shape& shape, Duration wait) {
  ipc::TensorLayout layout;
  const auto added = core::add(layout, {}, dtype, ipc::item_bytes_of(core::wire_dtype(dtype)), shape);
  if (!added) return refused(added.error());
  Result<Loan> loan = this->loan(bytes_to_loan(layout, options()), wait);
  if (!loan) return tl::unexpected(std::move(loan.error()));
  return detail::OneLoan{std::move(*loan), layout.data_bytes(), header_of(layout)};
}

Result<TensorsLoan> Pool::loan_tensors(std::initializer_list<TensorSpec> tensors, Duration wait) {
  return loan_tensors(std::span(tensors.begin(), tensors.size()), wait);
}

Result<TensorsLoan> Pool::loan_tensors(std::span<const TensorSpec> specs, Duration wait) {
  if (specs.empty()) return refused("a loan for tensors needs at least one");
  ipc::TensorLayout layout;
  std::vector<std::uint64_t> offsets;
  for (const TensorSpec& spec : specs) {
    const std::uint32_t known = static_cast<int>(spec.dtype) <= ipc::kDTypeMax ? ipc::item_bytes_of(core::wire_dtype(spec.dtype)) : 0;
    const auto at = core::add(layout, spec.name, spec.dtype, known != 0 ? known : spec.item_bytes, spec.shape);
    if (!at) return refused(at.error());
    offsets.push_back(*at);
  }
  Result<Loan> loan = this->loan(bytes_to_loan(layout, options()), wait);
  if (!loan) return tl::unexpected(std::move(loan.error()));
  layout.write_gaps(loan->data());
  std::vector<TensorsLoan::Part> parts;
  parts.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const TensorSpec& spec = specs[i];
    const std::uint32_t known = ipc::item_bytes_of(core::wire_dtype(spec.dtype));
    const std::uint64_t bytes = *ipc::tensor_bytes(known != 0 ? known : static_cast<std::uint32_t>(spec.item_bytes), spec.shape);
    parts.push_back({std::string(spec.name), spec.dtype, spec.shape, loan->span().subspan(offsets[i], bytes)});
  }
  return TensorsLoan(std::move(*loan), std::move(parts), header_of(layout));
}

TensorsLoan::operator Payload() && {
  std::vector<detail::PayloadPart> parts;
  parts.reserve(parts_.size());
  for (const Part& part : parts_) parts.push_back({static_cast<std::uint64_t>(part.elements.data() - loan_.data()), part.elements});
  return Payload(std::move(parts), header_, std::move(loan_));
}

namespace {

Result<std::span<std::byte>> checked(const TensorsLoan::Part* part, const std::string& which, DType dtype) {
  if (!part) return refused("this loan has no tensor " + which);
  if (part->dtype != dtype) {
    return refused("tensor " + which + " of this loan is " + std::string(to_string(part->dtype)) + ", not " + std::string(to_string(dtype)));
  }
  return part->elements;
}

}  // namespace

Result<std::span<std::byte>> TensorsLoan::find(std::string_view name, DType dtype) const {
  const auto part = std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) { return p.name == name; });
  return checked(part == parts_.end() ? nullptr : &*part, "\"" + std::string(name) + "\"", dtype);
}

Result<std::span<std::byte>> TensorsLoan::find(std::size_t place, DType dtype) const {
  return checked(place < parts_.size() ? &parts_[place] : nullptr, std::to_string(place), dtype);
}

}  // namespace samovar
