#include "python_ext/native/responder.h"

#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "ipc/clock.h"

namespace samovar::python {
namespace {

// How long a chunk waits for room in the arena, before the stream looks whether it has been cancelled: that rings nobody who waits so.
constexpr std::int64_t kLookNs = 5'000'000;

}  // namespace

// GIL: held; released while the lane is full.
void Responder::answer(RunningCall& call, Ref result) {
  for (;;) {
    Encoded encoded;
    if (!encoder_.encode(result.get(), encoded)) return fail_to_encode(call);
    const std::size_t size = encoded.bytes.size();
    if (call.argument.shown() || size > end_.payload_bytes_max()) [[unlikely]] {
      return answer_large(call, std::move(result));
    }
    if (std::byte* out = end_.try_claim(static_cast<std::uint32_t>(size))) [[likely]] {
      ipc::write_response(
          {.call_id = call.request.call_id, .service_ns = call.service_ns, .kind = encoded.kind, .payload = encoded.bytes}, out);
      return finish(call);
    }
    if (claim(static_cast<std::uint32_t>(size)) == nullptr) return;
    // The GIL was released: another thread may have written, resized or released what is to be sent. Look again.
  }
}

// Answers with a result, or to an argument, that lies in an arena. The result is let go before the response is published, for it
// may hold the last view of the argument. GIL: held; released while lane or arena is full.
void Responder::answer_large(RunningCall& call, Ref result) {
  for (;;) {
    Encoded encoded;
    if (!encoder_.encode(result.get(), encoded)) return fail_to_encode(call);
    ipc::Response response{.call_id = call.request.call_id, .service_ns = call.service_ns, .kind = encoded.kind};
    ipc::BlockReference block{.offset = 0, .size = encoded.bytes.size()};
    response.payload = ipc::as_payload(block);
    if (const auto offset = offset_in_argument(call, encoded.bytes)) {
      block.offset = *offset;
      response.flags = ipc::kResponseInArgument;
    } else if (encoded.bytes.size() <= end_.payload_bytes_max()) {
      private_result_.assign(encoded.bytes.begin(), encoded.bytes.end());
      response.payload = private_result_;
    } else {
      const bool may_wait = (call.request.flags & ipc::kRequestMayWait) != 0;
      const std::int64_t until_ns = !may_wait ? 0 : call.request.deadline_ns != 0 ? call.request.deadline_ns : ipc::kNever;
      switch (find_room(block, until_ns, "the result of " + call.method->described.name)) {
        case Room::found: break;
        case Room::look_again: continue;
        case Room::none: return fail(call, std::move(no_room_));
        case Room::ending: return;
      }
      std::memcpy(end_.response_arena().at(block.offset), encoded.bytes.data(), encoded.bytes.size());
      response.flags = ipc::kResponseInArena;
    }
    result.reset();
    return respond(call, response);
  }
}

Responder::Sent Responder::send_chunk(const RunningCall& call, PyObject* chunk) {
  for (;;) {
    Encoded encoded;
    if (!encoder_.encode(chunk, encoded)) return Sent::failed;
    ipc::Response response{.call_id = call.request.call_id, .kind = encoded.kind, .status = ipc::Status::chunk, .payload = encoded.bytes};
    ipc::BlockReference block{.offset = 0, .size = encoded.bytes.size()};
    if (block.size > end_.payload_bytes_max()) [[unlikely]] {
      switch (find_room(block, ipc::in(kLookNs), "a chunk of " + call.method->described.name)) {
        case Room::found: break;
        case Room::look_again: return Sent::full;
        case Room::none: return Sent::failed;
        case Room::ending: return Sent::ending;
      }
      std::memcpy(end_.response_arena().at(block.offset), encoded.bytes.data(), encoded.bytes.size());
      response.payload = ipc::as_payload(block);
      response.flags = ipc::kResponseInArena;
    }
    const auto size = static_cast<std::uint32_t>(response.payload.size());
    std::byte* out = end_.try_claim(size);
    if (out == nullptr) [[unlikely]] {
      out = claim(size);
      if (out == nullptr) return Sent::ending;
      // The GIL was released: another thread may have written, resized or released what is to be sent. A block is ours.
      if (response.flags == 0) continue;
    }
    ipc::write_response(response, out);
    end_.publish();
    return Sent::yes;
  }
}

bool Responder::send(const ipc::Response& response) {
  std::byte* out = claim(static_cast<std::uint32_t>(response.payload.size()));
  if (out == nullptr) return false;
  ipc::write_response(response, out);
  end_.publish();
  return true;
}

void Responder::fail_chunk(RunningCall& call) { PyErr_Occurred() != nullptr ? fail_to_encode(call) : fail(call, std::move(no_room_)); }

// Where `bytes` lie in the request arena, if they are larger than a record and part of the running call's argument.
std::optional<std::uint64_t> Responder::offset_in_argument(const RunningCall& call, std::span<const std::byte> bytes) const {
  const std::span<const std::byte> argument = call.argument.payload();
  if (bytes.size() <= end_.payload_bytes_max() || bytes.data() < argument.data() ||
      bytes.data() + bytes.size() > argument.data() + argument.size()) {
    return std::nullopt;
  }
  return ipc::read_block_reference(call.request.payload)->offset + static_cast<std::uint64_t>(bytes.data() - argument.data());
}

// A block of the response arena for block.size bytes, of `what`. look_again: the GIL was released, what is to be sent may have changed;
// none: no_room_ says why. GIL: held; released while the arena is full, until `until_ns`; 0: not at all.
Responder::Room Responder::find_room(ipc::BlockReference& block, std::int64_t until_ns, const std::string& what) {
  const ipc::Arena& arena = end_.response_arena();
  const auto size = [&] { return what + " is " + std::to_string(block.size) + " bytes"; };
  if (block.size > arena.bytes_total()) {
    no_room_ = {ipc::FailureCode::result_too_large,
                {},
                size() + ", and the worker's response arena (response_arena_bytes) has " + std::to_string(arena.bytes_total()) +
                    ": return less, or start the pool with a larger one",
                {}};
    return Room::none;
  }
  const auto allocated = end_.allocate_block(block.size);
  if (!allocated) {
    no_room_ = {ipc::FailureCode::arena_full, {}, size() + ", and the system has no memory for it: " + allocated.error().to_string(), {}};
    return Room::none;
  }
  if (*allocated) {
    block.offset = **allocated;
    return Room::found;
  }
  if (until_ns != 0 && !ipc::has_passed(until_ns)) {
    PyThreadState* thread = PyEval_SaveThread();
    end_.wait_for_release(until_ns);
    PyEval_RestoreThread(thread);
    return end_.stopping() ? Room::ending : Room::look_again;
  }
  no_room_ = {ipc::FailureCode::arena_full,
              {},
              size() + ", and the worker's response arena is full: of " + std::to_string(arena.bytes_total()) +
                  " bytes (response_arena_bytes) " + std::to_string(arena.bytes_in_use()) +
                  " are in use by replies that the host still holds, and the longest free block has " +
                  std::to_string(arena.longest_free_bytes()) + "; drop replies, raise it, or pass WhenFull::wait",
              {}};
  return Room::none;
}

// GIL: held. Requires: encode() has failed.
void Responder::fail_to_encode(RunningCall& call) {
  const bool memory = PyErr_ExceptionMatches(PyExc_MemoryError) != 0;
  fail_with_exception(call, memory ? ipc::FailureCode::exception : ipc::FailureCode::result_type);
}

// Room for a response of that size, or null: the host wants the worker to end and takes no more responses.
// GIL: held; released while the lane is full.
std::byte* Responder::claim(std::uint32_t payload_bytes) {
  std::byte* out = end_.try_claim(payload_bytes);
  while (out == nullptr) {
    PyThreadState* thread = PyEval_SaveThread();
    end_.wait_for_room(payload_bytes);
    PyEval_RestoreThread(thread);
    out = end_.try_claim(payload_bytes);
    if (out == nullptr && end_.stopping()) break;
  }
  return out;
}

void Responder::respond(RunningCall& call, ipc::Response response) {
  if (call.argument.shown() && call.argument.hide()) response.flags |= ipc::kResponseArgumentEscaped;
  std::byte* out = claim(static_cast<std::uint32_t>(response.payload.size()));
  if (out == nullptr) return;
  ipc::write_response(response, out);
  finish(call);
}

void Responder::finish(const RunningCall& call) { call.passed ? end_.publish() : end_.finish(); }

// GIL: held; released while the lane is full.
void Responder::fail(RunningCall& call, Failure failure) {
  std::vector<std::uint8_t> bytes;
  try {
    bytes = encode_failure(std::move(failure), end_.payload_bytes_max());
  } catch (const std::bad_alloc&) {  // a failure without words is one all the same
  }
  respond(call, {.call_id = call.request.call_id,
                 .service_ns = call.service_ns,
                 .kind = ipc::Kind::bytes,
                 .status = ipc::Status::failed,
                 .payload = std::as_bytes(std::span(bytes))});
}

// GIL: held; runs user code, which may drop it; released while the lane is full.
void Responder::fail_with_exception(RunningCall& call, ipc::FailureCode code) {
  Failure failure{.code = code};
  try {
    failure = take_exception(describe_.get(), code);
  } catch (const std::bad_alloc&) {
    PyErr_Clear();
  }
  fail(call, std::move(failure));
}

}  // namespace samovar::python
