// Packed: several small requests of one batch in one record, and several small answers in one; PROTOCOL.md, section 3.
//
// What a batch costs is cache lines moved and records written, read and verified. A record with sixteen requests of 8 bytes moves five
// lines where sixteen records move sixteen. Each call keeps its own id, deadline, flags and revoked bit.
//
// Threads: any. Plain words, since each item has optional parts and no FlatBuffer is built or verified for a single one.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "ipc/message.h"

namespace samovar::ipc {

inline constexpr std::uint32_t kPackedPayloadMax = 1024;  // of one item
inline constexpr std::uint32_t kPackedItemsMax = 16;      // in one record, so that its reader begins while the next is being written
inline constexpr std::uint32_t kPackedBytesMax = 4096;    // of a record's items, where inline_bytes_max is not less

// Payloads of items are filled up to these.
constexpr std::uint32_t whole_words(std::size_t bytes) { return (static_cast<std::uint32_t>(bytes) + 7u) & ~7u; }

// Items put together in memory of one's own, whose lines nobody takes away, to be copied into a lane at once.
class PackedItems {
 public:
  std::uint32_t bytes_max() const { return bytes_max_; }  // of all items together
  std::uint32_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  bool full() const { return count_ == kPackedItemsMax; }
  void clear() { size_ = count_ = 0; }

 protected:
  explicit PackedItems(std::uint32_t bytes_max) : bytes_max_(bytes_max < kPackedBytesMax ? bytes_max : kPackedBytesMax) {}

  // Whether one with so many bytes before its payload may be packed at all.
  bool may_take(std::uint32_t head_bytes, std::size_t payload_bytes) const {
    return payload_bytes <= kPackedPayloadMax && head_bytes + whole_words(payload_bytes) <= bytes_max_;
  }
  bool has_room_for(std::uint32_t bytes) const { return !full() && size_ + bytes <= bytes_max_; }

  // Where the next item is to be written. Requires: has_room_for() its bytes.
  std::byte* append(std::uint32_t bytes) {
    std::byte* const at = bytes_.data() + size_;
    size_ += bytes;
    ++count_;
    return at;
  }
  std::uint32_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {bytes_.data(), size_}; }

 private:
  const std::uint32_t bytes_max_;
  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
  alignas(8) std::array<std::byte, kPackedBytesMax> bytes_;
};

class PackedRequests : public PackedItems {
 public:
  explicit PackedRequests(std::uint32_t bytes_max) : PackedItems(bytes_max) {}

  // Whether a request with a payload of that size may be packed at all, whatever it has of its own.
  bool may_take(std::size_t payload_bytes) const { return PackedItems::may_take(24, payload_bytes); }

  // Appends `request`. Where its word lies, in bytes() from their beginning; nothing: there is no room.
  // Requires: may_take() its payload; that the method is the first one's.
  std::optional<std::uint32_t> add(const Request& request);

  // The record's request: `flags` besides those of the items.
  Request record(std::uint8_t flags) const;

 private:
  std::uint64_t first_id_ = 0;
  std::uint64_t next_id_ = 0;
  std::int64_t deadline_ns_ = 0;
  std::uint16_t method_ = 0;
};

// The requests of a packed record, one by one. Payloads stay where the record is.
// Requires: the record lies in the reader's own request lane, so that nothing changes but revoked bits.
class PackedReader {
 public:
  // How many there are. 0: `record` is none.
  static std::uint32_t count(const Request& record);

  // Requires: count(). The record may be gone, what its payload views not.
  explicit PackedReader(const Request& record) : rest_(record.payload), id_(record.call_id), deadline_ns_(record.deadline_ns), method_(record.method) {}

  bool has_more() const { return !rest_.empty(); }

  // The next one, and the word where the writer may revoke it at any time. Requires: has_more().
  const std::atomic<std::uint64_t>* next(Request& out);

 private:
  std::span<const std::byte> rest_;
  std::uint64_t id_;
  const std::int64_t deadline_ns_;
  const std::uint16_t method_;
};

// Whether the word of a request, a commit word or an item's, says so. Relaxed: ordered by the fence of started and revoked.
inline bool is_revoked(const std::atomic<std::uint64_t>& word) { return (word.load(std::memory_order_relaxed) & kCommitRevoked) != 0; }

// Answers, all of them with Status::ok and no flags.
class PackedResponses : public PackedItems {
 public:
  explicit PackedResponses(std::uint32_t bytes_max) : PackedItems(bytes_max) {}

  // Whether one with a payload of that size may be packed at all, and whether there is room for it beside the others.
  bool may_take(std::size_t payload_bytes) const { return PackedItems::may_take(8, payload_bytes); }
  bool has_room_for(std::size_t payload_bytes) const { return PackedItems::has_room_for(item_bytes(payload_bytes)); }

  // `service_ns` is the same for all. Requires: may_take() and has_room_for() its payload.
  void add(std::uint64_t call_id, std::uint64_t service_ns, Kind kind, std::span<const std::byte> payload);

  Response record() const;

 private:
  static constexpr std::uint32_t item_bytes(std::size_t payload_bytes) { return 8 + whole_words(payload_bytes); }

  std::uint64_t first_id_ = 0;
  std::uint64_t service_ns_ = 0;
};

// One of them: of its call's id the lower half, by which a reader sees whether it is the one that it expects.
struct PackedResponse {
  // Its word; PROTOCOL.md.
  static constexpr unsigned kSizeShift = 32;
  static constexpr unsigned kKindShift = 56;
  static constexpr std::uint64_t kSizeMask = 0xff'ffff;
  static_assert(kPackedPayloadMax <= kSizeMask);

  std::uint32_t call_id_low = 0;
  Kind kind = Kind::none;
  std::span<const std::byte> payload;
};

// Takes the first of `items` off them. Nothing: what lies there is none, or `items` are empty. Requires: private memory.
// Here, for its reader to inline: what it returns would else be written in halves and read as one, which no processor does at once.
inline std::optional<PackedResponse> take_item(std::span<const std::byte>& items) {
  std::uint64_t word;
  if (items.size() < sizeof word) return std::nullopt;
  std::memcpy(&word, items.data(), sizeof word);
  const auto size = static_cast<std::uint32_t>(word >> PackedResponse::kSizeShift & PackedResponse::kSizeMask);
  const auto kind = static_cast<std::uint8_t>(word >> PackedResponse::kKindShift);
  if (kind > kKindMax || size > kPackedPayloadMax || sizeof word + whole_words(size) > items.size()) return std::nullopt;
  const PackedResponse item{.call_id_low = static_cast<std::uint32_t>(word), .kind = static_cast<Kind>(kind), .payload = items.subspan(sizeof word, size)};
  items = items.subspan(sizeof word + whole_words(size));
  return item;
}

// Copies a payload of an item, with what fills it up to whole words: they are short, for which memcpy() costs more than a loop.
inline void copy_words(std::byte* out, std::span<const std::byte> payload) {
  for (std::size_t at = 0; at < payload.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, payload.data() + at, sizeof word);
    asm("" : "+r"(word));  // or the compiler sees a memcpy() in it
    std::memcpy(out + at, &word, sizeof word);
  }
}

}  // namespace samovar::ipc
