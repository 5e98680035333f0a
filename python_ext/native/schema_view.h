// Views: FlatBuffers as Python sees them. One type per table and struct of a schema, with a native attribute for each field.
//
// Every function requires the GIL. Reading runs no user code.
// A view owns its buffer: a copy in private memory, what the builder has made, or a payload that the host may still write, read in
// place. So what was verified may have changed, and each access checks once more what it follows: what the bytes say may
// change, their bounds cannot. It costs some five comparisons a field, and spares the copy of a large payload.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "python_ext/native/schema.h"
#include "python_ext/native/schema_verify.h"

namespace samovar::python {

struct SchemaObject;

// The memory that views read.
struct BufferObject {
  PyObject_VAR_HEAD
  FlatBytes bytes;
  std::uint32_t root;        // of the table that the buffer is finished with; 0: it is one struct, and no FlatBuffer
  PyObject* schema;          // a SchemaObject
  Py_buffer source;          // whose memory it is; obj is null: its own
  std::uint8_t* memory;      // of its own, from a FlatBufferBuilder; null: behind this object
};

// A table or struct. Requires of `at`: as TableAt says; of a struct only at.at is set, and all of it lies within the buffer.
struct ViewObject {
  PyObject_HEAD
  BufferObject* buffer;
  const Table* table;
  TableAt at;
};

// Types that all schemas share. New references, or null with an exception.
PyObject* make_buffer_type(PyObject* module);
PyObject* make_vector_type(PyObject* module);   // a sequence of what is no scalar
PyObject* make_scalars_type(PyObject* module);  // what a memoryview of scalars views

// The slots of a table's type; its attributes come beside them.
void view_dealloc(PyObject* self);
PyObject* view_repr(PyObject* self);
PyObject* view_getattro(PyObject* self, PyObject* name);
int view_getbuffer(PyObject* self, Py_buffer* out, int flags);
getter getter_of(const Table& table, const Field& field);  // its closure: the Field

inline bool is_view(PyObject* object) { return Py_TYPE(object)->tp_dealloc == view_dealloc; }
inline ViewObject& view_of(PyObject* object) { return *reinterpret_cast<ViewObject*>(object); }
inline bool is_root(const ViewObject& view) { return view.buffer->root != 0 && view.buffer->root == view.at.at; }

// A buffer over a copy of `bytes`, over the memory of `exporter`, or over `bytes` in `memory`, which is taken. Null with an exception.
BufferObject* buffer_of_copy(SchemaObject& schema, std::span<const std::byte> bytes);
BufferObject* buffer_of_exporter(SchemaObject& schema, PyObject* exporter);
BufferObject* buffer_of_memory(SchemaObject& schema, std::unique_ptr<std::uint8_t[]> memory, std::span<const std::uint8_t> bytes);

// The root of `buffer`, verified; takes over the reference of `buffer`. Null with ValueError: "{what} does not verify: ..."
PyObject* verified_root(SchemaObject& schema, BufferObject* buffer, const char* what);

// A view of a table or struct. New references, or null with an exception.
PyObject* view_table(BufferObject& buffer, const Table& table, std::uint32_t at);
PyObject* view_struct(BufferObject& buffer, const Table& table, std::uint32_t at);

// The value of a field: None where it is absent.
PyObject* read_field(const ViewObject& view, const Field& field);

// For the copy of a view into another buffer: where things lie. False with RuntimeError: the bytes have changed since they were verified.
bool changed(const Field& field, const char* what);

}  // namespace samovar::python
