#include "python_ext/native/worker_loop.h"

#include <utility>

#include "ipc/clock.h"
#include "python_ext/native/forked_child.h"

namespace samovar::python {
namespace {

// As long as CPython lets a thread of Python code run when others want to: sys.getswitchinterval().
constexpr std::int64_t kSwitchIntervalNs = 5'000'000;

}  // namespace

WorkerLoop::WorkerLoop(ipc::WorkerEnd& end, const ipc::Hello& hello, std::vector<Method> methods, PyObject* describe, const ModuleState& state)
    : end_(end),
      thread_(PyThreadState_Get()),
      interpreter_(PyThreadState_GetInterpreter(thread_)),
      tensors_(end, state),
      views_(end, reinterpret_cast<PyTypeObject*>(state.argument_block_type), tensors_.types.private_memory, hello.escaped_views_max),
      contexts_(reinterpret_cast<PyTypeObject*>(state.context_type)),
      responder_(end, describe, tensors_),
      invoker_(end, hello.worker, std::move(methods), tensors_, responder_),
      notes_(end, hello.stream_window),
      asker_(end, notes_, responder_),
      streamer_(end, responder_, contexts_, notes_),
      running_(views_),
      batch_(end, hello.worker, views_, contexts_, invoker_.reader(), responder_, tensors_.blocks, invoker_.ctx_names()) {}

LoopEnd WorkerLoop::run() {
  while (!end_.stopping()) {
    switch (end_.peek(running_.request)) {
      case ipc::Peek::record:
        if (!serve() || notes_.broken()) return LoopEnd::broken;
        if (!alone()) yield_to_others();
        break;
      case ipc::Peek::empty:
        if (!wait()) return LoopEnd::raised;
        break;
      case ipc::Peek::broken:
        return LoopEnd::broken;
    }
  }
  return LoopEnd::stopped;
}

// Whether no other thread of this interpreter exists, Python's or one that native code attached. New thread states are pushed
// at the head of the list, before they first ask for the GIL, and the main thread's is the oldest: so it stands at the head
// only while it is the only one. GIL: held.
bool WorkerLoop::alone() const { return PyInterpreterState_ThreadHead(interpreter_) == thread_; }

// Waits for a request or the stop word; may return early. False: a signal handler raised.
// GIL: kept while nobody else could want it, since dropping and retaking it costs 40 ns of a call; else released.
bool WorkerLoop::wait() {
  const bool was_alone = alone();
  if (was_alone && end_.spin([this] { return alone(); }, payload_bytes_)) return true;
  // The budget of a spin that nobody disturbed is used up: to sleep at once. Else spin without the GIL first.
  const bool sleep_at_once = was_alone && alone();
  bool slept = false;
  PyThreadState* thread = PyEval_SaveThread();
  if (sleep_at_once || !end_.spin([] { return true; }, payload_bytes_)) {
    end_.park();
    slept = true;
  }
  PyEval_RestoreThread(thread);
  held_since_ns_ = 0;
  return !slept || PyErr_CheckSignals() == 0;
}

// GIL: dropped and retaken where this thread has held it for long although others exist. The interpreter sees to this inside
// Python code; a lane that is never empty and handlers that are native code would starve them.
void WorkerLoop::yield_to_others() {
  const std::int64_t now_ns = ipc::coarse_now_ns();
  if (held_since_ns_ == 0) held_since_ns_ = now_ns;
  if (now_ns - held_since_ns_ < kSwitchIntervalNs) return;
  PyEval_RestoreThread(PyEval_SaveThread());
  held_since_ns_ = 0;
}

// GIL: held.
bool WorkerLoop::serve() {
  if (invoker_.has_batches()) {
    const Method* method = invoker_.method_of(running_.request);
    if (method != nullptr && method->takes_batches()) return serve_batch(*method);
  }
  if (!invoker_.begin(running_)) return true;
  Ref result = invoker_.call(running_, contexts_, end_.current_word(), asker_);
  if (is_forked_child()) [[unlikely]] end_forked_child();
  payload_bytes_ = running_.argument.payload().size();
  if (running_.method->described.stream && result) {
    streamer_.run(running_, std::move(result));
    return true;
  }
  if (running_.method->wants_ctx) contexts_.close();
  if (!result) {
    responder_.fail_with_exception(running_, running_.failure_code);
  } else {
    responder_.answer(running_, std::move(result));
  }
  return true;
}

// GIL: held; released while the host has not sent all of the batch.
bool WorkerLoop::serve_batch(const Method& method) {
  ipc::Request record = running_.request;
  batch_.begin(method);
  if (!batch_.add(record)) return false;
  while ((record.flags & ipc::kRequestBatched) != 0) {
    const bool waits = !end_.has_request();
    if (!await_next(record)) return true;  // the process ends: run() sees why
    if (waits) batch_.look_at_clock();
    if (record.method != running_.request.method || !batch_.add(record)) return false;
  }
  batch_.run();
  return true;
}

// The next request, which has been announced. False: the host wants the worker to end, or has published what is no request.
bool WorkerLoop::await_next(ipc::Request& out) {
  for (;;) {
    const ipc::Peek peek = end_.peek(out);
    if (peek != ipc::Peek::empty) return peek == ipc::Peek::record;
    if (end_.stopping()) return false;
    if (end_.spin([this] { return alone(); })) continue;
    PyThreadState* thread = PyEval_SaveThread();
    end_.park();  // the host's thread does not run just now
    PyEval_RestoreThread(thread);
  }
}

}  // namespace samovar::python
