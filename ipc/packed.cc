#include "ipc/packed.h"

#include <cstring>

namespace samovar::ipc {
namespace {

constexpr std::uint32_t kWordBytes = 8;

// The word of a request's item; PROTOCOL.md. Its revoked bit is the commit word's.
constexpr unsigned kKindShift = 32;
constexpr unsigned kFlagsShift = 40;
constexpr std::uint64_t kOwnId = std::uint64_t{1} << 48;
constexpr std::uint64_t kOwnDeadline = std::uint64_t{1} << 49;
constexpr std::uint64_t kRequestWordMask = kCommitSizeMask | std::uint64_t{0xff} << kKindShift | std::uint64_t{0xff} << kFlagsShift | kOwnId | kOwnDeadline | kCommitRevoked;

template <typename Word>
std::byte* put(std::byte* out, Word word) {
  static_assert(sizeof word == kWordBytes);
  std::memcpy(out, &word, sizeof word);
  return out + sizeof word;
}

// The payload and zeros up to a multiple of 8.
void put_payload(std::byte* out, std::span<const std::byte> payload) {
  const std::size_t words = payload.size() / kWordBytes * kWordBytes;
  copy_words(out, payload.first(words));
  if (words == payload.size()) return;
  std::uint64_t rest = 0;
  std::memcpy(&rest, payload.data() + words, payload.size() - words);
  put(out + words, rest);
}

std::uint64_t take_word(std::span<const std::byte>& rest) {
  std::uint64_t word;
  std::memcpy(&word, rest.data(), sizeof word);
  rest = rest.subspan(sizeof word);
  return word;
}

const std::atomic<std::uint64_t>* word_at(std::span<const std::byte> bytes) {
  return reinterpret_cast<const std::atomic<std::uint64_t>*>(bytes.data());
}

// What stands before the payload of an item with that word.
std::size_t head_bytes(std::uint64_t word) { return std::size_t{kWordBytes} * (1 + ((word & kOwnId) != 0) + ((word & kOwnDeadline) != 0)); }

}  // namespace

std::optional<std::uint32_t> PackedRequests::add(const Request& request) {
  if (empty()) {
    first_id_ = next_id_ = request.call_id;
    deadline_ns_ = request.deadline_ns;
    method_ = request.method;
  }
  const bool own_id = request.call_id != next_id_;
  const bool own_deadline = request.deadline_ns != deadline_ns_;
  const auto size = static_cast<std::uint32_t>(request.payload.size());
  const std::uint32_t bytes = kWordBytes * (1 + own_id + own_deadline) + whole_words(size);
  if (!has_room_for(bytes)) return std::nullopt;
  const std::uint32_t at = this->size();
  std::byte* out = put(append(bytes), std::uint64_t{size} | static_cast<std::uint64_t>(request.kind) << kKindShift |
                                          std::uint64_t{request.flags} << kFlagsShift | (own_id ? kOwnId : 0) | (own_deadline ? kOwnDeadline : 0));
  if (own_id) out = put(out, request.call_id);
  if (own_deadline) out = put(out, request.deadline_ns);
  put_payload(out, request.payload);
  next_id_ = request.call_id + 1;
  return at;
}

Request PackedRequests::record(std::uint8_t flags) const {
  return {.call_id = first_id_,
          .deadline_ns = deadline_ns_,
          .method = method_,
          .kind = Kind::none,
          .flags = static_cast<std::uint8_t>(flags | kRequestPacked),
          .payload = bytes()};
}

std::uint32_t PackedReader::count(const Request& record) {
  std::span<const std::byte> rest = record.payload;
  if (reinterpret_cast<std::uintptr_t>(rest.data()) % kWordBytes != 0) return 0;  // where no canonical record has it
  std::uint32_t count = 0;
  for (; !rest.empty(); ++count) {
    if (rest.size() < kWordBytes) return 0;
    const std::uint64_t word = word_at(rest)->load(std::memory_order_relaxed);
    const std::uint64_t size = word & kCommitSizeMask;
    if ((word & ~kRequestWordMask) != 0 || (word >> kKindShift & 0xff) > kKindMax || size > kPackedPayloadMax) return 0;
    const std::size_t bytes = head_bytes(word) + whole_words(size);
    if (bytes > rest.size()) return 0;
    rest = rest.subspan(bytes);
  }
  return count;
}

const std::atomic<std::uint64_t>* PackedReader::next(Request& out) {
  const std::atomic<std::uint64_t>* const place = word_at(rest_);
  const std::uint64_t word = place->load(std::memory_order_relaxed);
  rest_ = rest_.subspan(kWordBytes);
  if ((word & kOwnId) != 0) id_ = take_word(rest_);
  out.call_id = id_++;
  out.deadline_ns = (word & kOwnDeadline) != 0 ? static_cast<std::int64_t>(take_word(rest_)) : deadline_ns_;
  out.method = method_;
  out.kind = static_cast<Kind>(word >> kKindShift & 0xff);
  out.flags = static_cast<std::uint8_t>(word >> kFlagsShift);
  out.payload = rest_.first(word & kCommitSizeMask);
  rest_ = rest_.subspan(whole_words(out.payload.size()));
  return place;
}

void PackedResponses::add(std::uint64_t call_id, std::uint64_t service_ns, Kind kind, std::span<const std::byte> payload) {
  if (empty()) {
    first_id_ = call_id;
    service_ns_ = service_ns;
  }
  const std::uint64_t word = (call_id & 0xffff'ffff) | std::uint64_t{payload.size()} << PackedResponse::kSizeShift |
                             static_cast<std::uint64_t>(kind) << PackedResponse::kKindShift;
  put_payload(put(append(item_bytes(payload.size())), word), payload);
}

Response PackedResponses::record() const {
  return {.call_id = first_id_, .service_ns = service_ns_, .status = Status::packed, .payload = bytes()};
}

}  // namespace samovar::ipc
