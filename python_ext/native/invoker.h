// Invoker: from a request to what its handler returns. What the loops of a worker have in common.
//
// Threads: the interpreter's main thread. Every function requires the GIL. Runs user code: handlers.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ipc/channel.h"
#include "ipc/clock.h"
#include "python_ext/native/arguments.h"
#include "python_ext/native/context.h"
#include "python_ext/native/method.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/running_call.h"
#include "python_ext/native/tensors.h"

namespace samovar::python {

class Invoker {
 public:
  // Requires: `end`, `tensors` and `responder` live as long as this.
  Invoker(ipc::WorkerEnd& end, std::uint32_t worker, std::vector<Method> methods, Tensors& tensors, Responder& responder)
      : end_(end),
        worker_(worker),
        methods_(std::move(methods)),
        ctx_names_(Ref::steal(Py_BuildValue("(N)", PyUnicode_InternFromString("ctx")))),
        tensors_(tensors),
        responder_(responder),
        reader_(end, tensors) {}

  // Starts `call`, whose request peek() has found. False: its handler is not to run, and it has been answered.
  // GIL: held; released while the lane is full.
  bool begin(RunningCall& call) {
    const ipc::Request& request = call.request;
    call.begin();
    const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
    const bool wanted = end_.start(request);
    const std::size_t index = request.method - 1u;  // of a ping: none
    if (expired || !wanted || index >= methods_.size()) [[unlikely]] return answer_itself(call, expired, wanted);
    call.method = &methods_[index];
    const int expected = call.method->described.stream ? ipc::kRequestStream : 0;
    if ((request.flags & (ipc::kRequestStream | ipc::kRequestPacked)) != expected) [[unlikely]] return refuse(call);
    return true;
  }

  // Calls the handler. `word` says to its context whether somebody waits; `asker`: who asks the host for it.
  // Null with an exception; call.failure_code then says whose fault it is. GIL: held; the handler may drop it.
  Ref call(RunningCall& call, ContextSource& contexts, const std::atomic<std::uint64_t>* word, Asker& asker);

  // The method that a request is for; null: it has none.
  const Method* method_of(const ipc::Request& request) const {
    const std::size_t index = request.method - 1u;
    return index < methods_.size() ? &methods_[index] : nullptr;
  }
  bool has_batches() const { return has_batches_; }
  ArgumentReader& reader() { return reader_; }
  const Ref& ctx_names() const { return ctx_names_; }

 private:
  bool answer_itself(RunningCall& call, bool expired, bool wanted);
  bool refuse(RunningCall& call);

  ipc::WorkerEnd& end_;
  const std::uint32_t worker_;
  const std::vector<Method> methods_;
  const bool has_batches_ = std::ranges::any_of(methods_, &Method::takes_batches);
  const Ref ctx_names_;  // ("ctx",)
  Tensors& tensors_;
  Responder& responder_;
  ArgumentReader reader_;
  std::vector<PyObject*> with_context_;  // reused from call to call
};

// Here, for the loops to inline: it is on the path of every call.
inline Ref Invoker::call(RunningCall& call, ContextSource& contexts, const std::atomic<std::uint64_t>* word, Asker& asker) {
  Arguments arguments;
  if (!reader_.read(call, arguments)) return {};
  const ipc::Request& request = call.request;
  PyObject* const* items = arguments.data();
  PyObject* names = nullptr;
  if (call.method->wants_ctx) {
    PyObject* context = contexts.open({request.call_id, request.deadline_ns, worker_, word, &tensors_.blocks, &asker, {}});
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
