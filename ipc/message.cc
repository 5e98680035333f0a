#include "ipc/message.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>

#include <samovar_wire/note_generated.h>
#include <samovar_wire/request_generated.h>
#include <samovar_wire/response_generated.h>

namespace samovar::ipc {
namespace {

constexpr std::size_t kWords = kEnvelopeBytes / sizeof(std::uint64_t);

// A header as the words that it is made of, each in a register of its own. A header that is put together in memory and copied from there is
// loaded in pieces larger than those it was stored in: no processor forwards these, so the load waits until all stores before it have left,
// among them those into a lane, whose lines the reader may have.
struct HeaderWords {
  HeaderWords(std::uint64_t first, std::uint64_t second, std::uint32_t third, std::uint16_t fourth, std::uint8_t fifth, std::uint8_t sixth)
      : words{alone(first), alone(second),
              alone(third | std::uint64_t{fourth} << 32 | std::uint64_t{fifth} << 48 | std::uint64_t{sixth} << 56)} {}

  void write(std::byte* out) const {
    for (std::size_t i = 0; i < words.size(); ++i) std::memcpy(out + i * sizeof words[i], &words[i], sizeof words[i]);
  }

  std::array<std::uint64_t, 3> words;

 private:
  // Not to be joined with its neighbours.
  static std::uint64_t alone(std::uint64_t word) {
    asm("" : "+r"(word));
    return word;
  }
};
static_assert(std::endian::native == std::endian::little, "FlatBuffers are");

// The envelope of one table, as a FlatBufferBuilder writes it for an empty payload, and where header and length stand in it.
template <typename Table, typename Header>
struct Envelope {
  std::array<std::uint64_t, kWords> prefix{};
  std::array<std::uint64_t, kWords> fixed{};  // all ones where the prefix must be equal
  std::size_t header_at = 0;
  std::size_t length_at = kEnvelopeBytes - sizeof(std::uint32_t);

  template <typename Create, typename Finish>
  Envelope(Create create, Finish finish) {
    flatbuffers::FlatBufferBuilder builder(256);
    builder.ForceDefaults(true);
    const Header header{};
    const std::uint8_t none = 0;
    finish(builder, create(builder, &header, builder.CreateVector(&none, 0)));
    if (builder.GetSize() != kEnvelopeBytes) std::abort();  // another FlatBuffers lays tables out differently
    std::memcpy(prefix.data(), builder.GetBufferPointer(), kEnvelopeBytes);

    const auto* table = flatbuffers::GetRoot<Table>(prefix.data());
    header_at = static_cast<std::size_t>(reinterpret_cast<const char*>(table->header()) - reinterpret_cast<const char*>(prefix.data()));
    std::array<char, kEnvelopeBytes> mask;
    mask.fill('\xff');
    std::memset(mask.data() + header_at, 0, sizeof(Header));
    std::memset(mask.data() + length_at, 0, sizeof(std::uint32_t));
    std::memcpy(fixed.data(), mask.data(), kEnvelopeBytes);
  }

  // Back to front: the line with the commit word, which the reader polls, is taken from it last and only once.
  [[gnu::always_inline]] void write(const HeaderWords& header, std::span<const std::byte> payload, std::byte* out) const {
    const auto length = static_cast<std::uint32_t>(payload.size());
    std::uint64_t first = 0;  // the payload's first word lies in the polled line, too
    if (length > sizeof first) {
      const std::uint64_t zero = 0;  // padding is part of the record: nothing of an older one may show
      std::memcpy(out + message_bytes(length) - sizeof zero, &zero, sizeof zero);
      std::memcpy(out + kEnvelopeBytes + sizeof first, payload.data() + sizeof first, length - sizeof first);
      std::atomic_signal_fence(std::memory_order_release);  // for the compiler: not in another order
      std::memcpy(&first, payload.data(), sizeof first);
    } else if (length != 0) {
      std::memcpy(&first, payload.data(), length);
    }
    if (length != 0) std::memcpy(out + kEnvelopeBytes, &first, sizeof first);
    std::memcpy(out, prefix.data(), kEnvelopeBytes);
    static_assert(sizeof(Header) == sizeof header.words);
    header.write(out + header_at);
    std::memcpy(out + length_at, &length, sizeof length);
  }

