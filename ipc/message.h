// Message: requests and responses, FlatBuffers of schemas/, written straight into a lane and read from one.
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
#include <span>

#include "ipc/layout.h"

namespace samovar::wire {
struct RequestHeader;
struct ResponseHeader;
}  // namespace samovar::wire

namespace samovar::ipc {

// What a payload is. Numbers are on the wire.
enum class Kind : std::uint8_t {
  none = 0,       // no argument; the result None
  bytes = 1,      // flat bytes; a memoryview in Python
  text = 2,       // UTF-8
  value = 3,      // one FlexBuffers value, see VALUES.md
  arguments = 4,  // a FlexBuffers vector, spread to positional parameters; requests only
};
inline constexpr std::uint8_t kKindMax = 4;

enum RequestFlag : std::uint8_t {
  kRequestTimed = 1,      // the response tells the time in the handler
  kRequestRevocable = 2,  // lies behind others: the host may take it back, so the worker's start is fenced
};

enum class Status : std::uint8_t {
  ok = 0,
  failed = 1,   // the payload is a nested FlatBuffer, wire::Error
  skipped = 2,  // revoked before it was started: the handler has not run
  expired = 3,  // its deadline had passed before it was started: the handler has not run
};
inline constexpr std::uint8_t kStatusMax = 3;

// Why a call failed in a worker. Numbers are on the wire.
enum class FailureCode : std::uint16_t {
  exception = 0,         // the handler raised
  result_type = 1,       // the result cannot be encoded
  result_too_large = 2,  // the result does not fit into a record
  argument = 3,          // the payload cannot be decoded
  unknown_method = 4,    // the worker has no such method
};
inline constexpr std::uint16_t kFailureCodeMax = 4;

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
  Kind kind = Kind::none;
  Status status = Status::ok;
  std::span<const std::byte> payload;
};

// Writes message_bytes(payload size) bytes at `out`, 8-aligned.
void write_request(const Request& request, std::byte* out);
void write_response(const Response& response, std::byte* out);

// Whether `message` is a request (response) with every enum in range; `out.payload` points into it.
bool read_request(std::span<const std::byte> message, Request& out);
bool read_response(std::span<const std::byte> message, Response& out);

}  // namespace samovar::ipc
