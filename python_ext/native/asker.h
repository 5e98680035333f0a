// Asker: asks functions of the host on behalf of the running call: ctx.host.call(name, …) in Python.
//
// Threads: the interpreter's main thread. Every function requires the GIL; ask() releases it while waiting.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

#include "ipc/channel.h"
#include "python_ext/native/notes.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/values.h"

namespace samovar::python {

class Asker {
 public:
  // Requires: all live as long as this.
  Asker(ipc::WorkerEnd& end, Notes& notes, Responder& responder)
      : end_(end), notes_(notes), responder_(responder), thread_(PyThread_get_thread_ident()) {}

  // Asks, for call `call_id`, with a list of the function's name and its arguments. Blocks until the answer, `until_ns`, or until nobody
  // waits for the call. Fails: null with samovar.HostError, HostTimeout, or what the encoder says of the arguments.
  PyObject* ask(std::uint64_t call_id, PyObject* question, std::int64_t until_ns);

 private:
  PyObject* take_answer();

  ipc::WorkerEnd& end_;
  Notes& notes_;
  Responder& responder_;
  const unsigned long thread_;
  ValueEncoder encoder_;
};

// The type of ctx.host, for the module, and one for `context`, which makes it. New references, or null with an exception.
PyObject* make_host_type(PyObject* module);
PyObject* make_host(PyObject* type, PyObject* context);

}  // namespace samovar::python
