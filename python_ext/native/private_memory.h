// PrivateMemory: bytes of this process that are aligned to 64, for what is no longer, or never was, in shared memory. Exports them
// read-only; who makes one may write it.
//
// Every function requires the GIL and holds it throughout.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <span>

#include "python_ext/native/ref.h"

namespace samovar::python {

// The type, for the module. A new reference, or null with an exception.
PyObject* make_private_memory_type(PyObject* module);

// Memory that holds a copy of `content`, or that holds anything. Null with MemoryError.
Ref make_private_memory(PyTypeObject* type, std::span<const std::byte> content);
Ref make_private_memory(PyTypeObject* type, std::size_t bytes);

std::span<std::byte> private_memory_of(PyObject* object);

}  // namespace samovar::python
