#include "python_ext/native/flat_payload.h"

#include "python_ext/native/schema_build.h"
#include "python_ext/native/schema_view.h"

namespace samovar::python {
namespace {

struct FlatPayload {
  PyObject_HEAD
  Py_buffer buffer;
};

FlatPayload& payload_of(PyObject* self) { return *reinterpret_cast<FlatPayload*>(self); }

void dealloc(PyObject* self) {
  if (payload_of(self).buffer.obj != nullptr) PyBuffer_Release(&payload_of(self).buffer);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

// FlatBuffer(bytes-like or stock builder)
PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* names) {
  static const char* const kNames[] = {"", nullptr};
  PyObject* from = nullptr;
  if (!PyArg_ParseTupleAndKeywords(arguments, names, "O:flatbuffer", const_cast<char**>(kNames), &from)) return nullptr;
  Ref bytes = Ref::borrow(from);
  if (!PyObject_CheckBuffer(from)) {
    if (PyObject_HasAttrString(from, "Output") == 0) {
      PyErr_Format(PyExc_TypeError, "samovar.flatbuffer() takes a finished flatbuffers.Builder or bytes, not %s", Py_TYPE(from)->tp_name);
      return nullptr;
    }
    bytes = Ref::steal(PyObject_CallMethod(from, "Output", nullptr));
    if (!bytes) return nullptr;
  }
  Ref object = Ref::steal(type->tp_alloc(type, 0));
  if (!object || PyObject_GetBuffer(bytes.get(), &payload_of(object.get()).buffer, PyBUF_SIMPLE) != 0) return nullptr;
  return object.release();
}

int get_buffer(PyObject* self, Py_buffer* out, int flags) {
  const Py_buffer& buffer = payload_of(self).buffer;
  return PyBuffer_FillInfo(out, self, buffer.buf, buffer.len, 1, flags);
}

Py_ssize_t length(PyObject* self) { return payload_of(self).buffer.len; }

}  // namespace

PyObject* make_flat_payload_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(make)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                                {Py_sq_length, reinterpret_cast<void*>(length)},
                                {Py_tp_doc, const_cast<char*>("The bytes of a finished FlatBuffer; samovar.flatbuffer() makes one.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"samovar.FlatBuffer", sizeof(FlatPayload), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

bool is_flatbuffer(PyObject* result) { return Py_TYPE(result)->tp_dealloc == dealloc || is_view(result); }

bool flatbuffer_bytes(PyObject* result, std::span<const std::byte>& out, Ref& owner) {
  if (!is_view(result)) {
    const Py_buffer& buffer = payload_of(result).buffer;
    out = {static_cast<const std::byte*>(buffer.buf), static_cast<std::size_t>(buffer.len)};
    return true;
  }
  if (!is_root(view_of(result))) {
    owner = Ref::steal(rebuilt(result));
    if (!owner) return false;
    result = owner.get();
  }
  const FlatBytes& bytes = view_of(result).buffer->bytes;
  out = std::as_bytes(std::span(bytes.data, bytes.size));
  return true;
}

}  // namespace samovar::python
