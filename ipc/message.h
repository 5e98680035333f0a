// Message: requests, responses and notes, FlatBuffers of schemas/, written straight into a lane and read from one.
//
// With ForceDefaults every request is the same 48 bytes but for its header and the length of its payload, so an envelope is
// copied from one that a FlatBufferBuilder made (once) and patched, not built again: 6 ns instead of 60. Reading verifies:
// an envelope equal to that prefix outside the header and the length is proven by the comparison; any other FlatBuffer of the
// schema is handed to flatbuffers::Verifier. tests/protocol/message_test.cc holds both against the generated code.
//
// Threads: any. Requires: read_*() get private memory or the reader's own request lane (the host is the only writer).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/layout.h"

namespace samovar::wire {
struct RequestHeader;
struct ResponseHeader;
struct NoteHeader;
}  // namespace samovar::wire

namespace samovar::ipc {

// What a payload is. Numbers are on the wire.
enum class Kind : std::uint8_t {
  none = 0,       // no argument; the result None
  bytes = 1,      // flat bytes; a memoryview in Python
  text = 2,       // UTF-8
  value = 3,      // one FlexBuffers value, see VALUES.md
  arguments = 4,  // a FlexBuffers vector, spread to positional parameters; requests only
  tensor = 5,     // one or more tensors and their header, see TENSORS.md
  flatbuffer = 6, // a FlatBuffer of the user's own schema
};
inline constexpr std::uint8_t kKindMax = 6;

enum RequestFlag : std::uint8_t {
  kRequestTimed = 1,      // the response tells the time in the handler
  kRequestRevocable = 2,  // lies behind others: the host may take it back, so the worker's start is fenced
  kRequestInArena = 4,    // the payload is a BlockReference into the request arena
  kRequestMayWait = 8,    // a result that finds the response arena full waits until the deadline
  kRequestBatched = 16,   // the next record belongs to the same batch: it is published already, or about to be
  kRequestStream = 32,    // the answer is to be a stream; without it, is not
  kRequestPacked = 64,    // the payload is several requests of a batch, see packed.h
};

enum ResponseFlag : std::uint16_t {
  kResponseInArena = 1,          // the payload is a BlockReference into the response arena: a block to be released
  kResponseInArgument = 2,       // the payload is a BlockReference into the request arena, within the call's own argument
  kResponseArgumentEscaped = 4,  // the argument's block is still viewed; a release with the call's id will follow
};
inline constexpr std::uint16_t kResponseFlagsMax = 7;

// Where a payload lies that is not in the record.
struct BlockReference {
  std::uint64_t offset = 0;  // in its arena
  std::uint64_t size = 0;    // of the payload
};
inline constexpr std::size_t kBlockReferenceBytes = 16;
static_assert(sizeof(BlockReference) == kBlockReferenceBytes);

enum class Status : std::uint8_t {
  ok = 0,
  failed = 1,   // the payload is a nested FlatBuffer, wire::Error
  skipped = 2,  // revoked before it was started: the handler has not run
  expired = 3,  // its deadline had passed before it was started: the handler has not run
  chunk = 4,    // a part of what a stream answers: more follows
  question = 5, // the handler calls a function of the host: arguments whose first is its name. A note answers; more follows
  packed = 6,   // the payload is the answers of several calls of a batch, see packed.h
};
inline constexpr std::uint8_t kStatusMax = 6;

// Whether a response with this status is the last one of one call.
constexpr bool is_final(Status status) { return status < Status::chunk; }

// What a note is about.
enum class Topic : std::uint8_t {
  credit = 0,   // a stream may have sent `number` chunks in all
  cancel = 1,   // nobody waits for the call any more
  reply = 2,    // what the host's function has returned, to question `number`
  failure = 3,  // that it has failed: the payload is a nested FlatBuffer, wire::Error
};
inline constexpr std::uint8_t kTopicMax = 3;

// Why a call failed in a worker. Numbers are on the wire.
enum class FailureCode : std::uint16_t {
  exception = 0,         // the handler raised
  result_type = 1,       // the result cannot be encoded
  result_too_large = 2,  // the result does not fit into a record
  argument = 3,          // the payload cannot be decoded
  unknown_method = 4,    // the worker has no such method
  arena_full = 5,        // no room for the result in the response arena
};
inline constexpr std::uint16_t kFailureCodeMax = 5;

// Method 0 is answered by the worker itself, without user code: the ping before a worker is ready.
inline constexpr std::uint16_t kPingMethod = 0;

struct Request {
  std::uint64_t call_id = 0;
  std::int64_t deadline_ns = 0;  // 0: none
  std::uint16_t method = 0;
  Kind kind = Kind::none;
  std::uint8_t flags = 0;
  std::span<const std::byte> payload;
};

struct Response {
  std::uint64_t call_id = 0;
  std::uint64_t service_ns = 0;
  std::uint32_t number = 0;  // of a question, counted in its call
  std::uint16_t flags = 0;
  Kind kind = Kind::none;
  Status status = Status::ok;
  std::span<const std::byte> payload;
  std::span<const std::byte> header{};  // host: of tensors in an arena, where it came in the record
};

struct Note {
  std::uint64_t call_id = 0;
  std::uint64_t number = 0;
  Kind kind = Kind::none;
  Topic topic = Topic::credit;
  std::span<const std::byte> payload;
};

// What a response in the lane says it is, before it has been copied: by this it is decided where to copy it to. Not to be believed.
struct ResponseHint {
  std::uint64_t call_id;
  Status status;
};

// What has just been stored one half after the other, and would be loaded as one: no processor hands that on, it waits for the stores to
// leave, among them those into a lane.
inline std::span<const std::byte> loaded_in_halves(const std::span<const std::byte>& bytes) {
  const std::byte* data = bytes.data();
  std::size_t size = bytes.size();
  asm("" : "+r"(data), "+r"(size));
  return {data, size};
}

// A payload that is a BlockReference, as bytes and back. Behind one of tensors may stand their header, which so travels in the record.
// Nothing where the payload is not as long as that.
struct Located {
  BlockReference block;
  std::span<const std::byte> header;
};
inline std::span<const std::byte> as_payload(const BlockReference& block) { return std::as_bytes(std::span(&block, 1)); }
std::optional<Located> read_located(Kind kind, std::span<const std::byte> payload);

// Writes message_bytes(payload size) bytes at `out`, 8-aligned.
void write_request(const Request& request, std::byte* out);
void write_response(const Response& response, std::byte* out);
void write_note(const Note& note, std::byte* out);

// Whether `message` is a request (response, note) with every enum in range; then nothing is left of what `out` was, and
// `out.payload` points into it.
bool read_request(std::span<const std::byte> message, Request& out);
bool read_response(std::span<const std::byte> message, Response& out);
bool read_note(std::span<const std::byte> message, Note& out);

// Requires: `message` is at least kEnvelopeBytes of readable memory, which may change.
ResponseHint hint_of_response(const std::byte* message);

}  // namespace samovar::ipc
