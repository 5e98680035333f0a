// RunningCall: what the worker holds of a call, from its start to its response.
//
// Threads: the loop's. Requires the GIL.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ipc/message.h"
#include "ipc/tensor.h"
#include "python_ext/native/argument_view.h"
#include "python_ext/native/method.h"

namespace samovar::python {

struct RunningCall {
  explicit RunningCall(ArgumentViews& views) : argument(views) {}

  // `request` is another one. It is filled in place: a copy would be loaded in other pieces than it was stored in, and wait for that.
  void begin() {
    method = nullptr;
    service_ns = 0;
    failure_code = ipc::FailureCode::exception;
  }

  // What is left of the request's payload in its record once that is given back: where the payload lies in the arena.
  void keep_reference() {
    const bool in_arena = (request.flags & ipc::kRequestInArena) != 0;
    if (in_arena) std::memcpy(reference.data(), request.payload.data(), reference.size());
    request.payload = in_arena ? std::span<const std::byte>(reference) : std::span<const std::byte>();
  }

  ipc::Request request;          // its payload lies in the lane until the record is given back
  const Method* method = nullptr;
  ArgumentView argument;         // where that lies in the request arena
  ipc::TensorHeader tensors;     // of the argument, where it is tensors
  std::uint64_t service_ns = 0;  // in the handler, where the request asks for it
  ipc::FailureCode failure_code = ipc::FailureCode::exception;  // what an exception means from here on
  bool passed = false;           // WorkerEnd::pass() has moved on behind its request
  std::array<std::byte, ipc::kBlockReferenceBytes> reference{};
  enum class InBatch : std::uint8_t { no, followed, last } in_batch = InBatch::no;  // the last one's answer gives all records back
};

}  // namespace samovar::python
