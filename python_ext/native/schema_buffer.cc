#include "python_ext/native/schema_buffer.h"

#include <cstring>

#include "python_ext/native/schema_object.h"

namespace samovar::python {
namespace {

constexpr std::size_t kBufferAlign = 16;

BufferObject* new_buffer(SchemaObject& schema, std::size_t storage) {
  // Not by tp_alloc, which would zero the storage.
  PyTypeObject* type = schema.buffer_type;
  void* memory = PyObject_Malloc(static_cast<std::size_t>(type->tp_basicsize) + storage);
  if (memory == nullptr) {
    PyErr_NoMemory();
    return nullptr;
  }
  std::memset(memory, 0, sizeof(BufferObject));
  auto* buffer = reinterpret_cast<BufferObject*>(PyObject_InitVar(static_cast<PyVarObject*>(memory), type, static_cast<Py_ssize_t>(storage)));
  buffer->schema = Py_NewRef(reinterpret_cast<PyObject*>(&schema));
  return buffer;
}

bool check_size(std::size_t bytes) {
  if (bytes <= kBufferBytesMax) return true;
  PyErr_Format(PyExc_ValueError, "the FlatBuffer of %zu bytes is larger than one can be (2 GiB)", bytes);
  return false;
}

void buffer_dealloc(PyObject* self) {
  BufferObject& buffer = buffer_of(self);
  if (buffer.source.obj != nullptr) PyBuffer_Release(&buffer.source);
  delete[] buffer.memory;
  Py_XDECREF(buffer.schema);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

}  // namespace

PyObject* make_buffer_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(buffer_dealloc)}, {0, nullptr}};
  static PyType_Spec spec = {"samovar.FlatBufferMemory", sizeof(BufferObject) + kBufferAlign, 1,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

BufferObject* buffer_of_copy(SchemaObject& schema, std::span<const std::byte> bytes) {
  if (!check_size(bytes.size())) return nullptr;
  BufferObject* buffer = new_buffer(schema, bytes.size());
  if (buffer == nullptr) return nullptr;
  const auto behind = reinterpret_cast<std::uintptr_t>(buffer + 1);
  auto* data = reinterpret_cast<std::uint8_t*>((behind + kBufferAlign - 1) & ~(kBufferAlign - 1));
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  buffer->bytes = {data, static_cast<std::uint32_t>(bytes.size())};
  return buffer;
}

BufferObject* buffer_of_exporter(SchemaObject& schema, PyObject* exporter) {
  BufferObject* buffer = new_buffer(schema, 0);
  if (buffer == nullptr) return nullptr;
  if (PyObject_GetBuffer(exporter, &buffer->source, PyBUF_SIMPLE) != 0 || !check_size(static_cast<std::size_t>(buffer->source.len))) {
    Py_DECREF(as_object(*buffer));
    return nullptr;
  }
  buffer->bytes = {static_cast<const std::uint8_t*>(buffer->source.buf), static_cast<std::uint32_t>(buffer->source.len)};
  return buffer;
}

BufferObject* buffer_of_memory(SchemaObject& schema, std::unique_ptr<std::uint8_t[]> memory, std::span<const std::uint8_t> bytes) {
  BufferObject* buffer = new_buffer(schema, 0);
  if (buffer == nullptr) return nullptr;
  buffer->memory = memory.release();
  buffer->bytes = {bytes.data(), static_cast<std::uint32_t>(bytes.size())};
  return buffer;
}

}  // namespace samovar::python
