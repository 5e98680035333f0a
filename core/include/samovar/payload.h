// Payload: the argument of a call. Views what it is made from, which must live until call() returns or submit() has copied it;
// made from a Loan, it owns it. One that does not fit into a lane record (Options::inline_bytes_max) and is no loan of the same
// pool is copied into the request arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/api.h>
#include <samovar/loan.h>
#include <samovar/value.h>

namespace samovar {

enum class PayloadKind : std::uint8_t {
  none,       // the method is called without an argument; a result None
  bytes,      // a memoryview in Python
  text,       // a str
  value,      // None, bool, int, float, str, bytes, list, dict
  arguments,  // a list of values, spread to the method's positional parameters
  tensor,     // one or more tensors
  flatbuffer, // a FlatBuffer of a schema of your own
};

namespace detail {
// A piece of a payload that is put together where the payload goes.
struct PayloadPart {
  std::uint64_t at = 0;  // in the payload
  std::span<const std::byte> bytes;
};

// The header of tensors. A short one, as nearly all are, needs no memory of its own.
class PayloadHeader {
 public:
  PayloadHeader() noexcept {}
  explicit PayloadHeader(std::size_t bytes) : size_(bytes), long_(bytes > sizeof short_ ? bytes : 0) {}  // any content, to be written

  std::size_t size() const { return size_; }
  std::byte* data() { return long_.empty() ? short_ : long_.data(); }
  std::span<const std::byte> bytes() const { return {long_.empty() ? short_ : long_.data(), size_}; }

 private:
  std::size_t size_ = 0;
  std::byte short_[64];  // one tensor of five dimensions
  std::vector<std::byte> long_;
};
}  // namespace detail

class Payload {
 public:
  Payload() = default;
  Payload(PayloadKind kind, std::span<const std::byte> view) : kind_(kind), view_(view) {}

  Payload(Loan&& loan, PayloadKind kind = PayloadKind::bytes)  // implicit, so that a loan can be passed
      : kind_(kind), view_(loan.span_), block_(std::move(loan.block_)) {
    loan.span_ = {};
  }

  // `encoded` holds FlexBuffers, as value() and arguments() make it; `error` says why they could not.
  Payload(PayloadKind kind, std::vector<std::byte> encoded, std::string error)
      : kind_(kind), encoded_(std::move(encoded)), error_(std::move(error)) {}

  // Tensors: elements in parts, one after the other, and a header. Nothing of the parts is copied before the call has a place for it; so
  // they must live as long as what a Payload views. With a `loan`, they lie there already.
  Payload(std::vector<detail::PayloadPart> parts, const detail::PayloadHeader& header)
      : kind_(PayloadKind::tensor), header_(header), parts_(std::move(parts)) {}
  Payload(std::vector<detail::PayloadPart> parts, const detail::PayloadHeader& header, Loan&& loan) : Payload(std::move(parts), header) {
    block_ = std::move(loan.block_);
    loan.span_ = {};
  }

  // The same for one tensor.
  Payload(std::span<const std::byte> elements, const detail::PayloadHeader& header)
      : kind_(PayloadKind::tensor), view_(elements), header_(header) {}
  Payload(std::span<const std::byte> elements, const detail::PayloadHeader& header, Loan&& loan) : Payload(elements, header) {
    block_ = std::move(loan.block_);
    loan.span_ = {};
  }

  PayloadKind kind() const { return kind_; }
  std::size_t size() const { return in_parts() ? header_at() + header_.size() : data().size(); }

  // Requires: not in_parts().
  std::span<const std::byte> data() const { return encoded_.empty() ? view_ : std::span<const std::byte>(encoded_); }

  // Puts the parts, the header, or both with zeros between them, to where they belong. Requires: in_parts(), and room for
  // elements_bytes() or size().
  bool in_parts() const { return header_.size() != 0; }
  std::size_t elements_bytes() const { return parts_.empty() ? view_.size() : parts_.back().at + parts_.back().bytes.size(); }
  std::span<const std::byte> header() const { return header_.bytes(); }
  SAMOVAR_API void write_elements(std::byte* out) const;
  SAMOVAR_API void write_header(std::byte* out) const;
  void write(std::byte* out) const {
    write_elements(out);
    write_header(out);
  }
  const std::string& error() const { return error_; }
  const detail::Block& block() const { return block_; }  // where data() lies; empty unless made from a loan

 private:
  PayloadKind kind_ = PayloadKind::none;
  std::span<const std::byte> view_;
  std::vector<std::byte> encoded_;
  std::string error_;
  detail::Block block_;
  detail::PayloadHeader header_;             // of tensors
  std::vector<detail::PayloadPart> parts_;   // where there are several; one is `view_`

  std::size_t header_at() const { return (elements_bytes() + 7) & ~std::size_t{7}; }
};

inline Payload bytes(std::span<const std::byte> data) { return {PayloadKind::bytes, data}; }
inline Payload bytes(const void* data, std::size_t size) { return bytes({static_cast<const std::byte*>(data), size}); }
inline Payload text(std::string_view utf8) { return {PayloadKind::text, std::as_bytes(std::span(utf8))}; }
inline Payload text(Loan&& utf8) { return {std::move(utf8), PayloadKind::text}; }

// Encoded at once. A value that cannot be (deeper than 64 levels) fails the call with invalid_payload.
SAMOVAR_API Payload value(const Value& value);
SAMOVAR_API Payload arguments(const std::vector<Value>& values);

}  // namespace samovar
