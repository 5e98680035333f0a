#include <cstring>
#include <string>
#include <utility>

#include <samovar/payload.h>
#include <samovar/reply.h>

#include "core/dispatch/call.h"
#include "core/errors.h"
#include "core/values/value_codec.h"
#include "ipc/copy_for_peer.h"

namespace samovar {
namespace {

Payload encoded(PayloadKind kind, const Value& value, std::string_view root) {
  std::vector<std::uint8_t> bytes;
  auto result = core::encode_value(value, bytes, root);
  if (!result) return {kind, {}, std::move(result.error())};
  std::vector<std::byte> copy(bytes.size());
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  return {kind, std::move(copy), {}};
}

}  // namespace

void Loan::write(std::span<const std::byte> bytes, std::size_t at) { ipc::copy_for_peer(span_.data() + at, bytes); }

void Payload::write_elements(std::byte* out) const {
  if (parts_.empty()) {
    return ipc::copy_for_peer(out, view_);
  }
  std::uint64_t end = 0;
  for (const detail::PayloadPart& part : parts_) {
    std::memset(out + end, 0, part.at - end);
    ipc::copy_for_peer(out + part.at, part.bytes);
    end = part.at + part.bytes.size();
  }
}

void Payload::write_header(std::byte* out) const {
  std::memset(out + elements_bytes(), 0, header_at() - elements_bytes());
  std::memcpy(out + header_at(), header_.bytes().data(), header_.size());
}

Payload value(const Value& value) { return encoded(PayloadKind::value, value, "value"); }

Payload arguments(const std::vector<Value>& values) { return encoded(PayloadKind::arguments, Value(values), "arguments"); }

Result<Value> Reply::value() const {
  switch (kind()) {
    case PayloadKind::none: return Value();
    case PayloadKind::bytes: return Value(Bytes(data().begin(), data().end()));
    case PayloadKind::text: return Value(text());
    case PayloadKind::flatbuffer:
      return tl::unexpected(core::make_error(Category::application, Code::invalid_result, "the reply is a FlatBuffer and no value; read it with as<T>()"));
    case PayloadKind::tensor: return tl::unexpected(core::make_error(Category::application, Code::invalid_result, "the reply is a tensor and no value; read it with tensor()"));
    default: break;
  }
  const std::vector<std::byte> copy = in_place() ? std::vector(data().begin(), data().end()) : std::vector<std::byte>();
  auto decoded = core::decode_value(in_place() ? copy : data());
  if (decoded) return std::move(*decoded);
  return tl::unexpected(core::make_error(Category::worker, Code::invalid_result, "the reply is no value: " + decoded.error()));
}

}  // namespace samovar
