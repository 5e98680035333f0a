// Responder: answers calls: with what their handler has returned, or with why there is nothing.
// Streams: with what it yields, too.
//
// Threads: the interpreter's main thread. The GIL is held throughout, but for the waits named in claim() and find_room(). Runs user
// code: what a result's end and the words of an exception take.
// Invariant: a call that is given to answer() or fail() is answered once, unless the host wants the worker to end.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "ipc/packed.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/results.h"
#include "python_ext/native/running_call.h"

namespace samovar::python {

class Responder {
 public:
  // Requires: `end` and `tensors` outlive this. `describe`: see take_exception().
  Responder(ipc::WorkerEnd& end, PyObject* describe, Tensors& tensors)
      : end_(end), describe_(Ref::borrow(describe)), tensors_(tensors), encoder_(tensors, end.payload_bytes_max()), packed_(end.payload_bytes_max()) {}

  // With its result. GIL: held; released while lane or arena is full.
  void answer(RunningCall& call, Ref result);

  // A part of an answer: what the handler has yielded. full: the response arena has no room, and had none for a moment; try again while
  // somebody waits. failed: take_chunk_failure() says why. GIL: held; released while the lane is full, and, if it is to wait, the arena.
  enum class Sent { yes, full, failed, ending };
  enum class WhenFull { wait, tell };
  Sent send_chunk(const RunningCall& call, PyObject* chunk, WhenFull when_full = WhenFull::wait);
  Failure take_chunk_failure();

  // Publishes what is not the call's answer. False: the host wants the worker to end. GIL: held; released while the lane is full.
  bool send(const ipc::Response& response);

  // Without one. GIL: held; released while the lane is full. with_exception() takes the one that is set, and runs user code.
  void fail(RunningCall& call, Failure failure);
  void fail_with_exception(RunningCall& call, ipc::FailureCode code);

  // What fail_with_exception() would say, for several calls. GIL: held; runs user code, which may drop it.
  Failure take_failure(ipc::FailureCode code);

  // GIL: held; released while the lane is full. Requires: `response.payload` cannot change meanwhile; nothing of ours but
  // call.argument views the argument.
  void respond(RunningCall& call, ipc::Response response);

 private:
  // Where a result that does not fit into a record is to lie.
  enum class Room { found, none, look_again, ending };

  void answer_large(RunningCall& call, Ref result, Encoded encoded);
  bool header_fits(const Encoded& encoded) const;
  std::optional<ipc::BlockReference> in_argument(const RunningCall& call, const Encoded& encoded) const;
  std::optional<ipc::BlockReference> in_result_block(const Encoded& encoded);
  Room lay_out(const RunningCall& call, const Encoded& encoded, std::int64_t until_ns, const char* what, ipc::Response& response);
  Room find_room(ipc::BlockReference& block, std::int64_t until_ns, const std::string& what);
  static ipc::FailureCode code_of_encoding();
  void fail_to_encode(RunningCall& call);
  std::byte* claim(std::uint32_t payload_bytes);
  void pack(const RunningCall& call, const Encoded& encoded);
  bool send_packed();
  void finish(const RunningCall& call);

  ipc::WorkerEnd& end_;
  Ref describe_;
  Tensors& tensors_;
  ResultEncoder encoder_;
  std::vector<std::byte> private_result_;  // reused from call to call
  ipc::PackedResponses packed_;            // of a batch, not yet sent
  Failure no_room_;  // why find_room() has found none
};

}  // namespace samovar::python
