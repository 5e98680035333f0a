// Messages against the generated code: same bytes out, everything valid read, nothing else believed, nothing read outside.
#include "ipc/message.h"

#include <gtest/gtest.h>
#include <samovar_wire/note_generated.h>
#include <samovar_wire/request_generated.h>
#include <samovar_wire/response_generated.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace samovar::ipc {
namespace {

using Bytes = std::vector<std::byte>;

Bytes payload_of(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 37 + 11);
  return bytes;
}

Request sample_request(const Bytes& payload) {
  return {.call_id = 0x0123'4567'89ab'cdef, .deadline_ns = 0x1122'3344'5566'7788, .method = 0xa1b2, .kind = Kind::value,
          .flags = 3, .payload = payload};
}
Response sample_response(const Bytes& payload) {
  return {.call_id = 0xfedc'ba98'7654'3210, .service_ns = 0x8877'6655'4433'2211, .kind = Kind::text, .status = Status::failed,
          .payload = payload};
}

// Onto memory that was used before: what is written must not depend on it.
Bytes written(const Request& request) {
  Bytes out(message_bytes(static_cast<std::uint32_t>(request.payload.size())), std::byte{0xee});
  write_request(request, out.data());
  return out;
}
Bytes written(const Response& response) {
  Bytes out(message_bytes(static_cast<std::uint32_t>(response.payload.size())), std::byte{0xee});
  write_response(response, out.data());
  return out;
}

const std::uint8_t* raw(const Bytes& bytes) { return reinterpret_cast<const std::uint8_t*>(bytes.data()); }

template <typename Create>
Bytes built(Create create, bool force_defaults = true) {
  flatbuffers::FlatBufferBuilder builder;
  builder.ForceDefaults(force_defaults);
  builder.Finish(create(builder));
  const auto* data = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return {data, data + builder.GetSize()};
}

wire::RequestHeader header_of(const Request& r) {
  return {r.call_id, r.deadline_ns, 0, r.method, static_cast<std::uint8_t>(r.kind), r.flags};
}
wire::ResponseHeader header_of(const Response& r) {
  return {r.call_id, r.service_ns, 0, 0, static_cast<std::uint8_t>(r.kind), static_cast<std::uint8_t>(r.status)};
}

template <typename Builder, typename Message>
auto vector_of(Builder& builder, const Message& message) {
  return builder.CreateVector(reinterpret_cast<const std::uint8_t*>(message.payload.data()), message.payload.size());
}

Bytes built(const Request& request) {
  const auto header = header_of(request);
  return built([&](auto& b) { return wire::CreateRequest(b, &header, vector_of(b, request)); });
}
Bytes built(const Response& response) {
  const auto header = header_of(response);
  return built([&](auto& b) { return wire::CreateResponse(b, &header, vector_of(b, response)); });
}

void expect_same(const Request& a, const Request& b) {
  EXPECT_EQ(a.call_id, b.call_id);
  EXPECT_EQ(a.deadline_ns, b.deadline_ns);
  EXPECT_EQ(a.method, b.method);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.flags, b.flags);
  ASSERT_EQ(a.payload.size(), b.payload.size());
  EXPECT_TRUE(std::equal(a.payload.begin(), a.payload.end(), b.payload.begin()));
}
void expect_same(const Response& a, const Response& b) {
  EXPECT_EQ(a.call_id, b.call_id);
  EXPECT_EQ(a.service_ns, b.service_ns);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.status, b.status);
  ASSERT_EQ(a.payload.size(), b.payload.size());
  EXPECT_TRUE(std::equal(a.payload.begin(), a.payload.end(), b.payload.begin()));
}

bool read(const Bytes& bytes, Request& out) { return read_request(bytes, out); }
bool read(const Bytes& bytes, Response& out) { return read_response(bytes, out); }

std::vector<std::size_t> sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= 300; ++size) sizes.push_back(size);
  sizes.push_back(4096);
  return sizes;
}

TEST(Message, is_byte_for_byte_what_the_generated_code_builds_where_no_padding_is_left_to_choose) {
  for (std::size_t size : sizes()) {
    if (size % 8 != 0) continue;
    const Bytes payload = payload_of(size);
    EXPECT_EQ(written(sample_request(payload)), built(sample_request(payload))) << size;
    EXPECT_EQ(written(sample_response(payload)), built(sample_response(payload))) << size;
  }
}

