// WorkerLoop: takes requests from the lane, calls the handlers, answers. The hot path of a worker.
//
// Threads: the interpreter's main thread. The GIL is held throughout, but for the waits named in wait() and claim(). Runs
// user code: handlers, what they return, what they raise.
// Invariants: (1) Every request that peek() yields is answered once, unless the process ends. (2) start() precedes the first
// look at a payload. (3) Nothing of the lane is used after finish().
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "ipc/handshake.h"
#include "python_ext/native/argument_view.h"
#include "python_ext/native/context.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/payload_view.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/values.h"

namespace samovar::python {

struct Method {
  ipc::Method described;  // as the host is told of it
  Ref function;
  bool wants_ctx = false;
};

enum class LoopEnd {
  stopped,  // the host asked for it
  broken,   // the host has published what is no request
  raised,   // a Python exception is set: a signal handler raised between two calls
};

class WorkerLoop {
 public:
  // Requires: `end` lives as long as the process. `describe`: see take_exception().
  WorkerLoop(ipc::WorkerEnd& end, std::uint32_t worker, std::uint32_t escaped_views_max, std::vector<Method> methods,
             PyObject* describe, const ModuleState& state);

  // GIL: held; released while waiting. Blocks until the end.
  LoopEnd run();

 private:
  // What a result is on the wire. `bytes` belong to the result or to the encoder.
  struct Encoded {
    ipc::Kind kind = ipc::Kind::none;
    std::span<const std::byte> bytes;
  };

  // Where a result that does not fit into a record is to lie.
  enum class Room { found, none, look_again };

  bool wait();
  void yield_to_others();
  bool alone() const;

  void serve(const ipc::Request& request);
  Ref call(const Method& method, const ipc::Request& request);
  Ref call_with(const Method& method, PyObject* const* arguments, std::size_t count, const ipc::Request& request);
  void answer(const Method& method, const ipc::Request& request, Ref result);
  void answer_large(const Method& method, const ipc::Request& request, Ref result);
  std::optional<std::uint64_t> offset_in_argument(const ipc::Request& request, std::span<const std::byte> bytes) const;
  Room find_room(const Method& method, const ipc::Request& request, ipc::BlockReference& block);
  void fail_to_encode(const ipc::Request& request);
  bool encode(PyObject* result, Encoded& out);

  std::byte* claim(std::uint32_t payload_bytes);
  void respond(ipc::Response response);
  void fail(const ipc::Request& request, Failure failure);
  void fail_with_exception(const ipc::Request& request, ipc::FailureCode code);

  // Constant after construction.
  ipc::WorkerEnd& end_;
  std::uint32_t worker_;
  std::vector<Method> methods_;
  Ref describe_;
  Ref ctx_names_;  // ("ctx",)
  PyThreadState* thread_;
  PyInterpreterState* interpreter_;

  // Of the running call.
  std::uint64_t service_ns_ = 0;
  ipc::FailureCode failure_code_ = ipc::FailureCode::exception;

  // Reused from call to call.
  PayloadView view_;
  ArgumentView argument_;
  ContextSource contexts_;
  ValueEncoder encoder_;
  std::vector<std::byte> private_payload_;
  std::vector<std::byte> private_result_;
  std::vector<PyObject*> arguments_;

  std::int64_t held_since_ns_ = 0;  // coarse; while other threads exist
};

}  // namespace samovar::python
