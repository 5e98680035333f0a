// What a peer's lane holds, and what follows from it: the envelope of a response (host), request or note (worker), then its
// payload as an error or a value. Any bytes are refused, or lie within the record and mean what the generated code says.
#include <samovar_wire/error_generated.h>
#include <samovar_wire/note_generated.h>
#include <samovar_wire/request_generated.h>
#include <samovar_wire/response_generated.h>

#include <span>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/values/value_codec.h"
#include "ipc/layout.h"
#include "ipc/message.h"
#include "ipc/packed.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/value_seeds.h"

namespace samovar::fuzz {
namespace {

template <typename Message, typename Write>
Input written(const Message& message, Write write) {
  std::vector<std::byte> out(ipc::message_bytes(static_cast<std::uint32_t>(message.payload.size())));
  write(message, out.data());
  return input_of(out);
}

Input error_payload(std::uint16_t code) {
  flatbuffers::FlatBufferBuilder builder;
  wire::FinishErrorBuffer(builder, wire::CreateErrorDirect(builder, code, "ValueError", "negative price", "Traceback\n"));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

// The same table without the shortcut for equal envelopes: another order, defaults left out.
Input foreign_response() {
  flatbuffers::FlatBufferBuilder builder;
  const wire::ResponseHeader header(7, 8, 0, 0, 2, 0);
  const auto payload = builder.CreateVector(std::vector<std::uint8_t>{'h', 'i'});
  wire::FinishResponseBuffer(builder, wire::CreateResponse(builder, &header, payload));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

void expect_within(std::span<const std::byte> message, std::span<const std::byte> payload) {
  expect(payload.empty() ||
             (payload.data() >= message.data() && payload.data() + payload.size() <= message.data() + message.size()),
         "the payload lies within the record");
}

}  // namespace

std::vector<Input> seeds() {
  std::vector<Input> inputs;
  const auto respond = [&inputs](ipc::Kind kind, ipc::Status status, const Input& payload) {
    inputs.push_back(written(
        ipc::Response{
            .call_id = 1, .service_ns = 2, .kind = kind, .status = status, .payload = std::as_bytes(std::span(payload))},
        ipc::write_response));
  };
  respond(ipc::Kind::none, ipc::Status::ok, {});
  respond(ipc::Kind::none, ipc::Status::skipped, {});
  respond(ipc::Kind::bytes, ipc::Status::ok, Input(64, 0xaa));
  respond(ipc::Kind::text, ipc::Status::ok, {'h', 'e', 'l', 'l', 'o'});
  for (std::uint16_t code = 0; code <= ipc::kFailureCodeMax + 1; ++code) {
    respond(ipc::Kind::none, ipc::Status::failed, error_payload(code));
  }
  for (const Input& value : value_seeds()) respond(ipc::Kind::value, ipc::Status::ok, value);
  inputs.push_back(foreign_response());
  const Input arguments = value_seeds().back();
  inputs.push_back(written(ipc::Request{.call_id = 1,
                                        .deadline_ns = 2,
                                        .method = 3,
                                        .kind = ipc::Kind::arguments,
                                        .flags = ipc::kRequestTimed,
                                        .payload = std::as_bytes(std::span(arguments))},
                           ipc::write_request));
  ipc::PackedRequests requests(4096);
  ipc::PackedResponses responses(4096);
  for (std::uint64_t id : {4, 5, 9}) {
    const auto payload = std::as_bytes(std::span(arguments));
    requests.add({.call_id = id, .deadline_ns = static_cast<std::int64_t>(id / 2), .method = 3, .kind = ipc::Kind::arguments, .payload = payload});
    responses.add(id, 1, ipc::Kind::value, payload);
  }
  inputs.push_back(written(requests.record(ipc::kRequestRevocable), ipc::write_request));
  inputs.push_back(written(responses.record(), ipc::write_response));
  inputs.push_back(written(ipc::Note{.call_id = 1,
                                     .number = 2,
                                     .kind = ipc::Kind::value,
                                     .topic = ipc::Topic::reply,
                                     .payload = std::as_bytes(std::span(arguments))},
                           ipc::write_note));
  return inputs;
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar;
  using fuzz::expect;
  const auto message = std::as_bytes(std::span(data, size));

  ipc::Response response;
  if (ipc::read_response(message, response)) {
    flatbuffers::Verifier verifier(data, size);
    expect(wire::VerifyResponseBuffer(verifier), "a response that is believed verifies");
    const wire::Response* table = wire::GetResponse(data);
    expect(table->header()->call_id() == response.call_id && table->header()->service_ns() == response.service_ns &&
               table->header()->flags() == response.flags &&
               table->header()->kind() == static_cast<std::uint8_t>(response.kind) &&
               table->header()->status() == static_cast<std::uint8_t>(response.status),
           "its header is what the generated code reads");
    fuzz::expect_within(message, response.payload);
    // Once where it lies, for its alignment, and once as a copy of its size, for its end.
    const std::vector<std::byte> copy(response.payload.begin(), response.payload.end());
    if (response.status == ipc::Status::packed) {
      std::span<const std::byte> rest = copy;
      while (const auto item = ipc::take_item(rest)) {
        fuzz::expect_within(copy, item->payload);
        std::byte words[ipc::kPackedPayloadMax];
        ipc::copy_words(words, item->payload);
      }
    }
    if (response.status == ipc::Status::failed) {
      const Error error = core::method_failed("method", response.payload);
      expect(!error.message.empty(), "a failure has a message");
      expect(error.to_string() == core::method_failed("method", copy).to_string(),
             "it does not depend on what lies beside it");
    } else if (response.kind == ipc::Kind::value) {
      const auto value = core::decode_value(response.payload);
      const auto of_copy = core::decode_value(copy);
      expect(value.has_value() == of_copy.has_value(), "a value does not depend on what lies beside it");
      if (value) expect(value->to_string() == of_copy->to_string(), "nor does what it holds");
    }
  }

  ipc::Request request;
  if (ipc::read_request(message, request)) {
    flatbuffers::Verifier verifier(data, size);
    expect(wire::VerifyRequestBuffer(verifier), "a request that is believed verifies");
    fuzz::expect_within(message, request.payload);
    const std::uint32_t packed = (request.flags & ipc::kRequestPacked) != 0 ? ipc::PackedReader::count(request) : 0;
    if (packed != 0) {
      ipc::PackedReader requests(request);
      for (std::uint32_t i = 0; i < packed; ++i) {
        ipc::Request one;
        expect(requests.has_more(), "there are as many as were counted");
        (void)ipc::is_revoked(*requests.next(one));
        fuzz::expect_within(request.payload, one.payload);
        expect(one.method == request.method && static_cast<std::uint8_t>(one.kind) <= ipc::kKindMax, "each is one");
      }
      expect(!requests.has_more(), "and no more");
    }
  }

  ipc::Note note;
  if (ipc::read_note(message, note)) {
    flatbuffers::Verifier verifier(data, size);
    expect(wire::VerifyNoteBuffer(verifier), "a note that is believed verifies");
    fuzz::expect_within(message, note.payload);
  }
  return 0;
}
