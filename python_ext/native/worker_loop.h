// WorkerLoop: takes requests from the lane, calls the handlers, has them answered. The hot path of a worker.
//
// Threads: the interpreter's main thread. The GIL is held throughout, but for the waits named in wait(), and the responder's. Runs
// user code: handlers, what they return, what they raise.
// Invariants: (1) Every request that peek() yields is answered once, unless the process ends. (2) start() precedes the first
// look at a payload. (3) Nothing of the lane is used after finish().
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <vector>

#include "ipc/channel.h"
#include "python_ext/native/argument_view.h"
#include "python_ext/native/asker.h"
#include "python_ext/native/batch_run.h"
#include "python_ext/native/context.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/invoker.h"
#include "python_ext/native/method.h"
#include "python_ext/native/notes.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/running_call.h"
#include "python_ext/native/stream.h"
#include "python_ext/native/tensors.h"

namespace samovar::python {

enum class LoopEnd {
  stopped,  // the host asked for it
  broken,   // the host has published what is no request
  raised,   // a Python exception is set: a signal handler raised between two calls
};

class WorkerLoop {
 public:
  // Requires: `end` lives as long as the process. `describe`: see take_exception().
  WorkerLoop(ipc::WorkerEnd& end, const ipc::Hello& hello, std::vector<Method> methods, PyObject* describe, const ModuleState& state);

  // GIL: held; released while waiting. Blocks until the end.
  LoopEnd run();

 private:
  bool wait();
  void yield_to_others();
  bool alone() const;

  bool serve();  // running_'s request; false: the host has published what is no request
  bool serve_batch(const Method& method);  // which begins with that; likewise
  bool await_next(ipc::Request& out);

  // Constant after construction.
  ipc::WorkerEnd& end_;
  PyThreadState* thread_;
  PyInterpreterState* interpreter_;

  Tensors tensors_;

  // Reused from call to call.
  ArgumentViews views_;
  ContextSource contexts_;
  Responder responder_;
  Invoker invoker_;
  Notes notes_;
  BlockingAsker asker_;
  Streamer streamer_;
  RunningCall running_;
  BatchRun batch_;

  std::uint64_t payload_bytes_ = 0;  // of the last call's argument, where it lay in the arena
  std::int64_t held_since_ns_ = 0;  // coarse; while other threads exist
};

}  // namespace samovar::python
