// Packed records: several requests of a batch, several answers to one. What goes in comes out; what cannot be is refused.
#include "ipc/packed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "ipc/lane.h"
#include "ipc/layout.h"

namespace samovar::ipc {
namespace {

using Bytes = std::vector<std::byte>;

Bytes payload_of(std::uint64_t number, std::size_t size) {
  Bytes payload(size);
  for (std::size_t i = 0; i < size; ++i) payload[i] = std::byte(number * 31 + i);
  return payload;
}

// A payload in memory of exactly its size, where AddressSanitizer sees what is read behind it.
class Exactly {
 public:
  explicit Exactly(std::span<const std::byte> bytes) : size_(bytes.size()), memory_(std::make_unique<std::byte[]>(bytes.size())) {
    std::copy(bytes.begin(), bytes.end(), memory_.get());  // new[] aligns for any word
  }
  std::span<const std::byte> bytes() const { return {memory_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> memory_;
};

struct Unpacked {
  Request request;
  const std::atomic<std::uint64_t>* word;
  bool revoked() const { return is_revoked(*word); }
};

// What a reader makes of `record`; nothing: it refuses it.
std::vector<Unpacked> unpacked(const Request& record) {
  std::vector<Unpacked> out(PackedReader::count(record));
  if (out.empty()) return out;
  PackedReader reader(record);
  for (Unpacked& one : out) {
    EXPECT_TRUE(reader.has_more());
    one.word = reader.next(one.request);
  }
  EXPECT_FALSE(reader.has_more());
  return out;
}

TEST(PackedRequests, come_out_as_they_went_in) {
  for (const std::size_t size : {0u, 1u, 7u, 8u, 9u, 64u, 200u, 1024u}) {
    for (const bool in_order : {true, false}) {
      PackedRequests packed(4096);
      std::vector<Bytes> payloads;
      std::vector<Request> sent;
      for (std::uint64_t i = 0; i < kPackedItemsMax; ++i) {
        payloads.push_back(payload_of(i, size));
        const Request request{.call_id = in_order ? 100 + i : 100 - 3 * i,
                              .deadline_ns = in_order ? 7 : static_cast<std::int64_t>(i % 3),
                              .method = 5,
                              .kind = static_cast<Kind>(i % (kKindMax + 1)),
                              .flags = static_cast<std::uint8_t>(i % 2 != 0 ? kRequestTimed | kRequestMayWait : kRequestInArena),
                              .payload = payloads.back()};
        if (!packed.add(request)) break;
        sent.push_back(request);
      }
      ASSERT_GE(sent.size(), 3u);
      const Request record = packed.record(kRequestRevocable);
      EXPECT_EQ(record.method, 5);
      EXPECT_EQ(record.call_id, 100u);
      EXPECT_EQ(record.flags, kRequestPacked | kRequestRevocable);
      const Exactly copy(record.payload);
      Request read = record;
      read.payload = copy.bytes();
      const std::vector<Unpacked> out = unpacked(read);
      ASSERT_EQ(out.size(), sent.size());
      for (std::size_t i = 0; i < sent.size(); ++i) {
        const Request& request = out[i].request;
        EXPECT_EQ(request.call_id, sent[i].call_id);
        EXPECT_EQ(request.deadline_ns, sent[i].deadline_ns);
        EXPECT_EQ(request.method, 5);
        EXPECT_EQ(request.kind, sent[i].kind);
        EXPECT_EQ(request.flags, sent[i].flags);
        EXPECT_TRUE(std::ranges::equal(request.payload, sent[i].payload));
        EXPECT_FALSE(out[i].revoked());
      }
    }
  }
}

TEST(PackedRequests, take_a_word_and_their_payload_where_ids_follow_and_deadlines_are_alike) {
  PackedRequests packed(4096);
  const Bytes payload = payload_of(1, 8);
  for (std::uint32_t i = 0; i < kPackedItemsMax; ++i) {
    const auto word = packed.add({.call_id = 9 + i, .deadline_ns = 3, .method = 1, .kind = Kind::bytes, .payload = payload});
    ASSERT_TRUE(word);
    EXPECT_EQ(*word, 16 * i);
  }
  EXPECT_FALSE(packed.add({.call_id = 9 + kPackedItemsMax, .deadline_ns = 3, .method = 1})) << "there are as many as may be";
  EXPECT_EQ(packed.record(0).payload.size(), 16 * kPackedItemsMax);
  EXPECT_EQ(packed.count(), kPackedItemsMax);
  packed.clear();
  EXPECT_TRUE(packed.empty());
}

TEST(PackedRequests, keep_within_what_a_record_may_hold) {
  PackedRequests packed(100);
  EXPECT_EQ(packed.bytes_max(), 100u);
  EXPECT_TRUE(packed.may_take(72));
  EXPECT_FALSE(packed.may_take(73));
  EXPECT_FALSE(PackedRequests(1 << 20).may_take(kPackedPayloadMax + 1));
  EXPECT_FALSE(PackedRequests(23).may_take(0)) << "an id and a deadline of its own do not fit";
  const Bytes payload = payload_of(1, 40);
  EXPECT_TRUE(packed.add({.call_id = 1, .payload = payload}));
  EXPECT_TRUE(packed.add({.call_id = 2, .payload = payload}));
  EXPECT_FALSE(packed.add({.call_id = 3, .payload = payload}));
  EXPECT_EQ(packed.count(), 2u);
}

// As the host revokes: by the lane, at the place that the journal remembers.
TEST(PackedRequests, are_revoked_one_by_one_in_the_lane) {
  alignas(64) static std::byte ring[4096] = {};
  std::atomic<std::uint64_t> consumed{0};
  LaneWriter writer(ring, sizeof ring, consumed);
  LaneReader reader(ring, sizeof ring, 2048, consumed);
  for (int round = 0; round < 40; ++round) {
    PackedRequests packed(1024);
    const Bytes payload = payload_of(1, 30);
    std::vector<std::uint32_t> words;
    for (std::uint64_t id = 1; id <= 5; ++id) words.push_back(packed.add({.call_id = 10 * id, .method = 2, .payload = payload}).value());
    const Request record = packed.record(0);
    std::byte* out = writer.try_claim(message_bytes(static_cast<std::uint32_t>(record.payload.size())));
    ASSERT_NE(out, nullptr);
    write_request(record, out);
    const std::uint64_t items = writer.publish() + kCommitWordBytes + kEnvelopeBytes;
    writer.revoke(items + words[1]);
    writer.revoke(items + words[4]);
    ASSERT_EQ(reader.peek(), Peek::record);
    EXPECT_FALSE(reader.revoked());
    Request request;
    ASSERT_TRUE(read_request({reader.message(), reader.size()}, request));
    const std::vector<Unpacked> read = unpacked(request);
    ASSERT_EQ(read.size(), 5u);
    for (std::size_t i = 0; i < read.size(); ++i) {
      EXPECT_EQ(read[i].revoked(), i == 1 || i == 4) << i;
      EXPECT_TRUE(std::ranges::equal(read[i].request.payload, payload));
    }
    writer.revoke(items + words[0]);
    EXPECT_TRUE(read[0].revoked()) << "while it runs, too";
    reader.pop();
    reader.publish_consumed();
  }
}

TEST(PackedRequests, that_cannot_be_are_refused) {
  PackedRequests packed(4096);
  const Bytes payload = payload_of(1, 20);
  packed.add({.call_id = 5, .deadline_ns = 1, .method = 1, .kind = Kind::bytes, .payload = payload});
  packed.add({.call_id = 9, .deadline_ns = 2, .method = 1, .kind = Kind::bytes, .payload = payload});
  const Request record = packed.record(0);
  const auto unpacks = [&](std::span<const std::byte> bytes) {
    const Exactly copy(bytes);
    Request cut = record;
    cut.payload = copy.bytes();
    return !unpacked(cut).empty();
  };
  EXPECT_TRUE(unpacks(record.payload));
  constexpr std::size_t kFirst = 32;  // a word, 20 bytes, filled up
  for (std::size_t size = 0; size < record.payload.size(); ++size) EXPECT_EQ(unpacks(record.payload.first(size)), size == kFirst) << size;
  Bytes bytes(record.payload.begin(), record.payload.end());
  const auto with = [&](std::size_t at, std::byte value) {
    Bytes changed = bytes;
    changed[at] = value;
    return unpacks(changed);
  };
  EXPECT_FALSE(with(4, std::byte{kKindMax + 1}));
  EXPECT_FALSE(with(1, std::byte{8})) << "a payload larger than any";
  EXPECT_FALSE(with(0, std::byte{255})) << "one that ends behind the record";
  EXPECT_FALSE(with(7, std::byte{1})) << "a bit that has no meaning";
  EXPECT_TRUE(with(7, std::byte{0x20})) << "revoked";

  auto words = std::make_unique<std::uint64_t[]>(bytes.size() / 8 + 1);
  std::byte* const odd = reinterpret_cast<std::byte*>(words.get()) + 1;
  std::copy(bytes.begin(), bytes.end(), odd);
  Request unaligned = record;
  unaligned.payload = {odd, bytes.size()};
  EXPECT_EQ(PackedReader::count(unaligned), 0u);
}

TEST(PackedResponses, come_out_as_they_went_in) {
  for (const std::size_t size : {0u, 1u, 8u, 13u, 64u, 1024u}) {
    PackedResponses packed(4096);
    std::vector<Bytes> payloads;
    while (!packed.full() && packed.has_room_for(size)) {
      payloads.push_back(payload_of(payloads.size(), size));
      packed.add(0x1'0000'0000 + 2 * payloads.size(), 77, static_cast<Kind>(payloads.size() % (kKindMax + 1)), payloads.back());
    }
    ASSERT_GE(payloads.size(), 3u);
    const Response record = packed.record();
    EXPECT_EQ(record.call_id, 0x1'0000'0002u);
    EXPECT_EQ(record.service_ns, 77u);
    EXPECT_EQ(record.status, Status::packed);
    EXPECT_FALSE(is_final(record.status));
    const Exactly copy(record.payload);
    std::span<const std::byte> rest = copy.bytes();
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      const auto item = take_item(rest);
      ASSERT_TRUE(item);
      EXPECT_EQ(item->call_id_low, 2 * (i + 1));
      EXPECT_EQ(item->kind, static_cast<Kind>((i + 1) % (kKindMax + 1)));
      EXPECT_TRUE(std::ranges::equal(item->payload, payloads[i]));
      Bytes words(whole_words(size));
      copy_words(words.data(), item->payload);
      EXPECT_TRUE(std::equal(payloads[i].begin(), payloads[i].end(), words.begin()));
    }
    EXPECT_TRUE(rest.empty());
    EXPECT_FALSE(take_item(rest));
  }
}

TEST(PackedResponses, keep_within_what_a_record_may_hold) {
  PackedResponses packed(64);
  EXPECT_TRUE(packed.may_take(56));
  EXPECT_FALSE(packed.may_take(57));
  EXPECT_FALSE(PackedResponses(1 << 20).may_take(kPackedPayloadMax + 1));
  packed.add(1, 0, Kind::bytes, payload_of(1, 24));
  EXPECT_TRUE(packed.has_room_for(24));
  EXPECT_FALSE(packed.has_room_for(25));
}

TEST(PackedResponses, that_cannot_be_are_refused) {
  PackedResponses packed(4096);
  packed.add(5, 0, Kind::bytes, payload_of(1, 20));
  const Response record = packed.record();
  for (std::size_t size = 0; size < record.payload.size(); ++size) {
    const Exactly copy(record.payload.first(size));
    std::span<const std::byte> rest = copy.bytes();
    EXPECT_FALSE(take_item(rest)) << size;
  }
  for (const auto& [at, value] : {std::pair{7u, kKindMax + 1}, {4u, 25}, {5u, 4}, {6u, 1}}) {
    Bytes changed(record.payload.begin(), record.payload.end());
    changed[at] = std::byte(value);
    const Exactly copy(changed);
    std::span<const std::byte> rest = copy.bytes();
    EXPECT_FALSE(take_item(rest)) << at;
  }
}

}  // namespace
}  // namespace samovar::ipc
