#include "python_ext/native/results.h"

#include "python_ext/native/flat_payload.h"

namespace samovar::python {
namespace {

std::span<const std::byte> as_bytes(const char* data, Py_ssize_t size) {
  return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

// The bytes of a flat memoryview, without the cost of a buffer export: for a look while the GIL is held. False: not flat.
bool flat_bytes(PyObject* object, std::span<const std::byte>& out) {
  const auto* view = reinterpret_cast<PyMemoryViewObject*>(object);
  if ((view->flags & _Py_MEMORYVIEW_RELEASED) != 0 || (view->mbuf->flags & _Py_MANAGED_BUFFER_RELEASED) != 0) {
    PyErr_SetString(PyExc_ValueError, "result: memoryview has been released");
    return false;
  }
  if ((view->flags & (_Py_MEMORYVIEW_C | _Py_MEMORYVIEW_SCALAR)) == 0) {
    PyErr_SetString(PyExc_TypeError, "result: memoryview is not C-contiguous; return bytes(view)");
    return false;
  }
  out = as_bytes(static_cast<const char*>(view->view.buf), view->view.len);
  return true;
}

}  // namespace

bool ResultEncoder::encode(PyObject* result, Encoded& out) {
  if (result == Py_None) return true;
  if (PyBytes_Check(result)) {
    out = {ipc::Kind::bytes, as_bytes(PyBytes_AS_STRING(result), PyBytes_GET_SIZE(result))};
    return true;
  }
  if (PyMemoryView_Check(result)) {
    out.kind = ipc::Kind::bytes;
    return flat_bytes(result, out.bytes);
  }
  if (PyUnicode_Check(result)) {
    Py_ssize_t size;
    if (const char* text = PyUnicode_AsUTF8AndSize(result, &size)) {
      out = {ipc::Kind::text, as_bytes(text, size)};
      return true;
    }
    PyErr_Clear();  // a lone surrogate: the encoder says so in its own words
  }
  if (tensors_.is_numpy(result)) return encode_tensors(result, out);
  if (PyByteArray_Check(result)) {
    out = {ipc::Kind::bytes, as_bytes(PyByteArray_AS_STRING(result), PyByteArray_GET_SIZE(result))};
    return true;
  }
  if (is_flatbuffer(result)) {
    out.kind = ipc::Kind::flatbuffer;
    return flatbuffer_bytes(result, out.bytes, rebuilt_);
  }
  if (tensors_.takes(result)) return encode_tensors(result, out);
  if (!values_.encode(result)) return false;
  out = {ipc::Kind::value, values_.bytes()};
  return true;
}

bool ResultEncoder::encode_tensors(PyObject* result, Encoded& out) {
  if (!tensors_.read(result)) return false;
  out.kind = ipc::Kind::tensor;
  if (tensors_.payload_bytes() > inline_bytes_max_) {
    out.tensors = &tensors_;
    return true;
  }
  small_tensors_.resize(tensors_.payload_bytes());
  tensors_.write(small_tensors_.data());
  out.bytes = small_tensors_;
  tensors_.clear();
  return true;
}

}  // namespace samovar::python
