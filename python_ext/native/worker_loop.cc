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

WorkerLoop::WorkerLoop(ipc::WorkerEnd& end, std::uint32_t worker, std::uint32_t escaped_views_max, std::vector<Method> methods,
                       PyObject* describe, const ModuleState& state)
    : end_(end),
      worker_(worker),
      methods_(std::move(methods)),
      describe_(Ref::borrow(describe)),
      ctx_names_(Ref::steal(Py_BuildValue("(N)", PyUnicode_InternFromString("ctx")))),
      thread_(PyThreadState_Get()),
      interpreter_(PyThreadState_GetInterpreter(thread_)),
      argument_(end, reinterpret_cast<PyTypeObject*>(state.argument_block_type), escaped_views_max),
      contexts_(reinterpret_cast<PyTypeObject*>(state.context_type)) {}

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
  Ref result = call(method, request);
  if (method.wants_ctx) contexts_.close();
  if (is_forked_child()) [[unlikely]] end_forked_child();
  if (!result) return fail_with_exception(request, failure_code_);
  answer(method, request, std::move(result));
}

// GIL: held; the handler may drop it. Null with an exception; `failure_code_` then says whose fault it is.
Ref WorkerLoop::call(const Method& method, const ipc::Request& request) {
  const std::optional<std::span<const std::byte>> located = end_.payload(request);
  if (!located) {
    failure_code_ = ipc::FailureCode::argument;
    PyErr_SetString(PyExc_ValueError, "argument: the request names a block outside of the arena");
    return {};
  }
  const std::span<const std::byte> payload = *located;
  const bool in_arena = (request.flags & ipc::kRequestInArena) != 0;
  if (request.kind == ipc::Kind::bytes) {
    PyObject* view = in_arena ? argument_.show(payload, request.call_id, method.described.name) : view_.show(payload);
    if (view == nullptr) return {};
    return call_with(method, &view, 1, request);
  }
  if (request.kind == ipc::Kind::none) return call_with(method, nullptr, 0, request);

  // What has structure is read from private memory: the host could still write the lane and the arena.
  failure_code_ = ipc::FailureCode::argument;
  std::vector<std::byte> large;
  std::vector<std::byte>& copy = in_arena ? large : private_payload_;
  copy.assign(payload.begin(), payload.end());
  if (request.kind == ipc::Kind::text) {
    const Ref text = Ref::steal(PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(copy.data()),
                                                     static_cast<Py_ssize_t>(copy.size()), nullptr));
    if (!text) {
      if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_SetString(PyExc_ValueError, "argument: the text is not UTF-8");
      return {};
    }
    PyObject* argument = text.get();
    return call_with(method, &argument, 1, request);
  }
  const Ref value = Ref::steal(decode_value(copy));
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
void WorkerLoop::answer(const Method& method, const ipc::Request& request, Ref result) {
  for (;;) {
    Encoded encoded;
    if (!encode(result.get(), encoded)) return fail_to_encode(request);
    const std::size_t size = encoded.bytes.size();
    if (argument_.shown() || size > end_.payload_bytes_max()) [[unlikely]] {
      return answer_large(method, request, std::move(result));
    }
    if (std::byte* out = end_.try_claim(static_cast<std::uint32_t>(size))) [[likely]] {
      ipc::write_response(
          {.call_id = request.call_id, .service_ns = service_ns_, .kind = encoded.kind, .payload = encoded.bytes}, out);
      return end_.finish();
    }
    if (claim(static_cast<std::uint32_t>(size)) == nullptr) return;
    // The GIL was released: another thread may have written, resized or released what is to be sent. Look again.
  }
}

