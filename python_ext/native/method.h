// Method: a function of the user's, as the loop calls it.
//
// Requires the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <vector>

#include "ipc/handshake.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/tensor_arguments.h"

namespace samovar::python {

struct Method {
  ipc::Method described;  // as the host is told of it
  Ref function;
  bool wants_ctx = false;
  Ref schema;  // of the FlatBuffer that it takes, or null
  TensorMaker tensors{};

  bool takes_batches() const { return described.batch_max > 1; }
  bool runs_in_task() const { return described.asynchronous || described.stream; }  // where there is an event loop
};

// A sequence of samovar.methods.Method. False with an exception.
bool read_methods(PyObject* sequence, std::vector<Method>& methods);

}  // namespace samovar::python
