// Tensors: arrays with a dtype and a shape, sent to Python and read from replies. C-contiguous, of any of the DTypes.
//
//   pool.call("blur", samovar::tensor(pixels, {1080, 1920, 3}));                    // a NumPy array, read-only, over the very bytes
//   pool.call("blur", samovar::tensors({{"image", image}, {"mask", mask}}));        // a dict of arrays
//
//   auto frame = pool.loan_tensor<float>({1080, 1920, 3});                          // Result<TensorLoan<float>>
//   read_frame(frame->span());                                                      // written where Python reads it
//   auto reply = pool.call("detect", std::move(*frame));
//
//   auto boxes = reply->tensor<float, 2>();                                         // Result<TensorViewOf<float>>
//   for (std::uint64_t i = 0; i < boxes->shape()[0]; ++i) use(boxes->at(i, 0));
//
// Threads: any for reading; one at a time for the rest. ipc/TENSORS.md has the bytes.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <samovar/api.h>
#include <samovar/error.h>
#include <samovar/loan.h>
#include <samovar/payload.h>
#include <samovar/pool.h>
#include <samovar/reply.h>
#include <samovar/tensor_types.h>

namespace samovar {

// --- sending ------------------------------------------------------------------------------------------------------------

// The elements of a tensor and what they are. Views the elements, as the Payload does that is made from it: they must live until
// call() returns or submit() has copied them. Small ones are copied at once, large ones once, into the request arena.
class TensorRef {
 public:
  template <TensorElement T>
  TensorRef(std::span<const T> elements, const Shape& shape)
      : TensorRef(dtype_of<T>(), sizeof(T), std::as_bytes(elements), shape) {}

  // `item_bytes` of one element; for DType::bytes as many as each has, else what the dtype has.
  TensorRef(DType dtype, std::size_t item_bytes, std::span<const std::byte> elements, const Shape& shape)
      : dtype_(dtype), item_bytes_(item_bytes), elements_(elements), shape_(shape) {}

  DType dtype() const { return dtype_; }
  std::size_t item_bytes() const { return item_bytes_; }
  std::span<const std::byte> elements() const { return elements_; }
  const Shape& shape() const { return shape_; }

  // A shape that has not as many elements, or has more than 2^63 bytes, fails the call with invalid_payload.
  SAMOVAR_API operator Payload() const;  // implicit, so that a tensor can be passed

 private:
  DType dtype_;
  std::size_t item_bytes_;
  std::span<const std::byte> elements_;
  Shape shape_;
};

namespace detail {
template <typename R>
using ElementOf = std::remove_cv_t<std::ranges::range_value_t<R>>;

template <typename R>
concept Elements = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> && TensorElement<ElementOf<R>>;
}  // namespace detail

// A tensor of what lies in a span, vector or array.
template <detail::Elements R>
TensorRef tensor(const R& elements, const Shape& shape) {
  return TensorRef(std::span<const detail::ElementOf<R>>(std::ranges::data(elements), std::ranges::size(elements)), shape);
}
template <detail::Elements R>
TensorRef tensor(const R& elements) {  // of one dimension
  return tensor(elements, Shape{std::ranges::size(elements)});
}

// Elements of a type of your own, as bytes in the order of the machine.
inline TensorRef tensor(DType dtype, std::size_t item_bytes, std::span<const std::byte> elements, const Shape& shape) {
  return TensorRef(dtype, item_bytes, elements, shape);
}

struct NamedTensor {
  std::string_view name;
  TensorRef tensor;
};

// Several tensors as one payload: with names a dict in Python, without a list. At most 256; names of at most 255 bytes of UTF-8.
SAMOVAR_API Payload tensors(std::span<const NamedTensor> named);
SAMOVAR_API Payload tensors(std::span<const TensorRef> unnamed);
inline Payload tensors(std::initializer_list<NamedTensor> named) { return tensors(std::span(named.begin(), named.size())); }
inline Payload tensors(std::initializer_list<TensorRef> unnamed) { return tensors(std::span(unnamed.begin(), unnamed.size())); }

// --- loans --------------------------------------------------------------------------------------------------------------

// What a loan is to hold: see Pool::loan_tensors().
struct TensorSpec {
  std::string_view name;  // empty: none
  DType dtype = DType::float32;
  Shape shape{};
  std::size_t item_bytes = 0;  // of an element of DType::bytes
};

// A loan for one or more tensors, to be written in place and moved into a call: no byte is copied.
class TensorsLoan {
 public:
  struct Part {
    std::string name;
    DType dtype;
    Shape shape;
    std::span<std::byte> elements;  // aligned to 64; content: whatever an earlier payload has left there, or zeros
  };

