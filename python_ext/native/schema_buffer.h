// BufferObject: the memory of one FlatBuffer, which all views of it hold.
//
// Every function requires the GIL; runs no user code, but for the export of a buffer.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

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

inline BufferObject& buffer_of(PyObject* object) { return *reinterpret_cast<BufferObject*>(object); }
inline PyObject* as_object(BufferObject& buffer) { return reinterpret_cast<PyObject*>(&buffer); }

// For the module. A new reference, or null with an exception.
PyObject* make_buffer_type(PyObject* module);

// A buffer over a copy of `bytes`, over the memory of `exporter`, or over `bytes` in `memory`, which is taken. Null with an exception.
BufferObject* buffer_of_copy(SchemaObject& schema, std::span<const std::byte> bytes);
BufferObject* buffer_of_exporter(SchemaObject& schema, PyObject* exporter);
BufferObject* buffer_of_memory(SchemaObject& schema, std::unique_ptr<std::uint8_t[]> memory, std::span<const std::uint8_t> bytes);

// A new object of a type that begins as Object does, which holds `buffer`, and its end.
template <class Object>
PyObject* make_over(PyTypeObject* type, BufferObject& buffer) {
  PyObject* object = type->tp_alloc(type, 0);
  if (object != nullptr) reinterpret_cast<Object*>(object)->buffer = &buffer_of(Py_NewRef(as_object(buffer)));
  return object;
}
template <class Object>
void dealloc_over(PyObject* self) {
  if (BufferObject* buffer = reinterpret_cast<Object*>(self)->buffer) Py_DECREF(as_object(*buffer));
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

}  // namespace samovar::python
