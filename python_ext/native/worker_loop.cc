#include "python_ext/native/worker_loop.h"

#include <algorithm>
#include <string>
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
      worker_(hello.worker),
      methods_(std::move(methods)),
      has_batches_(std::ranges::any_of(methods_, &Method::takes_batches)),
      ctx_names_(Ref::steal(Py_BuildValue("(N)", PyUnicode_InternFromString("ctx")))),
      thread_(PyThreadState_Get()),
      interpreter_(PyThreadState_GetInterpreter(thread_)),
      tensors_(end, state),
      views_(end, reinterpret_cast<PyTypeObject*>(state.argument_block_type), tensors_.types.private_memory, hello.escaped_views_max),
      contexts_(reinterpret_cast<PyTypeObject*>(state.context_type)),
      reader_(end, tensors_),
      responder_(end, describe, tensors_),
      notes_(end, hello.stream_window),
      asker_(end, notes_, responder_),
      streamer_(end, responder_, contexts_, notes_),
      running_(views_),
      batch_(end, hello.worker, views_, contexts_, reader_, responder_, tensors_.blocks, ctx_names_) {}

LoopEnd WorkerLoop::run() {
  while (!end_.stopping()) {
    ipc::Request request;
    switch (end_.peek(request)) {
      case ipc::Peek::record:
        serve(request);
        if (notes_.broken()) return LoopEnd::broken;
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
  if (was_alone && end_.spin([this] { return alone(); })) return true;
  // The budget of a spin that nobody disturbed is used up: to sleep at once. Else spin without the GIL first.
  const bool sleep_at_once = was_alone && alone();
  bool slept = false;
  PyThreadState* thread = PyEval_SaveThread();
  if (sleep_at_once || !end_.spin([] { return true; })) {
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
void WorkerLoop::serve(const ipc::Request& request) {
  if (has_batches_ && request.method != ipc::kPingMethod && request.method <= methods_.size()) {
    const Method& method = methods_[request.method - 1u];
    if (method.takes_batches()) return serve_batch(request, method);
  }
  running_.begin(request);
  const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
  const bool wanted = end_.start(request);
  if (expired) return responder_.respond(running_, {.call_id = request.call_id, .status = ipc::Status::expired});
  if (!wanted) return responder_.respond(running_, {.call_id = request.call_id, .status = ipc::Status::skipped});
  if (request.method == ipc::kPingMethod) return responder_.respond(running_, {.call_id = request.call_id});
  const std::size_t index = request.method - 1u;
  if (index >= methods_.size()) {
    return responder_.fail(running_, {ipc::FailureCode::unknown_method,
                                      {},
                                      "this worker has no method number " + std::to_string(request.method) + ", its last is " +
                                          std::to_string(methods_.size()),
                                      {}});
  }

  running_.method = &methods_[index];
  const bool streams = running_.method->described.stream;
  if (streams != ((request.flags & ipc::kRequestStream) != 0)) [[unlikely]] return refuse(running_);
  Ref result = call(running_);
  if (is_forked_child()) [[unlikely]] end_forked_child();
  if (streams && result) return streamer_.run(running_, std::move(result));
  if (running_.method->wants_ctx) contexts_.close();
  if (!result) return responder_.fail_with_exception(running_, running_.failure_code);
  responder_.answer(running_, std::move(result));
}

// GIL: held; released while the host has not sent all of the batch.
void WorkerLoop::serve_batch(const ipc::Request& first, const Method& method) {
  batch_.begin(method);
  batch_.add(first);
  ipc::Request request = first;
  while ((request.flags & ipc::kRequestBatched) != 0) {
    const bool waits = !end_.has_request();
    if (!await_next(request)) return;  // the process ends: run() sees why
    if (waits) batch_.look_at_clock();
    if (request.method != first.method) break;
    batch_.add(request);
  }
  batch_.run();
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

// Of a method that answers in another way than the host expects. GIL: held; released while the lane is full.
void WorkerLoop::refuse(RunningCall& call) {
  const std::string name = '"' + call.method->described.name + '"';
  responder_.fail(call, {ipc::FailureCode::argument,
                         "TypeError",
                         call.method->described.stream ? name + " is a stream: use Pool::stream or Pool::submit_stream"
                                                       : name + " is not a stream: use Pool::call or Pool::submit",
                         {}});
}

// GIL: held; the handler may drop it. Null with an exception; `failure_code` then says whose fault it is.
Ref WorkerLoop::call(RunningCall& call) {
  Arguments arguments;
  if (!reader_.read(call, arguments)) return {};
  const ipc::Request& request = call.request;
  PyObject* const* items = arguments.data();
  PyObject* names = nullptr;
  if (call.method->wants_ctx) {
    PyObject* context =
        contexts_.open({request.call_id, request.deadline_ns, worker_, end_.current_word(), &tensors_.blocks, &asker_, {}});
    if (context == nullptr) return {};
    with_context_.assign(items, items + arguments.count());
    with_context_.push_back(context);
    items = with_context_.data();
    names = ctx_names_.get();
  }
  PyObject* function = call.method->function.get();
  if ((request.flags & ipc::kRequestTimed) == 0) return Ref::steal(PyObject_Vectorcall(function, items, arguments.count(), names));
  const std::int64_t begin_ns = ipc::now_ns();
  Ref result = Ref::steal(PyObject_Vectorcall(function, items, arguments.count(), names));
  call.service_ns = static_cast<std::uint64_t>(ipc::now_ns() - begin_ns);
  return result;
}

}  // namespace samovar::python
