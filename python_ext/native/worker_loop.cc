#include "python_ext/native/worker_loop.h"

#include <cstring>
#include <new>
#include <utility>

#include "ipc/clock.h"
#include "python_ext/native/forked_child.h"

namespace samovar::python {
namespace {

// As long as CPython lets a thread of Python code run when others want to: sys.getswitchinterval().
constexpr std::int64_t kSwitchIntervalNs = 5'000'000;

std::span<const std::byte> as_bytes(const char* data, Py_ssize_t size) {
  return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

// The bytes of a flat memoryview, without the cost of a buffer export: for a look while the GIL is held. False: not flat.
bool flat_bytes(PyObject* object, std::span<const std::byte>& out) {
  const auto* view = reinterpret_cast<PyMemoryViewObject*>(object);
  if ((view->flags & _Py_MEMORYVIEW_RELEASED) != 0 || (view->mbuf->flags & _Py_MANAGED_BUFFER_RELEASED) != 0) {
    PyErr_SetString(PyExc_ValueError, "result: memoryview has been released");
    return false;
  }
  if ((view->flags & (_Py_MEMORYVIEW_C | _Py_MEMORYVIEW_SCALAR)) == 0) {
    PyErr_SetString(PyExc_TypeError, "result: memoryview is not C-contiguous; return bytes(view)");
    return false;
  }
  out = as_bytes(static_cast<const char*>(view->view.buf), view->view.len);
  return true;
}

}  // namespace

WorkerLoop::WorkerLoop(ipc::WorkerEnd& end, std::uint32_t worker, std::vector<Method> methods, PyObject* describe,
                       PyTypeObject* context_type)
    : end_(end),
      worker_(worker),
      methods_(std::move(methods)),
      describe_(Ref::borrow(describe)),
      ctx_names_(Ref::steal(Py_BuildValue("(N)", PyUnicode_InternFromString("ctx")))),
      thread_(PyThreadState_Get()),
      interpreter_(PyThreadState_GetInterpreter(thread_)),
      contexts_(context_type) {}

LoopEnd WorkerLoop::run() {
  while (!end_.stopping()) {
    ipc::Request request;
    switch (end_.peek(request)) {
      case ipc::Peek::record:
        serve(request);
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
  service_ns_ = 0;
  const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
  const bool wanted = end_.start(request);
  if (expired) return respond({.call_id = request.call_id, .status = ipc::Status::expired});
  if (!wanted) return respond({.call_id = request.call_id, .status = ipc::Status::skipped});
  if (request.method == ipc::kPingMethod) return respond({.call_id = request.call_id});
  const std::size_t index = request.method - 1u;
  if (index >= methods_.size()) {
    return fail(request, {ipc::FailureCode::unknown_method,
                          {},
                          "this worker has no method number " + std::to_string(request.method) + ", its last is " +
                              std::to_string(methods_.size()),
                          {}});
  }

  const Method& method = methods_[index];
  failure_code_ = ipc::FailureCode::exception;
  const Ref result = call(method, request);
  if (method.wants_ctx) contexts_.close();
  if (is_forked_child()) [[unlikely]] end_forked_child();
  if (!result) return fail_with_exception(request, failure_code_);
  answer(method, request, result.get());
}

// GIL: held; the handler may drop it. Null with an exception; `failure_code_` then says whose fault it is.
Ref WorkerLoop::call(const Method& method, const ipc::Request& request) {
  const std::span<const std::byte> payload = request.payload;
  if (request.kind == ipc::Kind::bytes) {
    PyObject* view = view_.show(payload);
    if (view == nullptr) return {};
    return call_with(method, &view, 1, request);
  }
  if (request.kind == ipc::Kind::none) return call_with(method, nullptr, 0, request);

  // What has structure is read from private memory: the host could still write the lane.
  failure_code_ = ipc::FailureCode::argument;
  private_payload_.assign(payload.begin(), payload.end());
  if (request.kind == ipc::Kind::text) {
    const Ref text = Ref::steal(PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(private_payload_.data()),
                                                     static_cast<Py_ssize_t>(private_payload_.size()), nullptr));
    if (!text) {
      if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_SetString(PyExc_ValueError, "argument: the text is not UTF-8");
      return {};
    }
    PyObject* argument = text.get();
    return call_with(method, &argument, 1, request);
  }
  const Ref value = Ref::steal(decode_value(private_payload_));
  if (!value) return {};
  if (request.kind == ipc::Kind::value) {
    PyObject* argument = value.get();
    return call_with(method, &argument, 1, request);
  }
  if (!PyList_CheckExact(value.get())) {
    PyErr_SetString(PyExc_ValueError, "arguments are not a vector");
    return {};
  }
  return call_with(method, PySequence_Fast_ITEMS(value.get()), static_cast<std::size_t>(PyList_GET_SIZE(value.get())), request);
}

// GIL: held; the handler may drop it. Null with an exception.
Ref WorkerLoop::call_with(const Method& method, PyObject* const* arguments, std::size_t count, const ipc::Request& request) {
  failure_code_ = ipc::FailureCode::exception;
  PyObject* names = nullptr;
  if (method.wants_ctx) {
    PyObject* context = contexts_.open({request.call_id, request.deadline_ns, worker_, end_.current_word()});
    if (context == nullptr) return {};
    arguments_.assign(arguments, arguments + count);
    arguments_.push_back(context);
    arguments = arguments_.data();
    names = ctx_names_.get();
  }
  if ((request.flags & ipc::kRequestTimed) == 0) return Ref::steal(PyObject_Vectorcall(method.function.get(), arguments, count, names));
  const std::int64_t begin_ns = ipc::now_ns();
  Ref result = Ref::steal(PyObject_Vectorcall(method.function.get(), arguments, count, names));
  service_ns_ = static_cast<std::uint64_t>(ipc::now_ns() - begin_ns);
  return result;
}

// GIL: held; released while the lane is full.
void WorkerLoop::answer(const Method& method, const ipc::Request& request, PyObject* result) {
  ipc::Response response{.call_id = request.call_id, .service_ns = service_ns_};
  for (;;) {
    Encoded encoded;
    if (!encode(result, encoded)) {
      const bool memory = PyErr_ExceptionMatches(PyExc_MemoryError) != 0;
      return fail_with_exception(request, memory ? ipc::FailureCode::exception : ipc::FailureCode::result_type);
    }
    const std::size_t size = encoded.bytes.size();
    if (size > end_.payload_bytes_max()) [[unlikely]] {
      return fail(request, {ipc::FailureCode::result_too_large,
                            {},
                            "the result of " + method.described.name + " is " + std::to_string(size) + " bytes, and " +
                                std::to_string(end_.payload_bytes_max()) +
                                " is the most that fits into a record: return less, or start the pool with a larger inline_bytes_max",
                            {}});
    }
    response.kind = encoded.kind;
    response.payload = encoded.bytes;
    if (std::byte* out = end_.try_claim(static_cast<std::uint32_t>(size))) [[likely]] {
      ipc::write_response(response, out);
      return end_.finish();
    }
    if (claim(static_cast<std::uint32_t>(size)) == nullptr) return;
    // The GIL was released: another thread may have written, resized or released what is to be sent. Look again.
  }
}

// GIL: held. False with an exception.
bool WorkerLoop::encode(PyObject* result, Encoded& out) {
  if (result == Py_None) return true;
  if (PyBytes_Check(result)) {
    out = {ipc::Kind::bytes, as_bytes(PyBytes_AS_STRING(result), PyBytes_GET_SIZE(result))};
    return true;
  }
  if (PyMemoryView_Check(result)) {
    out.kind = ipc::Kind::bytes;
    return flat_bytes(result, out.bytes);
  }
  if (PyUnicode_Check(result)) {
    Py_ssize_t size;
    if (const char* text = PyUnicode_AsUTF8AndSize(result, &size)) {
      out = {ipc::Kind::text, as_bytes(text, size)};
      return true;
    }
    PyErr_Clear();  // a lone surrogate: the encoder says so in its own words
  }
  if (PyByteArray_Check(result)) {
    out = {ipc::Kind::bytes, as_bytes(PyByteArray_AS_STRING(result), PyByteArray_GET_SIZE(result))};
    return true;
  }
  if (!encoder_.encode(result)) return false;
  out = {ipc::Kind::value, encoder_.bytes()};
  return true;
}

// Room for a response of that size, or null: the host wants the worker to end and takes no more responses.
// GIL: held; released while the lane is full.
std::byte* WorkerLoop::claim(std::uint32_t payload_bytes) {
  std::byte* out = end_.try_claim(payload_bytes);
  while (out == nullptr) {
    PyThreadState* thread = PyEval_SaveThread();
    end_.wait_for_room(payload_bytes);
    PyEval_RestoreThread(thread);
    held_since_ns_ = 0;
    out = end_.try_claim(payload_bytes);
    if (out == nullptr && end_.stopping()) break;
  }
  return out;
}

// GIL: held; released while the lane is full. Requires: `response.payload` cannot change meanwhile.
void WorkerLoop::respond(const ipc::Response& response) {
  std::byte* out = claim(static_cast<std::uint32_t>(response.payload.size()));
  if (out == nullptr) return;
  ipc::write_response(response, out);
  end_.finish();
}

// GIL: held; released while the lane is full.
void WorkerLoop::fail(const ipc::Request& request, Failure failure) {
  std::vector<std::uint8_t> bytes;
  try {
    bytes = encode_failure(std::move(failure), end_.payload_bytes_max());
  } catch (const std::bad_alloc&) {  // a failure without words is one all the same
  }
  respond({.call_id = request.call_id,
           .service_ns = service_ns_,
           .kind = ipc::Kind::bytes,
           .status = ipc::Status::failed,
           .payload = std::as_bytes(std::span(bytes))});
}

// GIL: held; runs user code, which may drop it; released while the lane is full.
void WorkerLoop::fail_with_exception(const ipc::Request& request, ipc::FailureCode code) {
  Failure failure{.code = code};
  try {
    failure = take_exception(describe_.get(), code);
  } catch (const std::bad_alloc&) {
    PyErr_Clear();
  }
  fail(request, std::move(failure));
}

}  // namespace samovar::python
