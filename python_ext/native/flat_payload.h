// samovar.flatbuffer(): bytes that go to the host as a FlatBuffer; and which bytes of a result are one.
//
// Every function requires the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <span>

#include "python_ext/native/ref.h"

namespace samovar::python {

// The type samovar.FlatBuffer, made from a bytes-like object or from a stock flatbuffers.Builder that is finished.
PyObject* make_flat_payload_type(PyObject* module);

// Whether `result` is a FlatBuffer: made by samovar.flatbuffer(), or a view of a table. Runs no user code.
bool is_flatbuffer(PyObject* result);

// Its bytes, which live as long as `result` and `owner` do. A view of a part is built anew into `owner`. False with an exception.
// Requires: is_flatbuffer(result).
bool flatbuffer_bytes(PyObject* result, std::span<const std::byte>& out, Ref& owner);

}  // namespace samovar::python