  // Made by Pool::loan_tensors().
  TensorsLoan(Loan loan, std::vector<Part> parts, const detail::PayloadHeader& header)
      : loan_(std::move(loan)), parts_(std::move(parts)), header_(header) {}

  const std::vector<Part>& parts() const { return parts_; }

  // The elements of a tensor, by its name or its place. Fails: invalid_option where there is none, or of another dtype.
  template <TensorElement T>
  Result<std::span<T>> span(std::string_view name) const {
    return typed<T>(find(name, dtype_of<T>()));
  }
  template <TensorElement T>
  Result<std::span<T>> span(std::size_t place) const {
    return typed<T>(find(place, dtype_of<T>()));
  }

  SAMOVAR_API operator Payload() &&;

 private:
  template <TensorElement T>
  static Result<std::span<T>> typed(Result<std::span<std::byte>> elements) {
    if (!elements) return tl::unexpected(std::move(elements.error()));
    return std::span<T>(reinterpret_cast<T*>(elements->data()), elements->size() / sizeof(T));
  }
  SAMOVAR_API Result<std::span<std::byte>> find(std::string_view name, DType dtype) const;
  SAMOVAR_API Result<std::span<std::byte>> find(std::size_t place, DType dtype) const;

  Loan loan_;
  std::vector<Part> parts_;
  detail::PayloadHeader header_;
};

namespace detail {
// A loan for one tensor without a name, and the header of its payload.
struct OneLoan {
  Loan loan;
  std::size_t bytes = 0;  // of elements
  PayloadHeader header;
};
}  // namespace detail

// The same for one tensor of a type that is known.
template <typename T>
class TensorLoan {
 public:
  // Made by Pool::loan_tensor().
  TensorLoan(detail::OneLoan&& loan, const Shape& shape) : loan_(std::move(loan)), shape_(shape) {}

  std::span<T> span() const { return {reinterpret_cast<T*>(loan_.loan.data()), loan_.bytes / sizeof(T)}; }
  const Shape& shape() const { return shape_; }

  // As Loan::write(): `elements`, from element `at` in C order on.
  void write(std::span<const T> elements, std::size_t at = 0) { loan_.loan.write(std::as_bytes(elements), at * sizeof(T)); }

  operator Payload() && {
    return Payload(loan_.loan.span().first(loan_.bytes), loan_.header, std::move(loan_.loan));
  }

