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

// In the place of a time: say that it is full.
constexpr std::int64_t kJustLook = -1;

}  // namespace

// GIL: held; released while the lane is full.
void Responder::answer(RunningCall& call, Ref result) {
  for (;;) {
    Encoded encoded;
    if (!encoder_.encode(result.get(), encoded)) return fail_to_encode(call);
    const std::size_t size = encoded.size();
    const bool large = call.argument.shown() || size > end_.payload_bytes_max();
    const bool may_pack = !large && call.in_batch != RunningCall::InBatch::no && packed_.may_take(size);
    if (may_pack && packed_.has_room_for(size)) return pack(call, encoded);
    if (!packed_.empty()) [[unlikely]] {
      if (!send_packed()) return;
      continue;  // the GIL may have been released: as below
    }
    if (large) [[unlikely]] return answer_large(call, std::move(result), encoded);
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
// may hold the last view of the argument. `encoded` is what it is just now. GIL: held; released while lane or arena is full.
void Responder::answer_large(RunningCall& call, Ref result, Encoded encoded) {
  const bool may_wait = (call.request.flags & ipc::kRequestMayWait) != 0;
  const std::int64_t until_ns = !may_wait ? 0 : call.request.deadline_ns != 0 ? call.request.deadline_ns : ipc::kNever;
  for (;;) {
    ipc::Response response{.call_id = call.request.call_id, .service_ns = call.service_ns, .kind = encoded.kind};
    switch (lay_out(call, encoded, until_ns, "the result of ", response)) {
      case Room::found: break;
      case Room::look_again:
        encoded = {};
        if (!encoder_.encode(result.get(), encoded)) return fail_to_encode(call);
        continue;
      case Room::none: return fail(call, std::move(no_room_));
      case Room::ending: return;
    }
    encoder_.release();
    tensors_.blocks.take_back(std::move(result));
    return respond(call, response);
  }
}

// Puts what does not go into the record as it is where it is sent from, and fills `response`: its payload is then private. What else
// is as find_room(). A chunk is always copied: whoever has yielded it may write it anew.
Responder::Room Responder::lay_out(const RunningCall& call, const Encoded& encoded, std::int64_t until_ns, const char* what, ipc::Response& response) {
  const bool by_reference = response.status != ipc::Status::chunk;
  ipc::BlockReference block{.offset = 0, .size = encoded.size()};
  if (const auto in_place = by_reference ? in_argument(call, encoded) : std::nullopt) {
    block = *in_place;
    response.flags = ipc::kResponseInArgument;
  } else if (const auto made_there = by_reference ? in_result_block(encoded) : std::nullopt) {
    block = *made_there;
    response.flags = ipc::kResponseInArena;
  } else if (encoded.size() <= end_.payload_bytes_max()) {
    private_result_.assign(encoded.bytes.begin(), encoded.bytes.end());
    response.payload = private_result_;
    return Room::found;
  } else {
    if (header_fits(encoded)) block.size = encoded.tensors->elements_bytes();
    if (const Room room = find_room(block, until_ns, what + call.method->described.name); room != Room::found) return room;
    std::byte* const out = end_.response_arena().at(block.offset);
    header_fits(encoded) ? encoded.tensors->write_elements(out) : encoded.write(out);
    response.flags = ipc::kResponseInArena;
  }
  // The header of tensors beside the reference, where the host looks anyway.
  private_result_.resize(sizeof block + (header_fits(encoded) ? encoded.tensors->header_bytes() : 0));
  std::memcpy(private_result_.data(), &block, sizeof block);
  if (header_fits(encoded)) encoded.tensors->write_header(private_result_.data() + sizeof block);
  response.payload = private_result_;
  return Room::found;
}

Responder::Sent Responder::send_chunk(const RunningCall& call, PyObject* chunk, WhenFull when_full) {
  for (;;) {
    Encoded encoded;
    if (!encoder_.encode(chunk, encoded)) return Sent::failed;
    ipc::Response response{.call_id = call.request.call_id, .kind = encoded.kind, .status = ipc::Status::chunk, .payload = encoded.bytes};
    if (encoded.size() > end_.payload_bytes_max()) [[unlikely]] {
      switch (lay_out(call, encoded, when_full == WhenFull::wait ? ipc::in(kLookNs) : kJustLook, "a chunk of ", response)) {
        case Room::found: break;
        case Room::look_again: return Sent::full;
        case Room::none: return Sent::failed;
        case Room::ending: return Sent::ending;
      }
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
    encoder_.release();
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

Failure Responder::take_chunk_failure() { return PyErr_Occurred() != nullptr ? take_failure(code_of_encoding()) : std::move(no_room_); }

// Whether these are tensors whose header can travel in the record.
bool Responder::header_fits(const Encoded& encoded) const {
  return encoded.tensors != nullptr && ipc::kBlockReferenceBytes + encoded.tensors->header_bytes() <= end_.payload_bytes_max();
}

// Where a result lies in the request arena, if it is larger than a record and part of the running call's argument.
std::optional<ipc::BlockReference> Responder::in_argument(const RunningCall& call, const Encoded& encoded) const {
  const std::span<const std::byte> argument = call.argument.payload();
  if (argument.empty()) return std::nullopt;
  const ipc::BlockReference block = ipc::read_located(call.request.kind, call.request.payload)->block;
  if (encoded.tensors != nullptr) return header_fits(encoded) && encoded.tensors->settle_in(argument) ? std::optional(block) : std::nullopt;
  const std::span<const std::byte> bytes = encoded.bytes;
  if (bytes.size() <= end_.payload_bytes_max() || bytes.data() < argument.data() ||
      bytes.data() + bytes.size() > argument.data() + argument.size()) {
    return std::nullopt;
  }
  return ipc::BlockReference{block.offset + static_cast<std::uint64_t>(bytes.data() - argument.data()), bytes.size()};
}

// Where a result lies in the response arena, if it was made there by ctx.empty(); then the block is the host's from here on, too.
std::optional<ipc::BlockReference> Responder::in_result_block(const Encoded& encoded) {
  if (!header_fits(encoded)) return std::nullopt;
  const auto block = tensors_.blocks.find(encoded.tensors->first());
  if (!block || !encoded.tensors->settle_in({end_.response_arena().at(block->offset), block->size})) return std::nullopt;
  tensors_.blocks.send(*block);
  return block;
}

// A block of the response arena for block.size bytes, of `what`. look_again: the GIL was released, what is to be sent may have changed;
// or is full and `until_ns` is kJustLook; none: no_room_ says why. GIL: held; released while the arena is full, until `until_ns`; 0: not at all.
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
  if (until_ns == kJustLook) return Room::look_again;
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

// Requires: encode() has failed.
ipc::FailureCode Responder::code_of_encoding() {
  return PyErr_ExceptionMatches(PyExc_MemoryError) != 0 ? ipc::FailureCode::exception : ipc::FailureCode::result_type;
}

// GIL: held. Requires: encode() has failed.
void Responder::fail_to_encode(RunningCall& call) { fail_with_exception(call, code_of_encoding()); }

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
  encoder_.release();
  if (!send_packed()) return;
  if (call.argument.shown() && call.argument.hide(tensors_.numpy)) response.flags |= ipc::kResponseArgumentEscaped;
  std::byte* out = claim(static_cast<std::uint32_t>(response.payload.size()));
  if (out == nullptr) return;
  ipc::write_response(response, out);
  finish(call);
}

void Responder::finish(const RunningCall& call) {
  if (!call.passed) return end_.finish();
  if (call.in_batch == RunningCall::InBatch::last) end_.give_back();
  end_.publish();
}

// GIL: held; released while the lane is full, but not before `encoded` has been copied.
void Responder::pack(const RunningCall& call, const Encoded& encoded) {
  packed_.add(call.request.call_id, call.service_ns, encoded.kind, encoded.bytes);
  const bool last = call.in_batch == RunningCall::InBatch::last;
  if (last) end_.give_back();
  if (last || packed_.full()) send_packed();
}

// Small answers to calls of a batch wait for those that follow, at most until the batch's last one, and for nothing else: not for room in
// an arena, nor for the user's code. This sends them now. False: the host wants the worker to end. GIL: held; released while the lane is full.
bool Responder::send_packed() {
  if (packed_.empty()) return true;
  const ipc::Response record = packed_.record();
  std::byte* out = claim(static_cast<std::uint32_t>(record.payload.size()));
  if (out != nullptr) {
    ipc::write_response(record, out);
    end_.publish();
  }
  packed_.clear();
  return out != nullptr;
}

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
  if (!send_packed()) return PyErr_Clear();  // those do not wait for the words of an exception
  fail(call, take_failure(code));
}

Failure Responder::take_failure(ipc::FailureCode code) {
  Failure failure{.code = code};
  try {
    failure = take_exception(describe_.get(), code);
  } catch (const std::bad_alloc&) {
    PyErr_Clear();
  }
  return failure;
}

}  // namespace samovar::python
