#include "python_ext/native/schema_sequence.h"

#include "python_ext/native/ref.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/schema_view.h"

namespace samovar::python {
namespace {

// A sequence of structs, tables, strings or members of a union.
struct VectorObject {
  PyObject_HEAD
  BufferObject* buffer;
  const Field* field;
  std::uint32_t first;
  std::uint32_t count;
  std::uint32_t types;  // of a vector of unions: where the first type stands
};

struct ScalarsObject {
  PyObject_HEAD
  BufferObject* buffer;
  Scalar scalar;
  const std::uint8_t* first;
  Py_ssize_t count;
};

VectorObject& vector_of(PyObject* self) { return *reinterpret_cast<VectorObject*>(self); }
ScalarsObject& scalars_of(PyObject* self) { return *reinterpret_cast<ScalarsObject*>(self); }
SchemaObject& schema_behind(const BufferObject& buffer) { return schema_of(buffer.schema); }

// ---- ScalarsObject

int scalars_getbuffer(PyObject* self, Py_buffer* out, int flags) {
  ScalarsObject& scalars = scalars_of(self);
  if ((flags & PyBUF_WRITABLE) != 0) {
    PyErr_SetString(PyExc_BufferError, "a FlatBuffer is read-only");
    out->obj = nullptr;
    return -1;
  }
  out->itemsize = width_of(scalars.scalar);
  out->buf = const_cast<std::uint8_t*>(scalars.first);
  out->len = scalars.count * out->itemsize;
  out->obj = Py_NewRef(self);
  out->readonly = 1;
  out->ndim = 1;
  out->format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(buffer_format(scalars.scalar)) : nullptr;
  out->shape = (flags & PyBUF_ND) != 0 ? &scalars.count : nullptr;
  out->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &out->itemsize : nullptr;
  out->suboffsets = nullptr;
  out->internal = nullptr;
  return 0;
}

// ---- VectorObject

Py_ssize_t vector_length(PyObject* self) { return vector_of(self).count; }

PyObject* vector_item(PyObject* self, Py_ssize_t index) {
  const VectorObject& vector = vector_of(self);
  if (index < 0 || index >= static_cast<Py_ssize_t>(vector.count)) {
    PyErr_SetString(PyExc_IndexError, "index out of range");
    return nullptr;
  }
  const Field& field = *vector.field;
  const auto i = static_cast<std::uint32_t>(index);
  const std::uint32_t at = vector.first + i * field.width;
  if (field.what == What::structure) return view_struct(*vector.buffer, *field.table, at);
  if (field.what == What::choice) return read_member(*vector.buffer, field, vector.buffer->bytes.data[vector.types + i], at);
  return read_reference(*vector.buffer, field, field.what, field.table, at);
}

PyObject* vector_subscript(PyObject* self, PyObject* key) {
  const Py_ssize_t count = vector_length(self);
  if (PySlice_Check(key)) {
    Py_ssize_t start = 0;
    Py_ssize_t stop = 0;
    Py_ssize_t step = 0;
    if (PySlice_Unpack(key, &start, &stop, &step) != 0) return nullptr;
    const Py_ssize_t length = PySlice_AdjustIndices(count, &start, &stop, step);
    Ref items = Ref::steal(PyList_New(length));
    for (Py_ssize_t i = 0; items && i < length; ++i) {
      PyObject* item = vector_item(self, start + i * step);
      if (item == nullptr) return nullptr;
      PyList_SET_ITEM(items.get(), i, item);
    }
    return items.release();
  }
  const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (index == -1 && PyErr_Occurred()) return nullptr;
  return vector_item(self, index < 0 ? index + count : index);
}

PyObject* vector_repr(PyObject* self) {
  return PyUnicode_FromFormat("<%zd %s>", vector_length(self), element_name(*vector_of(self).field));
}

}  // namespace

const char* element_name(const Field& field) {
  if (field.what == What::scalar) return name_of(field.scalar);
  if (field.what == What::text) return "string";
  return field.what == What::choice ? field.enumeration->short_name.c_str() : field.table->short_name.c_str();
}

PyObject* make_vector_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc_over<VectorObject>)},
                                {Py_tp_repr, reinterpret_cast<void*>(vector_repr)},
                                {Py_sq_length, reinterpret_cast<void*>(vector_length)},
                                {Py_sq_item, reinterpret_cast<void*>(vector_item)},
                                {Py_mp_length, reinterpret_cast<void*>(vector_length)},
                                {Py_mp_subscript, reinterpret_cast<void*>(vector_subscript)},
                                {Py_tp_doc, const_cast<char*>("A vector of tables, structs, strings or unions in a FlatBuffer; read-only.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"samovar.FlatBufferVector", sizeof(VectorObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_SEQUENCE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

PyObject* make_scalars_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc_over<ScalarsObject>)},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(scalars_getbuffer)},
                                {0, nullptr}};
  static PyType_Spec spec = {"samovar.FlatBufferScalars", sizeof(ScalarsObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

PyObject* view_scalars(BufferObject& buffer, const Field& field, std::uint32_t first, std::uint32_t count) {
  const Ref object = Ref::steal(make_over<ScalarsObject>(schema_behind(buffer).scalars_type, buffer));
  if (!object) return nullptr;
  ScalarsObject& scalars = scalars_of(object.get());
  scalars.scalar = field.scalar;
  scalars.first = buffer.bytes.data + first;
  scalars.count = count;
  return PyMemoryView_FromObject(object.get());
}

PyObject* view_sequence(BufferObject& buffer, const Field& field, std::uint32_t first, std::uint32_t count, std::uint32_t types) {
  PyObject* object = make_over<VectorObject>(schema_behind(buffer).vector_type, buffer);
  if (object == nullptr) return nullptr;
  VectorObject& vector = vector_of(object);
  vector.field = &field;
  vector.first = first;
  vector.count = count;
  vector.types = types;
  return object;
}

}  // namespace samovar::python