// Answers with a result, or to an argument, that lies in an arena. The result is let go before the response is published, for it
// may hold the last view of the argument. GIL: held; released while lane or arena is full.
void WorkerLoop::answer_large(const Method& method, const ipc::Request& request, Ref result) {
  for (;;) {
    Encoded encoded;
    if (!encode(result.get(), encoded)) return fail_to_encode(request);
    ipc::Response response{.call_id = request.call_id, .service_ns = service_ns_, .kind = encoded.kind};
    ipc::BlockReference block{.offset = 0, .size = encoded.bytes.size()};
    response.payload = ipc::as_payload(block);
    if (const auto offset = offset_in_argument(request, encoded.bytes)) {
      block.offset = *offset;
      response.flags = ipc::kResponseInArgument;
    } else if (encoded.bytes.size() <= end_.payload_bytes_max()) {
      private_result_.assign(encoded.bytes.begin(), encoded.bytes.end());
      response.payload = private_result_;
    } else {
      switch (find_room(method, request, block)) {
        case Room::found: break;
        case Room::look_again: continue;
        case Room::none: return;
      }
      std::memcpy(end_.response_arena().at(block.offset), encoded.bytes.data(), encoded.bytes.size());
      response.flags = ipc::kResponseInArena;
    }
    result.reset();
    return respond(response);
  }
}

// Where `bytes` lie in the request arena, if they are larger than a record and part of the running call's argument.
std::optional<std::uint64_t> WorkerLoop::offset_in_argument(const ipc::Request& request, std::span<const std::byte> bytes) const {
  const std::span<const std::byte> argument = argument_.payload();
  if (bytes.size() <= end_.payload_bytes_max() || bytes.data() < argument.data() ||
      bytes.data() + bytes.size() > argument.data() + argument.size()) {
    return std::nullopt;
  }
  return ipc::read_block_reference(request.payload)->offset + static_cast<std::uint64_t>(bytes.data() - argument.data());
}

// A block of the response arena for block.size bytes. look_again: the GIL was released, the result may have changed; none: the
// call has been answered with why, or the worker ends. GIL: held; released while the arena is full and the call may wait.
WorkerLoop::Room WorkerLoop::find_room(const Method& method, const ipc::Request& request, ipc::BlockReference& block) {
  const ipc::Arena& arena = end_.response_arena();
  const auto what = [&] { return "the result of " + method.described.name + " is " + std::to_string(block.size) + " bytes"; };
  if (block.size > arena.bytes_total()) {
    fail(request, {ipc::FailureCode::result_too_large,
                   {},
                   what() + ", and the worker's response arena (response_arena_bytes) has " + std::to_string(arena.bytes_total()) +
                       ": return less, or start the pool with a larger one",
                   {}});
    return Room::none;
  }
  const auto allocated = end_.allocate_block(block.size);
  if (!allocated) {
    fail(request, {ipc::FailureCode::arena_full, {}, what() + ", and the system has no memory for it: " + allocated.error().to_string(), {}});
    return Room::none;
  }
  if (*allocated) {
    block.offset = **allocated;
    return Room::found;
  }
  const std::int64_t until_ns = request.deadline_ns != 0 ? request.deadline_ns : ipc::kNever;
  if ((request.flags & ipc::kRequestMayWait) != 0 && !ipc::has_passed(until_ns)) {
    PyThreadState* thread = PyEval_SaveThread();
    end_.wait_for_release(until_ns);
    PyEval_RestoreThread(thread);
    held_since_ns_ = 0;
    return end_.stopping() ? Room::none : Room::look_again;
  }
  fail(request, {ipc::FailureCode::arena_full,
                 {},
                 what() + ", and the worker's response arena is full: of " + std::to_string(arena.bytes_total()) +
                     " bytes (response_arena_bytes) " + std::to_string(arena.bytes_in_use()) +
                     " are in use by replies that the host still holds, and the longest free block has " +
                     std::to_string(arena.longest_free_bytes()) + "; drop replies, raise it, or pass WhenFull::wait",
                 {}});
  return Room::none;
}

// GIL: held. Requires: encode() has failed.
void WorkerLoop::fail_to_encode(const ipc::Request& request) {
  const bool memory = PyErr_ExceptionMatches(PyExc_MemoryError) != 0;
  fail_with_exception(request, memory ? ipc::FailureCode::exception : ipc::FailureCode::result_type);
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

// GIL: held; released while the lane is full. Requires: `response.payload` cannot change meanwhile; nothing of ours but
// argument_ views the argument.
void WorkerLoop::respond(ipc::Response response) {
  if (argument_.shown() && argument_.hide()) response.flags |= ipc::kResponseArgumentEscaped;
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
