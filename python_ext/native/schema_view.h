// Views: FlatBuffers as Python sees them. One type per table and struct of a schema, with a native attribute for each field.
//
// Every function requires the GIL. Reading runs no user code.
// A view owns its buffer: a copy in private memory, what the builder has made, or a payload that the host may still write, read in
// place. So what was verified may have changed, and each access checks once more what it follows: what the bytes say may
// change, their bounds cannot. It costs some five comparisons a field, and spares the copy of a large payload.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

#include "python_ext/native/schema.h"
#include "python_ext/native/schema_buffer.h"

namespace samovar::python {

// A table or struct. Requires of `at`: as TableAt says; of a struct only at.at is set, and all of it lies within the buffer.
struct ViewObject {
  PyObject_HEAD
  BufferObject* buffer;
  const Table* table;
  TableAt at;
};

// The slots of a table's type; its attributes come beside them.
void view_dealloc(PyObject* self);
PyObject* view_repr(PyObject* self);
PyObject* view_getattro(PyObject* self, PyObject* name);
int view_getbuffer(PyObject* self, Py_buffer* out, int flags);
getter getter_of(const Table& table, const Field& field);  // its closure: the Field

inline bool is_view(PyObject* object) { return Py_TYPE(object)->tp_dealloc == view_dealloc; }
inline ViewObject& view_of(PyObject* object) { return *reinterpret_cast<ViewObject*>(object); }
inline bool is_root(const ViewObject& view) { return view.buffer->root != 0 && view.buffer->root == view.at.at; }

// The root of `buffer`, verified; takes over the reference of `buffer`. Null with ValueError: "{what} does not verify: ..."
PyObject* verified_root(SchemaObject& schema, BufferObject* buffer, const char* what);

// A view of a table or struct. New references, or null with an exception.
PyObject* view_table(BufferObject& buffer, const Table& table, std::uint32_t at);
PyObject* view_struct(BufferObject& buffer, const Table& table, std::uint32_t at);

// The value of a field: None where it is absent.
PyObject* read_field(const ViewObject& view, const Field& field);

// What the offset at `at` refers to; what a member of a union of that type is, None where the schema does not know it.
PyObject* read_reference(BufferObject& buffer, const Field& field, What what, const Table* table, std::uint32_t at);
PyObject* read_member(BufferObject& buffer, const Field& field, std::uint8_t type, std::uint32_t at);

// For the copy of a view into another buffer: where things lie. False with RuntimeError: the bytes have changed since they were verified.
bool changed(const Field& field, const char* what);

}  // namespace samovar::python
