#include "python_ext/native/tensor.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "python_ext/native/dlpack.h"

namespace samovar::python {
namespace {

TensorObject& tensor_of(PyObject* self) { return *reinterpret_cast<TensorObject*>(self); }

// As the struct module and PEP 3118 write them. Nobody has a letter for bfloat16: it is shown as the bits it is.
constexpr const char* kFormats[] = {"?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d", "H", "Zf", "Zd", nullptr};

void dealloc(PyObject* self) {
  Py_XDECREF(tensor_of(self).keeper);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  TensorObject& tensor = tensor_of(self);
  view->obj = nullptr;
  if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE && !tensor.is_writable) {
    PyErr_SetString(PyExc_BufferError, "this tensor is read-only: other calls may view the same memory; copy it to change it");
    return -1;
  }
  if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && tensor.rank > 1) {
    PyErr_SetString(PyExc_BufferError, "this tensor is C-contiguous");
    return -1;
  }
  view->internal = nullptr;
  view->format = nullptr;
  if ((flags & PyBUF_FORMAT) != 0) {
    if (tensor.dtype == ipc::DType::bytes) {
      const std::string format = std::to_string(tensor.item_bytes) + "s";
      auto* copy = static_cast<char*>(PyMem_Malloc(format.size() + 1));
      if (copy == nullptr) {
        PyErr_NoMemory();
        return -1;
      }
      std::memcpy(copy, format.c_str(), format.size() + 1);
      view->format = copy;
      view->internal = copy;
    } else {
      view->format = const_cast<char*>(kFormats[static_cast<std::size_t>(tensor.dtype)]);
    }
  }
  view->buf = tensor.data;
  view->obj = Py_NewRef(self);
  view->len = tensor.bytes;
  view->itemsize = tensor.item_bytes;
  view->readonly = tensor.is_writable ? 0 : 1;
  const bool shaped = (flags & PyBUF_ND) != 0;
  view->ndim = shaped ? static_cast<int>(tensor.rank) : 1;
  view->shape = shaped ? tensor.dimensions : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? tensor.dimensions + tensor.rank : nullptr;
  view->suboffsets = nullptr;
  return 0;
}

void release_buffer(PyObject*, Py_buffer* view) { PyMem_Free(view->internal); }

PyObject* dtype(PyObject* self, void*) {
  const TensorObject& tensor = tensor_of(self);
  if (tensor.dtype == ipc::DType::bytes) return PyUnicode_FromFormat("S%u", tensor.item_bytes);
  const std::string_view name = ipc::name_of(tensor.dtype);
  return PyUnicode_FromStringAndSize(name.data(), static_cast<Py_ssize_t>(name.size()));
}

PyObject* shape(PyObject* self, void*) {
  const TensorObject& tensor = tensor_of(self);
  PyObject* tuple = PyTuple_New(tensor.rank);
  for (Py_ssize_t i = 0; tuple != nullptr && i < tensor.rank; ++i) {
    PyObject* dimension = PyLong_FromSsize_t(tensor.dimensions[i]);
    if (dimension == nullptr) Py_CLEAR(tuple);
    if (tuple != nullptr) PyTuple_SET_ITEM(tuple, i, dimension);
  }
  return tuple;
}

PyObject* ndim(PyObject* self, void*) { return PyLong_FromSsize_t(tensor_of(self).rank); }
PyObject* itemsize(PyObject* self, void*) { return PyLong_FromUnsignedLong(tensor_of(self).item_bytes); }
PyObject* nbytes(PyObject* self, void*) { return PyLong_FromSsize_t(tensor_of(self).bytes); }
PyObject* readonly(PyObject* self, void*) { return PyBool_FromLong(tensor_of(self).is_writable ? 0 : 1); }

