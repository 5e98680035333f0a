#include "python_ext/native/stream.h"

#include <utility>

#include "ipc/clock.h"
#include "python_ext/native/forked_child.h"

namespace samovar::python {
namespace {

// Closes a generator, with whatever exception is set put aside; what closing raises is told on stderr, since the call has its outcome.
// GIL: held; runs user code. Iterators of other kinds have nothing to close.
void close(PyObject* items) {
  if (!PyGen_Check(items) && PyObject_HasAttrString(items, "close") == 0) return;
  PyObject* type;
  PyObject* value;
  PyObject* traceback;
  PyErr_Fetch(&type, &value, &traceback);
  const Ref closed = Ref::steal(PyObject_CallMethod(items, "close", nullptr));
  if (!closed) PyErr_WriteUnraisable(items);
  if (is_forked_child()) [[unlikely]] end_forked_child();
  PyErr_Restore(type, value, traceback);
}

}  // namespace

void Streamer::run(RunningCall& call, Ref items) {
  if (!PyIter_Check(items.get())) {
    PyErr_Format(PyExc_TypeError, "%s is a stream and returned a %s, which is no iterator: yield the chunks", call.method->described.name.c_str(),
                 Py_TYPE(items.get())->tp_name);
    let_go(items);
    return responder_.fail_with_exception(call, ipc::FailureCode::result_type);
  }
  sent_ = 0;
  notes_.follow(call.request.call_id);
  const bool timed = (call.request.flags & ipc::kRequestTimed) != 0;
  const std::int64_t begin_ns = timed ? ipc::now_ns() : 0;
  const auto stop_clock = [&] {
    if (timed) call.service_ns += static_cast<std::uint64_t>(ipc::now_ns() - begin_ns);
  };
  for (;;) {
    const Next next = await_credit();
    if (next == Next::cancelled) return cancel(call, std::move(items));
    if (next == Next::ending) return close(items.get());
    if (next == Next::raised) {
      close(items.get());
      let_go(items);
      return responder_.fail_with_exception(call, ipc::FailureCode::exception);
    }
    PyObject* item = nullptr;
    const PySendResult came = PyIter_Send(items.get(), Py_None, &item);
    if (is_forked_child()) [[unlikely]] end_forked_child();
    Ref chunk = Ref::steal(item);
    if (came != PYGEN_NEXT) {
      let_go(items);
      stop_clock();
      return came == PYGEN_RETURN ? responder_.answer(call, std::move(chunk)) : responder_.fail_with_exception(call, ipc::FailureCode::exception);
    }
    Responder::Sent sent;
    while ((sent = responder_.send_chunk(call, chunk.get())) == Responder::Sent::full) {
      notes_.read();
      if (notes_.cancelled()) return cancel(call, std::move(items));
      if (notes_.ending()) return close(items.get());
    }
    if (sent == Responder::Sent::ending) return close(items.get());
    if (sent == Responder::Sent::failed) {
      close(items.get());
      let_go(items);
      stop_clock();
      return responder_.fail(call, responder_.take_chunk_failure());
    }
    ++sent_;
  }
}

// Before the answer: the iterator may hold the last view of the argument, and its ctx looks into the lane. GIL: held; runs user code.
void Streamer::let_go(Ref& items) {
  PyObject* type;
  PyObject* value;
  PyObject* traceback;
  PyErr_Fetch(&type, &value, &traceback);
  items.reset();
  PyErr_Restore(type, value, traceback);
  contexts_.close();
}

// Nobody reads the answer: it gives the request's record back.
void Streamer::cancel(RunningCall& call, Ref items) {
  close(items.get());
  let_go(items);
  responder_.fail(call, {ipc::FailureCode::exception, "samovar.Cancelled", "nobody waits for this stream any more", {}});
}

// GIL: held; released while there is no credit.
Streamer::Next Streamer::await_credit() {
  if (end_.has_note()) notes_.read();
  for (;;) {
    if (notes_.cancelled()) return Next::cancelled;
    if (notes_.broken()) return Next::ending;
    if (sent_ < notes_.credit()) return Next::go_on;
    if (notes_.ending()) return Next::ending;
    if (!notes_.wait(ipc::kNever)) return Next::raised;
  }
}

}  // namespace samovar::python