TEST(Message, of_any_length_is_valid_and_says_the_same_by_the_generated_accessors) {
  for (std::size_t size : sizes()) {
    const Bytes payload = payload_of(size);
    const Bytes request = written(sample_request(payload));
    flatbuffers::Verifier verifier(raw(request), request.size());
    ASSERT_TRUE(wire::VerifyRequestBuffer(verifier)) << size;
    const wire::Request* table = wire::GetRequest(request.data());
    EXPECT_EQ(table->header()->call_id(), 0x0123'4567'89ab'cdefu);
    EXPECT_EQ(table->header()->deadline_ns(), 0x1122'3344'5566'7788);
    EXPECT_EQ(table->header()->session(), 0u);
    EXPECT_EQ(table->header()->method(), 0xa1b2);
    EXPECT_EQ(table->header()->kind(), 3);
    EXPECT_EQ(table->header()->flags(), 3);
    ASSERT_EQ(table->payload()->size(), size);
    EXPECT_TRUE(size == 0 || std::memcmp(table->payload()->data(), payload.data(), size) == 0);
    for (std::size_t i = kEnvelopeBytes + size; i < request.size(); ++i) EXPECT_EQ(request[i], std::byte{0}) << "padding of " << size;

    const Bytes response = written(sample_response(payload));
    flatbuffers::Verifier response_verifier(raw(response), response.size());
    ASSERT_TRUE(wire::VerifyResponseBuffer(response_verifier)) << size;
    const wire::Response* answer = wire::GetResponse(response.data());
    EXPECT_EQ(answer->header()->call_id(), 0xfedc'ba98'7654'3210u);
    EXPECT_EQ(answer->header()->service_ns(), 0x8877'6655'4433'2211u);
    EXPECT_EQ(answer->header()->kind(), 2);
    EXPECT_EQ(answer->header()->status(), 1);
    ASSERT_EQ(answer->payload()->size(), size);
    EXPECT_TRUE(size == 0 || std::memcmp(answer->payload()->data(), payload.data(), size) == 0);
  }
}

TEST(Message, is_read_back_as_it_was_written) {
  for (std::size_t size : sizes()) {
    const Bytes payload = payload_of(size);
    const Bytes request = written(sample_request(payload));
    Request got;
    ASSERT_TRUE(read(request, got)) << size;
    expect_same(got, sample_request(payload));
    const Bytes response = written(sample_response(payload));
    Response answer;
    ASSERT_TRUE(read(response, answer)) << size;
    expect_same(answer, sample_response(payload));
  }
}

TEST(Message, writes_no_byte_beyond_its_size) {
  for (std::size_t size : sizes()) {
    const Bytes payload = payload_of(size);
    Bytes out(message_bytes(static_cast<std::uint32_t>(size)) + 16, std::byte{0xee});
    write_request(sample_request(payload), out.data());
    for (std::size_t i = out.size() - 16; i < out.size(); ++i) EXPECT_EQ(out[i], std::byte{0xee}) << size;
  }
}

TEST(Message, of_another_builder_is_read_too) {
  const Bytes payload = payload_of(21);
  const Request request = sample_request(payload);
  const auto header = header_of(request);
  const Bytes foreign[] = {
      // Without ForceDefaults.
      built([&](auto& b) { return wire::CreateRequest(b, &header, vector_of(b, request)); }, false),
      // Fields added in another order.
      built([&](auto& b) {
        const auto vector = vector_of(b, request);
        wire::RequestBuilder table(b);
        table.add_payload(vector);
        table.add_header(&header);
        return table.Finish();
      }),
      // With something else in front, as a builder with a shared string would leave it.
      built([&](auto& b) {
        b.CreateString("something that nobody refers to");
        const auto vector = vector_of(b, request);
        b.CreateString("and more");
        return wire::CreateRequest(b, &header, vector);
      }),
  };
  for (const Bytes& bytes : foreign) {
    Request got;
    ASSERT_TRUE(read(bytes, got));
    expect_same(got, request);
  }
  // No payload at all.
  const Bytes bare = built([&](auto& b) { return wire::CreateRequest(b, &header); }, false);
  Request got;
  got.payload = payload;
  ASSERT_TRUE(read(bare, got));
  EXPECT_TRUE(got.payload.empty());

  const Response response = sample_response(payload);
  const auto response_header = header_of(response);
  const Bytes answer = built([&](auto& b) {
    const auto vector = vector_of(b, response);
    wire::ResponseBuilder table(b);
    table.add_payload(vector);
    table.add_header(&response_header);
    return table.Finish();
  }, false);
  Response got_response;
  ASSERT_TRUE(read(answer, got_response));
  expect_same(got_response, response);
}

TEST(Message, without_its_header_is_refused) {
  const Bytes headless = built([&](auto& b) {
    const auto start = b.StartTable();
    return flatbuffers::Offset<wire::Request>(b.EndTable(start));
  });
  Request request;
  Response response;
  EXPECT_FALSE(read(headless, request));
  EXPECT_FALSE(read(headless, response));
}

TEST(Message, with_an_enum_out_of_range_is_refused) {
  const auto refused_request = [](std::uint8_t kind) {
    const wire::RequestHeader header(1, 2, 0, 3, kind, 0);
    Request out;
    return !read(built([&](auto& b) { return wire::CreateRequest(b, &header, b.CreateVector(std::vector<std::uint8_t>{1})); }), out);
  };
  const auto refused_response = [](std::uint8_t kind, std::uint8_t status) {
    const wire::ResponseHeader header(1, 2, 0, 0, kind, status);
    Response out;
    return !read(built([&](auto& b) { return wire::CreateResponse(b, &header, b.CreateVector(std::vector<std::uint8_t>{1})); }), out);
  };
  const auto refused_note = [](std::uint8_t kind, std::uint8_t topic) {
    const wire::NoteHeader header(1, 2, 0, 0, kind, topic);
    Note out;
    const Bytes bytes = built([&](auto& b) { return wire::CreateNote(b, &header, b.CreateVector(std::vector<std::uint8_t>{1})); });
    return !read_note(bytes, out);
  };
  for (unsigned value = 0; value < 256; ++value) {
    const auto number = static_cast<std::uint8_t>(value);
    EXPECT_EQ(refused_request(number), value > 6) << value;
    EXPECT_EQ(refused_response(number, 0), value > 6) << value;
    EXPECT_EQ(refused_response(0, number), value > kStatusMax) << value;
    EXPECT_EQ(refused_note(number, 0), value > 6) << value;
    EXPECT_EQ(refused_note(0, number), value > 3) << value;
  }
}

TEST(Message, a_note_is_what_the_generated_code_makes_and_reads) {
  for (std::size_t size = 0; size < 70; ++size) {
    const Bytes payload = payload_of(size);
    const Note note{.call_id = 0x0123'4567'89ab'cdef, .number = 0x1122'3344'5566'7788, .kind = Kind::value, .topic = Topic::reply, .payload = payload};
    Bytes bytes(message_bytes(static_cast<std::uint32_t>(size)), std::byte{0xee});
    write_note(note, bytes.data());
    flatbuffers::Verifier verifier(raw(bytes), bytes.size());
    ASSERT_TRUE(wire::VerifyNoteBuffer(verifier)) << size;
    const wire::Note* table = wire::GetNote(bytes.data());
    EXPECT_EQ(table->header()->call_id(), note.call_id);
    EXPECT_EQ(table->header()->number(), note.number);
    EXPECT_EQ(table->header()->topic(), static_cast<std::uint8_t>(Topic::reply));
    ASSERT_EQ(table->payload()->size(), size);
    Note out;
    ASSERT_TRUE(read_note(bytes, out));
    EXPECT_EQ(out.call_id, note.call_id);
    EXPECT_EQ(out.number, note.number);
    EXPECT_EQ(out.kind, Kind::value);
    EXPECT_EQ(out.topic, Topic::reply);
    EXPECT_TRUE(std::equal(out.payload.begin(), out.payload.end(), payload.begin(), payload.end()));
  }
}

TEST(Message, a_hint_tells_the_response_and_whether_more_follows) {
  for (const Status status : {Status::ok, Status::failed, Status::skipped, Status::expired, Status::chunk, Status::question, Status::packed}) {
    const Response response{.call_id = 77, .number = 3, .status = status};
    const Bytes bytes = written(response);
    const ResponseHint hint = hint_of_response(bytes.data());
    EXPECT_EQ(hint.call_id, 77u);
    EXPECT_EQ(hint.status, status);
    EXPECT_EQ(is_final(hint.status), status != Status::chunk && status != Status::question && status != Status::packed);
    Response out;
    ASSERT_TRUE(read_response(bytes, out));
    EXPECT_EQ(out.number, 3u);
  }
}

TEST(Message, leaves_nothing_of_what_it_is_read_into) {
  const Bytes old(64);
  Response response{.call_id = 1, .service_ns = 2, .number = 3, .flags = kResponseInArena, .kind = Kind::tensor, .status = Status::failed, .payload = old, .header = old};
  ASSERT_TRUE(read_response(written(Response{}), response));
  EXPECT_TRUE(response.call_id == 0 && response.service_ns == 0 && response.number == 0 && response.flags == 0);
  EXPECT_TRUE(response.kind == Kind::none && response.status == Status::ok && response.payload.empty() && response.header.empty());
  Request request{.call_id = 1, .deadline_ns = 2, .method = 3, .kind = Kind::tensor, .flags = 4, .payload = old};
  ASSERT_TRUE(read_request(written(Request{}), request));
  EXPECT_TRUE(request.call_id == 0 && request.deadline_ns == 0 && request.method == 0 && request.kind == Kind::none && request.flags == 0 && request.payload.empty());
}

// The bytes in a heap block of exactly their size, where AddressSanitizer sees a read outside; what is read must lie inside.
template <typename Message>
bool read_exactly(const Bytes& bytes) {
  const auto block = std::make_unique<std::byte[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), block.get());
  Message out;
  const std::span<const std::byte> message(block.get(), bytes.size());
  bool good;
  if constexpr (std::is_same_v<Message, Request>) {
    good = read_request(message, out);
  } else {
    good = read_response(message, out);
  }
  if (good && !out.payload.empty()) {
    EXPECT_GE(out.payload.data(), message.data());
    EXPECT_LE(out.payload.data() + out.payload.size(), message.data() + message.size());
    volatile unsigned sum = 0;
    for (std::byte byte : out.payload) sum = sum + static_cast<unsigned>(byte);
  }
  return good;
}

template <typename Message>
class HostileMessage : public testing::Test {
 protected:
  static Message sample(const Bytes& payload) {
    if constexpr (std::is_same_v<Message, Request>) {
      return sample_request(payload);
    } else {
      return sample_response(payload);
    }
  }
  // The house's own form and a foreign one, which takes the way through flatbuffers::Verifier.
  static std::vector<Bytes> forms(const Bytes& payload) {
    const auto message = sample(payload);
    std::vector<Bytes> forms{written(message)};
    const auto header = header_of(message);
    forms.push_back(built([&](auto& b) {
      const auto vector = vector_of(b, message);
      if constexpr (std::is_same_v<Message, Request>) {
        wire::RequestBuilder table(b);
        table.add_payload(vector), table.add_header(&header);
        return table.Finish();
      } else {
        wire::ResponseBuilder table(b);
        table.add_payload(vector), table.add_header(&header);
        return table.Finish();
      }
    }, false));
    return forms;
  }
};
using Messages = testing::Types<Request, Response>;
TYPED_TEST_SUITE(HostileMessage, Messages);

TYPED_TEST(HostileMessage, cut_anywhere_is_never_read_outside) {
  for (std::size_t size : {0u, 1u, 7u, 8u, 64u}) {
    for (const Bytes& whole : this->forms(payload_of(size))) {
      for (std::size_t length = 0; length < whole.size(); ++length) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
        const bool good = read_exactly<TypeParam>(cut);
        EXPECT_FALSE(good && length < kEnvelopeBytes) << length;
      }
    }
  }
}

TYPED_TEST(HostileMessage, with_any_one_byte_changed_is_never_read_outside) {
  for (std::size_t size : {0u, 5u, 16u}) {
    for (const Bytes& whole : this->forms(payload_of(size))) {
      for (std::size_t at = 0; at < whole.size(); ++at) {
        for (unsigned value = 0; value < 256; ++value) {
          Bytes changed = whole;
          changed[at] = static_cast<std::byte>(value);
          read_exactly<TypeParam>(changed);
        }
      }
    }
  }
}

TYPED_TEST(HostileMessage, with_any_word_of_its_envelope_replaced_is_never_read_outside) {
  constexpr std::uint32_t kValues[] = {0,          1,          4,          8,          12,         40,        44,        48,
                                       0x7fff'ffff, 0x8000'0000, 0xffff'fff0, 0xffff'fffc, 0xffff'ffff, 0x0001'0000, 0x0008'0020};
  for (const Bytes& whole : this->forms(payload_of(16))) {
    for (std::size_t at = 0; at + 4 <= whole.size(); at += 2) {
      for (std::uint32_t value : kValues) {
        Bytes changed = whole;
        std::memcpy(changed.data() + at, &value, sizeof value);
        read_exactly<TypeParam>(changed);
      }
    }
  }
}

TYPED_TEST(HostileMessage, of_random_bytes_is_never_read_outside) {
  std::mt19937_64 random(20240501);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(random() % 160);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 64);
    read_exactly<TypeParam>(bytes);
  }
}

TEST(Message, with_a_length_beyond_its_end_is_refused) {
  for (std::uint32_t size : {0u, 5u, 8u, 100u}) {
    const Bytes payload = payload_of(size);
    Bytes message = written(sample_request(payload));
    const std::uint32_t room = static_cast<std::uint32_t>(message.size()) - kEnvelopeBytes;
    for (std::uint32_t length : {room + 1, room + 8, 0x7fff'ffffu, 0x8000'0000u, 0xffff'ffffu}) {
      std::memcpy(message.data() + kEnvelopeBytes - 4, &length, sizeof length);
      EXPECT_FALSE(read_exactly<Request>(message)) << size << " said to be " << length;
    }
  }
}

}  // namespace
}  // namespace samovar::ipc