 private:
  detail::OneLoan loan_;
  Shape shape_;
};

template <typename T>
Result<TensorLoan<T>> Pool::loan_tensor(const Shape& shape, Duration wait) {
  static_assert(TensorElement<T>, "an element of a tensor is a bool, a number, std::byte, float16, bfloat16 or std::complex");
  Result<detail::OneLoan> loan = loan_one(dtype_of<T>(), shape, wait);
  if (!loan) return tl::unexpected(std::move(loan.error()));
  return Result<TensorLoan<T>>(tl::in_place, std::move(*loan), shape);  // as in Reply::tensor(): a move less
}

// --- reading ------------------------------------------------------------------------------------------------------------

namespace detail {

// Keeps what a reply owns while anything of it is viewed.
class SAMOVAR_API ReplyHold {
 public:
  explicit ReplyHold(core::Call* call);
  ReplyHold(const ReplyHold& other) : ReplyHold(other.call_) {}
  ReplyHold(ReplyHold&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  ReplyHold& operator=(ReplyHold other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~ReplyHold() {
    if (call_) release();
  }

 private:
  void release();

  core::Call* call_;
};

}  // namespace detail

// One tensor of a reply, in place. dtype, shape and bounds have been copied and checked; the elements of a large one lie in
// shared memory, where the worker could still write. Shares the ownership of the reply's memory: it may outlive the Reply.
class TensorView {
 public:
  // Made by Reply.
  TensorView(detail::ReplyHold hold, std::string_view name, DType dtype, std::size_t item_bytes, std::span<const std::uint64_t> shape,
             std::span<const std::byte> elements)
      : hold_(std::move(hold)), name_(name), dtype_(dtype), item_bytes_(item_bytes), shape_(shape), elements_(elements) {}

  const std::string& name() const { return name_; }  // empty: it has none
  DType dtype() const { return dtype_; }
  std::size_t item_bytes() const { return item_bytes_; }
  const Shape& shape() const { return shape_; }
  std::uint64_t size() const { return elements_.size() / item_bytes_; }  // in elements
  std::span<const std::byte> elements() const { return elements_; }     // aligned to what they are: at least 8 for an 8-byte number

  // The elements, in C order. Fails: another dtype (invalid_result). std::uint8_t and std::byte read bool, too; elements of type
  // bool are what the worker wrote: take std::uint8_t if that may be anything.
  template <TensorElement T>
  Result<std::span<const T>> span() const {
    if (auto wrong = check(dtype_of<T>(), -1)) return tl::unexpected(std::move(*wrong));
    return unchecked<T>();
  }

 private:
  template <typename T>
  friend class TensorViewOf;
  friend class Reply;

  SAMOVAR_API std::optional<Error> check(DType expected, int rank) const;
  template <typename T>
  std::span<const T> unchecked() const {
    return {reinterpret_cast<const T*>(elements_.data()), elements_.size() / sizeof(T)};
  }

  detail::ReplyHold hold_;
  std::string name_;
  DType dtype_;
  std::size_t item_bytes_;
  Shape shape_;
  std::span<const std::byte> elements_;
};

// The same where the type of its elements has been checked.
template <typename T>
class TensorViewOf {
 public:
  // Made by Reply. Requires: the elements of `view` are T.
  explicit TensorViewOf(TensorView&& view) : view_(std::move(view)) {}

  const std::string& name() const { return view_.name(); }
  const Shape& shape() const { return view_.shape(); }
  std::uint64_t size() const { return view_.size(); }
  std::span<const T> span() const { return view_.template unchecked<T>(); }
  const T* data() const { return span().data(); }
  const T& operator[](std::uint64_t i) const { return data()[i]; }  // in C order; requires: i < size()

  // One element. Requires: as many indices as dimensions, each less than its dimension.
  template <std::integral... I>
  const T& at(I... indices) const {
    std::uint64_t element = 0;
    std::size_t dimension = 0;
    ((element = element * shape()[dimension++] + static_cast<std::uint64_t>(indices)), ...);
    return data()[element];
  }

 private:
  TensorView view_;
};

template <typename T, int kRank>
Result<TensorViewOf<T>> Reply::tensor(std::string_view name) const {
  static_assert(TensorElement<T>, "an element of a tensor is a bool, a number, std::byte, float16, bfloat16 or std::complex");
  Result<TensorView> view = tensor(name);
  if (!view) return tl::unexpected(std::move(view.error()));
  if (auto wrong = view->check(dtype_of<T>(), kRank)) return tl::unexpected(std::move(*wrong));
  return Result<TensorViewOf<T>>(tl::in_place, std::move(*view));
}

}  // namespace samovar
