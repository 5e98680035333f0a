#include "python_ext/native/tensor_arguments.h"

#include <algorithm>
#include <string_view>

#include "python_ext/native/tensor.h"

namespace samovar::python {
namespace {

Ref text_of(std::string_view name) { return Ref::steal(PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), nullptr)); }

}  // namespace

bool TensorArguments::names_are_text(const ipc::TensorHeader& header) {
  if (!header.named()) return true;
  for (const ipc::TensorEntry& entry : header.tensors()) {
    if (text_of(entry.name)) continue;
    PyErr_SetString(PyExc_ValueError, "argument: the name of a tensor is not UTF-8");
    return false;
  }
  return true;
}

Ref TensorArguments::make(const ipc::TensorHeader& header, std::span<const std::byte> payload, PyObject* keeper, const TensorMaker& maker) {
  auto* const data = const_cast<std::byte*>(payload.data());  // what is made of it is read-only
  const std::span<const ipc::TensorEntry> entries = header.tensors();
  if (header.named()) {
    Ref dict = Ref::steal(PyDict_New());
    for (std::size_t i = 0; dict && i < entries.size(); ++i) {
      const Ref name = text_of(entries[i].name);
      const Ref one = name ? make_one(entries[i], data + entries[i].offset, keeper, maker) : Ref();
      if (!one || PyDict_SetItem(dict.get(), name.get(), one.get()) != 0) return {};
    }
    return dict;
  }
  if (entries.size() == 1) return make_one(entries.front(), data + entries.front().offset, keeper, maker);
  Ref list = Ref::steal(PyList_New(static_cast<Py_ssize_t>(entries.size())));
  for (std::size_t i = 0; list && i < entries.size(); ++i) {
    Ref one = make_one(entries[i], data + entries[i].offset, keeper, maker);
    if (!one) return {};
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), one.release());
  }
  return list;
}

Ref TensorArguments::make_one(const ipc::TensorEntry& entry, std::byte* data, PyObject* keeper, const TensorMaker& maker) {
  if (maker.kind == TensorMaker::Kind::numpy && numpy_.load()) {
    Ref array = numpy_.array(entry.dtype, entry.item_bytes, entry.shape, data, false, keeper);
    if (array || PyErr_Occurred() != nullptr) return array;
  }
  Ref tensor = make_tensor(tensor_type_, entry.dtype, entry.item_bytes, entry.shape, data, false, keeper);
  if (!tensor || maker.kind != TensorMaker::Kind::callable) return tensor;
  return Ref::steal(PyObject_CallOneArg(maker.callable.get(), tensor.get()));
}

}  // namespace samovar::python