  bool read(std::span<const std::byte> message, Header& header, std::span<const std::byte>& payload) const {
    if (message.size() >= kEnvelopeBytes && is_canonical(message.data())) {
      std::uint32_t length;
      std::memcpy(&length, message.data() + length_at, sizeof length);
      if (length > message.size() - kEnvelopeBytes) return false;
      std::memcpy(&header, message.data() + header_at, sizeof header);
      payload = message.subspan(kEnvelopeBytes, length);
      return true;
    }
    return read_foreign(message, header, payload);
  }

 private:
  bool is_canonical(const std::byte* message) const {
    std::uint64_t differs = 0;
    for (std::size_t i = 0; i < kWords; ++i) {
      std::uint64_t word;
      std::memcpy(&word, message + i * sizeof word, sizeof word);
      differs |= (word & fixed[i]) ^ prefix[i];
    }
    return differs == 0;
  }

  static bool read_foreign(std::span<const std::byte> message, Header& header, std::span<const std::byte>& payload) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(message.data());
    flatbuffers::Verifier verifier(data, message.size());
    if (!verifier.VerifyBuffer<Table>(nullptr)) return false;
    const auto* table = flatbuffers::GetRoot<Table>(data);
    header = *table->header();
    payload = {};
    if (const auto* bytes = table->payload()) payload = std::as_bytes(std::span(bytes->data(), bytes->size()));
    return true;
  }
};

const Envelope<wire::Request, wire::RequestHeader> kRequest(wire::CreateRequest, wire::FinishRequestBuffer);
const Envelope<wire::Response, wire::ResponseHeader> kResponse(wire::CreateResponse, wire::FinishResponseBuffer);
const Envelope<wire::Note, wire::NoteHeader> kNote(wire::CreateNote, wire::FinishNoteBuffer);

}  // namespace

void write_request(const Request& request, std::byte* out) {
  const HeaderWords header(request.call_id, static_cast<std::uint64_t>(request.deadline_ns), 0, request.method,
                           static_cast<std::uint8_t>(request.kind), request.flags);
  kRequest.write(header, request.payload, out);
}

void write_response(const Response& response, std::byte* out) {
  const HeaderWords header(response.call_id, response.service_ns, response.number, response.flags, static_cast<std::uint8_t>(response.kind),
                           static_cast<std::uint8_t>(response.status));
  kResponse.write(header, response.payload, out);
}

void write_note(const Note& note, std::byte* out) {
  const HeaderWords header(note.call_id, note.number, 0, 0, static_cast<std::uint8_t>(note.kind), static_cast<std::uint8_t>(note.topic));
  kNote.write(header, note.payload, out);
}

std::optional<Located> read_located(Kind kind, std::span<const std::byte> payload) {
  if (payload.size() < kBlockReferenceBytes || (payload.size() > kBlockReferenceBytes && kind != Kind::tensor)) return std::nullopt;
  Located located;
  std::memcpy(&located.block, payload.data(), sizeof located.block);
  located.header = payload.subspan(sizeof located.block);
  return located;
}

bool read_request(std::span<const std::byte> message, Request& out) {
  wire::RequestHeader header;
  if (!kRequest.read(message, header, out.payload)) return false;
  if (header.kind() > kKindMax) return false;
  out.call_id = header.call_id();
  out.deadline_ns = header.deadline_ns();
  out.method = header.method();
  out.kind = static_cast<Kind>(header.kind());
  out.flags = header.flags();
  return true;
}

bool read_response(std::span<const std::byte> message, Response& out) {
  wire::ResponseHeader header;
  if (!kResponse.read(message, header, out.payload)) return false;
  if (header.kind() > kKindMax || header.status() > kStatusMax) return false;
  out.call_id = header.call_id();
  out.service_ns = header.service_ns();
  out.number = header.number();
  out.flags = header.flags();
  out.kind = static_cast<Kind>(header.kind());
  out.status = static_cast<Status>(header.status());
  out.header = {};
  return true;
}

bool read_note(std::span<const std::byte> message, Note& out) {
  wire::NoteHeader header;
  if (!kNote.read(message, header, out.payload)) return false;
  if (header.kind() > kKindMax || header.topic() > kTopicMax) return false;
  out.call_id = header.call_id();
  out.number = header.number();
  out.kind = static_cast<Kind>(header.kind());
  out.topic = static_cast<Topic>(header.topic());
  return true;
}

ResponseHint hint_of_response(const std::byte* message) {
  wire::ResponseHeader header;
  std::memcpy(&header, message + kResponse.header_at, sizeof header);
  return {header.call_id(), static_cast<Status>(header.status())};
}

}  // namespace samovar::ipc
