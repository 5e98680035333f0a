// DLPack: how PyTorch, JAX and others hand arrays to each other without copying (https://dmlc.github.io/dlpack). Both ways, memory
// of the CPU only.
//
// Every function requires the GIL and holds it, but for what the other side's Python code does.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python_ext/native/tensor_source.h"

namespace samovar::python {

// Methods of samovar.Tensor.
PyObject* export_dlpack(PyObject* self, PyObject* arguments, PyObject* keywords);
PyObject* export_dlpack_device(PyObject* self, PyObject*);

// What an object with __dlpack__ hands out. False with an exception: TypeError where it cannot be sent, or what it raised.
bool describe_dlpack(PyObject* object, TensorSource& out);

}  // namespace samovar::python
