// Asker: asks functions of the host on behalf of a running call: ctx.host.call(name, …) in Python.
//
// Threads: the interpreter's main thread. Every function requires the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ipc/channel.h"
#include "ipc/clock.h"
#include "python_ext/native/notes.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/values.h"

namespace samovar::python {

class Asker {
 public:
  virtual ~Asker() = default;

  // Asks, for call `call_id`, with a list of the function's name and its arguments. What ctx.host.call() returns: the answer, or what
  // can be awaited for it. Fails: null with samovar.HostError, HostTimeout, or what the encoder says of the arguments.
  virtual PyObject* ask(std::uint64_t call_id, PyObject* question, std::int64_t until_ns) = 0;
};

// Puts questions into the lane.
class QuestionSender {
 public:
  // Requires: both live as long as this.
  QuestionSender(ipc::WorkerEnd& end, Responder& responder) : end_(end), responder_(responder), thread_(PyThread_get_thread_ident()) {}

  // Whether the host can be asked from here; else false with samovar.HostError.
  bool may_ask() const;

  // GIL: held; released while the lane is full. False with an exception.
  bool send(std::uint64_t call_id, std::uint32_t number, PyObject* question);

 private:
  ipc::WorkerEnd& end_;
  Responder& responder_;
  const unsigned long thread_;
  ValueEncoder encoder_;
};

// Null with HostError or HostTimeout.
PyObject* raise_host_error(const char* type_name, const std::string& message);

// Why a question has no answer although its time has not come: null with HostError.
PyObject* raise_unwanted(PyObject* question);
PyObject* raise_ending(PyObject* question);
PyObject* raise_late(PyObject* question);  // HostTimeout

// What an answer says: a new reference, or null with HostError. Requires: `bytes` are private.
PyObject* read_answer(bool failed, std::span<const std::byte> bytes);

// Blocks until `notes`, a Notes or what looks like one, has the answer to the last question, and reads it. Else null with an exception.
template <typename AnyNotes>
PyObject* wait_for_answer(AnyNotes& notes, PyObject* question, std::int64_t until_ns) {
  while (!notes.answered()) {
    if (notes.cancelled()) return raise_unwanted(question);
    if (notes.ending()) return raise_ending(question);
    if (ipc::has_passed(until_ns)) return raise_late(question);
    if (!notes.wait(until_ns)) return nullptr;
  }
  return read_answer(notes.failed(), notes.answer());
}

// Of the one call of a worker's loop: ask() blocks until the answer, `until_ns`, or until nobody waits for the call.
class BlockingAsker final : public Asker {
 public:
  // Requires: all live as long as this.
  BlockingAsker(ipc::WorkerEnd& end, Notes& notes, Responder& responder) : end_(end), notes_(notes), sender_(end, responder) {}

  PyObject* ask(std::uint64_t call_id, PyObject* question, std::int64_t until_ns) override;  // releases the GIL while waiting

 private:
  ipc::WorkerEnd& end_;
  Notes& notes_;
  QuestionSender sender_;
};

// The type of ctx.host, for the module, and one for `context`, which makes it. New references, or null with an exception.
PyObject* make_host_type(PyObject* module);
PyObject* make_host(PyObject* type, PyObject* context);

}  // namespace samovar::python
