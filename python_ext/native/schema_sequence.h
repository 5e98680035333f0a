// Vectors and arrays in a FlatBuffer, as Python sees them: memoryviews of scalars, sequences of everything else.
//
// Every function requires the GIL. Runs no user code.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

#include "python_ext/native/schema_buffer.h"

namespace samovar::python {

// For the module. New references, or null with an exception.
PyObject* make_vector_type(PyObject* module);   // a sequence of what is no scalar
PyObject* make_scalars_type(PyObject* module);  // what a memoryview of scalars views

// `count` elements from `first` on. Requires: they lie within the buffer, and so do as many types from `types` on, where it is a vector
// of unions. New references, or null with an exception.
PyObject* view_scalars(BufferObject& buffer, const Field& field, std::uint32_t first, std::uint32_t count);
PyObject* view_sequence(BufferObject& buffer, const Field& field, std::uint32_t first, std::uint32_t count, std::uint32_t types);

// What a schema calls an element of such a field: "float", "Item".
const char* element_name(const Field& field);

}  // namespace samovar::python