PyObject* repr(PyObject* self) {
  const Ref dtype_text = Ref::steal(dtype(self, nullptr));
  const Ref shape_tuple = Ref::steal(shape(self, nullptr));
  if (!dtype_text || !shape_tuple) return nullptr;
  return PyUnicode_FromFormat("<samovar.Tensor %S %U%s>", shape_tuple.get(), dtype_text.get(), tensor_of(self).is_writable ? "" : ", read-only");
}

Py_ssize_t length(PyObject* self) {
  const TensorObject& tensor = tensor_of(self);
  if (tensor.rank > 0) return tensor.dimensions[0];
  PyErr_SetString(PyExc_TypeError, "a tensor without dimensions has no len()");
  return -1;
}

PyMethodDef kMethods[] = {
    {"__dlpack__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(export_dlpack)), METH_VARARGS | METH_KEYWORDS,
     "__dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None) -> capsule\n\n"
     "For from_dlpack() of PyTorch, JAX, NumPy. A consumer that knows DLPack 1.0 is told that the tensor is read-only; any other\n"
     "one gets a copy of a read-only tensor. BufferError where that is asked not to be made, and for bytes."},
    {"__dlpack_device__", export_dlpack_device, METH_NOARGS, "__dlpack_device__() -> (1, 0): memory of the CPU."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"dtype", dtype, nullptr, "What its elements are, as NumPy calls it: \"float32\", \"bfloat16\", \"S8\".", nullptr},
    {"shape", shape, nullptr, "The dimensions, outermost first.", nullptr},
    {"ndim", ndim, nullptr, "The number of dimensions.", nullptr},
    {"itemsize", itemsize, nullptr, "Bytes of one element.", nullptr},
    {"nbytes", nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"readonly", readonly, nullptr, "Whether it cannot be written.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

const char kDoc[] =
    "An array of C++'s or of a result: elements of one type, C-contiguous, aligned to 64 bytes.\n\n"
    "memoryview(tensor), numpy.asarray(tensor) and torch.from_dlpack(tensor) view the same memory. A view of any of\n"
    "them keeps it. bfloat16 has no letter in the buffer protocol: there its elements are shown as uint16.";

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_repr, reinterpret_cast<void*>(repr)},
                        {Py_sq_length, reinterpret_cast<void*>(length)},
                        {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                        {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {Py_tp_doc, const_cast<char*>(kDoc)},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar.Tensor", offsetof(TensorObject, dimensions), sizeof(Py_ssize_t),
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

// What a letter of the buffer protocol means where elements have `bytes`. False: nothing of ours.
bool read_format(std::string_view format, std::size_t bytes, ipc::DType& out) {
  using ipc::DType;
  if (!format.empty() && (format[0] == '>' || format[0] == '!')) {
    if (bytes > 1) return false;
    format.remove_prefix(1);
  } else if (!format.empty() && (format[0] == '@' || format[0] == '=' || format[0] == '<')) {
    format.remove_prefix(1);
  }
  const auto sized = [&](std::string_view letters, DType first) {
    if (format.size() != 1 || letters.find(format[0]) == letters.npos) return false;
    const int log2 = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : -1;
    out = static_cast<DType>(static_cast<int>(first) + log2);
    return log2 >= 0;
  };
  if (sized("bhilqn", DType::int8) || sized("BHILQN", DType::uint8)) return true;
  const struct {
    std::string_view format;
    DType dtype;
  } others[] = {{"", DType::uint8},    {"?", DType::bool_},    {"e", DType::float16},    {"f", DType::float32},
                {"d", DType::float64}, {"Zf", DType::complex64}, {"Zd", DType::complex128}, {"c", DType::bytes}};
  for (const auto& other : others) {
    if (format != other.format) continue;
    out = other.dtype;
    return ipc::item_bytes_of(out) == bytes || out == DType::bytes;
  }
  if (format.size() > 1 && format.back() == 's' && format.find_first_not_of("0123456789") == format.size() - 1) {
    out = DType::bytes;
    return bytes > 0;
  }
  return false;
}

}  // namespace

PyObject* make_tensor_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

Ref make_tensor(PyTypeObject* type, ipc::DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::byte* data,
                bool writable, PyObject* keeper) {
  const auto rank = static_cast<Py_ssize_t>(shape.size());
  Ref object = Ref::steal(type->tp_alloc(type, 2 * rank));
  if (!object) return {};
  TensorObject& tensor = tensor_of(object.get());
  tensor.keeper = Py_NewRef(keeper);
  tensor.data = data;
  tensor.dtype = dtype;
  tensor.is_writable = writable;
  tensor.item_bytes = item_bytes;
  tensor.rank = rank;
  // Strides of an empty tensor are never followed, but may not overflow either: its zeros count as ones.
  Py_ssize_t stride = item_bytes;
  bool empty = false;
  for (Py_ssize_t i = rank; i-- > 0;) {
    const auto dimension = static_cast<Py_ssize_t>(shape[static_cast<std::size_t>(i)]);
    tensor.dimensions[i] = dimension;
    tensor.dimensions[rank + i] = stride;
    empty |= dimension == 0;
    stride *= dimension == 0 ? 1 : dimension;
  }
  tensor.bytes = empty ? 0 : stride;
  return object;
}

void describe_tensor(PyObject* object, TensorSource& out) {
  const TensorObject& tensor = tensor_of(object);
  out.dtype = tensor.dtype;
  out.item_bytes = tensor.item_bytes;
  out.rank = static_cast<std::size_t>(tensor.rank);
  std::memcpy(out.dimensions.data(), tensor.dimensions, out.rank * sizeof(Py_ssize_t));
  out.data = tensor.data;
  out.is_contiguous = true;
  out.keeper = Ref::borrow(object);
}

bool describe_buffer(PyObject* object, TensorSource& out) {
  Ref view = Ref::steal(PyMemoryView_FromObject(object));
  if (!view) return false;
  const Py_buffer& buffer = *PyMemoryView_GET_BUFFER(view.get());
  const char* format = buffer.format != nullptr ? buffer.format : "B";
  if (!read_format(format, static_cast<std::size_t>(buffer.itemsize), out.dtype)) {
    PyErr_Format(PyExc_TypeError, "a buffer of format \"%s\" cannot be sent; its elements must be numbers of this machine's byte order, bool or bytes", format);
    return false;
  }
  if (static_cast<std::size_t>(buffer.ndim) > ipc::kTensorRankMax || buffer.suboffsets != nullptr) {
    PyErr_Format(PyExc_TypeError, "a buffer of %d dimensions%s cannot be sent", buffer.ndim, buffer.suboffsets != nullptr ? " with suboffsets" : "");
    return false;
  }
  out.item_bytes = static_cast<std::uint32_t>(buffer.itemsize);
  out.rank = static_cast<std::size_t>(buffer.ndim);
  std::memcpy(out.dimensions.data(), buffer.shape, out.rank * sizeof(Py_ssize_t));
  std::memcpy(out.strides.data(), buffer.strides, out.rank * sizeof(Py_ssize_t));
  out.look_at_strides();
  out.data = static_cast<const std::byte*>(buffer.buf);
  out.keeper = std::move(view);
  return true;
}

bool read_dtype_name(const char* name, ipc::DType& out, std::uint32_t& item_bytes) {
  for (std::uint8_t i = 0; i < ipc::kDTypeMax; ++i) {
    if (ipc::name_of(static_cast<ipc::DType>(i)) != name) continue;
    out = static_cast<ipc::DType>(i);
    item_bytes = ipc::item_bytes_of(out);
    return true;
  }
  if (name[0] != 'S' || name[1] < '1' || name[1] > '9') return false;
  char* end;
  const unsigned long bytes = std::strtoul(name + 1, &end, 10);
  if (*end != '\0' || bytes > INT32_MAX) return false;
  out = ipc::DType::bytes;
  item_bytes = static_cast<std::uint32_t>(bytes);
  return true;
}

}  // namespace samovar::python
