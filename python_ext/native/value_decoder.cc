#include <string_view>

#include "ipc/value_reader.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/values.h"

namespace samovar::python {
namespace {

// Builds Python objects (ipc/value_reader.h, Maker).
struct ObjectMaker {
  using Object = Ref;

  static const char* take(Ref& out, PyObject* object) {
    out = Ref::steal(object);
    return object != nullptr ? nullptr : ipc::kMakerRaised;
  }
  static const char* null(Ref& out) { return take(out, Py_NewRef(Py_None)); }
  static const char* boolean(Ref& out, bool value) { return take(out, Py_NewRef(value ? Py_True : Py_False)); }
  static const char* integer(Ref& out, std::int64_t value) { return take(out, PyLong_FromLongLong(value)); }
  static const char* unsigned_integer(Ref& out, std::uint64_t value) {
    return take(out, PyLong_FromUnsignedLongLong(value));
  }
  static const char* number(Ref& out, double value) { return take(out, PyFloat_FromDouble(value)); }
  static const char* text(Ref& out, std::string_view value) {
    if (take(out, PyUnicode_DecodeUTF8(value.data(), static_cast<Py_ssize_t>(value.size()), nullptr)) == nullptr) {
      return nullptr;
    }
    if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError) == 0) return ipc::kMakerRaised;
    PyErr_Clear();
    return "a str is not UTF-8";
  }
  static const char* blob(Ref& out, const std::uint8_t* data, std::size_t size) {
    return take(out, PyBytes_FromStringAndSize(reinterpret_cast<const char*>(data), static_cast<Py_ssize_t>(size)));
  }
  static const char* open_list(Ref& out, std::size_t count) {
    return take(out, PyList_New(static_cast<Py_ssize_t>(count)));
  }
  static const char* set_item(Ref& list, std::size_t i, Ref&& item) {
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item.release());
    return nullptr;
  }
  static const char* open_dict(Ref& out, std::size_t) { return take(out, PyDict_New()); }
  static const char* set_entry(Ref& dict, Ref&& key, Ref&& item) {
    return PyDict_SetItem(dict.get(), key.get(), item.get()) == 0 ? nullptr : ipc::kMakerRaised;
  }
  static const char* close_dict(Ref& dict, std::size_t count) {
    return PyDict_GET_SIZE(dict.get()) == static_cast<Py_ssize_t>(count) ? nullptr : "two keys of a dict are equal";
  }
};

}  // namespace

// GIL: held.
PyObject* decode_value(std::span<const std::byte> bytes) {
  ObjectMaker maker;
  ipc::ValueReader<ObjectMaker> reader(bytes, maker);
  Ref value;
  const char* what = reader.read(value);
  if (what == nullptr) return value.release();
  if (what != ipc::kMakerRaised) {
    PyErr_Format(PyExc_ValueError, "malformed value at byte %zu: %s", reader.failed_at(), what);
  }
  return nullptr;
}

// GIL: held.
PyObject* py_decode_value(PyObject*, PyObject* bytes) {
  Py_buffer view;
  if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE) != 0) return nullptr;
  PyObject* value = decode_value({static_cast<const std::byte*>(view.buf), static_cast<std::size_t>(view.len)});
  PyBuffer_Release(&view);
  return value;
}

}  // namespace samovar::python
