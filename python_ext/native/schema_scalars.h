// One scalar of a FlatBuffer from a Python object, checked; and vectors of them.
//
// Every function requires the GIL, and may run user code: __index__, __float__, the export of a buffer.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <string>

#include "python_ext/native/schema.h"

namespace samovar::python {

// Where in what is built: links on the stack, from the innermost to the root.
struct Path {
  const Path* up = nullptr;
  const char* name = nullptr;  // of a field or of the root; null: an element
  Py_ssize_t index = 0;
  std::string to_string() const;
};

// Sets an exception that begins with the path. Always false.
bool fail_at(const Path& path, PyObject* exception, const std::string& what);

// "a str", "an int", "None"
std::string a_thing(PyObject* object);

// Writes width_of(field.scalar) bytes at `out`. `field` may be an enum's: then a name of its values is taken as well. False with an
// exception: TypeError, OverflowError, ValueError.
bool write_scalar(const Field& field, PyObject* object, std::uint8_t* out, const Path& path);

// Whether `view` holds a one-dimensional array of such scalars, any strides; false with TypeError if not.
bool check_array(const Field& field, const Py_buffer& view, const Path& path);

}  // namespace samovar::python
