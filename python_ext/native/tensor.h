// samovar.Tensor: an array without NumPy: a dtype, a shape, and elements that something else keeps. Exports the buffer protocol
// and DLPack, and nothing that would let a read-only one be written.
//
// Every function requires the GIL and holds it throughout. A tensor may be used from any thread.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/tensor.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/tensor_source.h"

namespace samovar::python {

struct TensorObject {
  PyObject_VAR_HEAD
  PyObject* keeper;  // of `data`
  std::byte* data;
  ipc::DType dtype;
  bool is_writable;
  std::uint32_t item_bytes;
  Py_ssize_t bytes;
  Py_ssize_t rank;
  Py_ssize_t dimensions[1];  // rank dimensions, then rank strides in bytes
};

// The type, for the module. A new reference, or null with an exception.
PyObject* make_tensor_type(PyObject* module);

// A new tensor over `data`, which `keeper` keeps. Null with MemoryError. Requires: what tensor_bytes() checks has been.
Ref make_tensor(PyTypeObject* type, ipc::DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::byte* data,
                bool writable, PyObject* keeper);

// Requires: `object` is a samovar.Tensor.
void describe_tensor(PyObject* object, TensorSource& out);

// What an object says of itself by the buffer protocol, with its format and shape. False with TypeError or BufferError.
bool describe_buffer(PyObject* object, TensorSource& out);

// What of "float32", "bytes" or "S8" is. False: none of ours.
bool read_dtype_name(const char* name, ipc::DType& out, std::uint32_t& item_bytes);

}  // namespace samovar::python
