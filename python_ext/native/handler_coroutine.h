// HandlerCoroutine: the coroutine of a running call, as its task runs it: what the user's coroutine returns or raises answers the call,
// and ends here, so that no task of a call ever fails.
//
// Every function requires the GIL, and runs user code. Around each step the event lane is told whose code runs. It supports what a task
// and an await need: send(), throw(), close() and iteration.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python_ext/native/event_lane.h"
#include "python_ext/native/ref.h"

namespace samovar::python {

// The type, for the module. A new reference, or null with an exception.
PyObject* make_handler_coroutine_type(PyObject* module);

// Runs `coroutine`, the user's, for the call at `place`. Requires: `type` from make_handler_coroutine_type(); `place` lives as long as
// the process. Null with MemoryError.
Ref make_handler_coroutine(PyTypeObject* type, EventLane::Place& place, Ref coroutine);

}  // namespace samovar::python
