#include "python_ext/native/tensor_result.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "python_ext/native/dlpack.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/tensor.h"

namespace samovar::python {
namespace {

constexpr unsigned long kBasicTypes = Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS | Py_TPFLAGS_BYTES_SUBCLASS |
                                      Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS | Py_TPFLAGS_BASE_EXC_SUBCLASS | Py_TPFLAGS_TYPE_SUBCLASS;

// NumPy's scalars have the buffer protocol, too, and are values that say .item().
bool is_numpy_scalar(const PyTypeObject* type) {
  for (; type != nullptr; type = type->tp_base) {
    if (std::strcmp(type->tp_name, "numpy.generic") == 0) return true;
  }
  return false;
}

// Whether `object` has __dlpack__. No exception is left.
bool has_dlpack(PyObject* object) {
  const Ref method = Ref::steal(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(object)), "__dlpack__"));
  if (!method) PyErr_Clear();
  return static_cast<bool>(method);
}

// Puts the place in a result before the words of the exception that is set, where they are ours.
void say_where(const std::string& where) {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  const Ref text = Ref::steal(value != nullptr ? PyObject_Str(value) : nullptr);
  if (text && (type == PyExc_TypeError || type == PyExc_ValueError || type == PyExc_BufferError)) {
    PyErr_Format(type, "%s: %U", where.c_str(), text.get());
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return;
  }
  PyErr_Clear();
  PyErr_Restore(type, value, traceback);
}

}  // namespace

bool TensorResult::takes(PyObject* result) {
  if (PyDict_Check(result)) {
    Py_ssize_t at = 0;
    PyObject* first;
    return PyDict_Next(result, &at, nullptr, &first) != 0 && is_array(first);
  }
  if (PyList_Check(result) || PyTuple_Check(result)) {
    return PySequence_Fast_GET_SIZE(result) > 0 && is_array(PySequence_Fast_GET_ITEM(result, 0));
  }
  return is_array(result);
}

bool TensorResult::is_array(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  if (object == Py_None || (type->tp_flags & kBasicTypes) != 0 || PyFloat_Check(object) || PyMemoryView_Check(object) || PyByteArray_Check(object)) {
    return false;
  }
  if (type == tensor_type_ || (numpy_.load_if_imported() && numpy_.is_array(object))) return true;
  if (is_numpy_scalar(type)) return false;
  return PyObject_CheckBuffer(object) != 0 || has_dlpack(object);
}

bool TensorResult::read(PyObject* result) {
  clear();
  bool read;
  if (PyDict_Check(result)) {
    read = read_dict(result);
  } else if (PyList_Check(result) || PyTuple_Check(result)) {
    read = read_items(result);
  } else {
    read = read_one(result, nullptr, [] { return std::string("result"); });
  }
  if (!read) clear();
  return read;
}

bool TensorResult::read_dict(PyObject* dict) {
  // What an item does while it is read (__dlpack__) may change the dict: all are owned first.
  const Ref items = Ref::steal(PyDict_Items(dict));
  if (!items) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
    PyObject* name = PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 0);
    if (!PyUnicode_Check(name)) {
      PyErr_Format(PyExc_TypeError, "result: the tensors of a dict are named by str, and %R is %s", name, Py_TYPE(name)->tp_name);
      return false;
    }
    if (PyUnicode_GET_LENGTH(name) == 0) {
      PyErr_SetString(PyExc_ValueError, "result: the name of a tensor is empty; return a list of tensors without names");
      return false;
    }
    if (!read_one(PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 1), name, [&] { return "result[\"" + to_utf8(name) + "\"]"; })) return false;
  }
  return true;
}

bool TensorResult::read_items(PyObject* items) {
  const Ref owned = Ref::steal(PySequence_Tuple(items));
  if (!owned) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(owned.get()); ++i) {
    if (!read_one(PyTuple_GET_ITEM(owned.get(), i), nullptr, [&] { return "result[" + std::to_string(i) + "]"; })) return false;
  }
  return true;
}

// `where()` says where in the result `object` is.
bool TensorResult::read_one(PyObject* object, PyObject* name, const auto& where) {
  TensorSource& source = sources_.emplace_back();
  if (describe(object, source) && place(name)) return true;
  say_where(where());
  return false;
}

bool TensorResult::describe(PyObject* object, TensorSource& out) {
  if (numpy_.is_array(object)) return numpy_.describe(object, out);
  if (Py_TYPE(object) == tensor_type_) {
    describe_tensor(object, out);
    return true;
  }
  if (!is_array(object)) {
    PyErr_Format(PyExc_TypeError, "%s stands beside tensors, and is none; return either tensors or values", Py_TYPE(object)->tp_name);
    return false;
  }
  if (PyObject_CheckBuffer(object) == 0) return describe_dlpack(object, out);
  if (describe_buffer(object, out)) return true;
  if (!has_dlpack(object)) return false;
  PyErr_Clear();  // what the buffer protocol cannot say, such as bfloat16
  return describe_dlpack(object, out);
}

// Gives the last of sources_ its place.
bool TensorResult::place(PyObject* name) {
  const TensorSource& source = sources_.back();
  std::string_view text;
  if (name != nullptr) {
    Py_ssize_t size;
    const char* utf8 = PyUnicode_AsUTF8AndSize(name, &size);
    if (utf8 == nullptr) {
      PyErr_SetString(PyExc_ValueError, "its name cannot be said in UTF-8");
      return false;
    }
    text = {utf8, static_cast<std::size_t>(size)};
    texts_.emplace_back(text);
  }
  const auto offset = layout_.add(source.dtype, source.item_bytes, source.shape(), text);
  if (!offset) {
    PyErr_SetString(PyExc_ValueError, offset.error().c_str());
    return false;
  }
  offsets_.push_back(*offset);
  return true;
}

void TensorResult::write(std::byte* out) const {
  write_elements(out);
  layout_.write_header(out);
}

void TensorResult::write_elements(std::byte* out) const {
  for (std::size_t i = 0; i < sources_.size(); ++i) sources_[i].copy_to(out + offsets_[i], bytes_of(sources_[i]));
  layout_.write_gaps(out);
}

bool TensorResult::settle_in(std::span<const std::byte> block) {
  for (const TensorSource& source : sources_) {
    if (!source.is_contiguous || source.data < block.data() || source.data >= block.data() + block.size()) return false;
    const auto offset = static_cast<std::uint64_t>(source.data - block.data());
    if (offset % ipc::alignment_of(source.dtype) != 0 || bytes_of(source) > block.size() - offset) return false;
  }
  layout_.clear();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const TensorSource& source = sources_[i];
    layout_.add_placed(source.dtype, source.item_bytes, source.shape(), texts_.empty() ? std::string_view() : std::string_view(texts_[i]),
                       static_cast<std::uint64_t>(source.data - block.data()));
  }
  return true;
}

void TensorResult::clear() {
  // What goes may run code that comes back here.
  std::vector<TensorSource> sources = std::exchange(sources_, {});
  texts_.clear();
  offsets_.clear();
  layout_.clear();
  sources.clear();
  if (sources_.empty()) sources_.swap(sources);
}

}  // namespace samovar::python
