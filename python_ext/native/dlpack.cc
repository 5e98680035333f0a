#include "python_ext/native/dlpack.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "python_ext/native/tensor.h"

namespace samovar::python {
namespace {

// The structs of DLPack's ABI, versions 0 and 1.
struct Device {
  std::int32_t type;
  std::int32_t id;
};
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Array {
  void* data;
  Device device;
  std::int32_t rank;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: C-contiguous
  std::uint64_t byte_offset;
};
struct Unversioned {
  Array array;
  void* context;
  void (*deleter)(Unversioned*);
};
struct Versioned {
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(Versioned*);
  std::uint64_t flags;
  Array array;
};

constexpr std::int32_t kCpu = 1;
constexpr std::int32_t kCudaHost = 3;  // pinned, and read like any other
constexpr std::uint64_t kReadOnly = 1;
constexpr std::uint64_t kCopied = 2;
constexpr const char* kUnversionedName = "dltensor";
constexpr const char* kVersionedName = "dltensor_versioned";

enum TypeCode : std::uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

DataType data_type_of(ipc::DType dtype) {
  const auto bits = static_cast<std::uint8_t>(ipc::item_bytes_of(dtype) * 8);
  if (dtype == ipc::DType::bool_) return {kBool, 8, 1};
  if (dtype <= ipc::DType::int64) return {kInt, bits, 1};
  if (dtype <= ipc::DType::uint64) return {kUint, bits, 1};
  if (dtype <= ipc::DType::float64) return {kFloat, bits, 1};
  if (dtype == ipc::DType::bfloat16) return {kBfloat, bits, 1};
  return {kComplex, bits, 1};
}

std::optional<ipc::DType> dtype_of(DataType type) {
  for (std::uint8_t i = 0; i < ipc::kDTypeMax; ++i) {
    const auto dtype = static_cast<ipc::DType>(i);
    const DataType known = data_type_of(dtype);
    if (known.code == type.code && known.bits == type.bits && known.lanes == type.lanes) return dtype;
  }
  return std::nullopt;
}

// What an exported capsule owns; the ABI's struct comes first, so that its address is the capsule's pointer.
template <typename Managed>
struct Exported {
  Managed managed{};
  PyObject* tensor = nullptr;  // whose memory it is; null: a copy
  std::unique_ptr<std::byte[], decltype(&std::free)> copy{nullptr, &std::free};
  std::int64_t dimensions[2 * ipc::kTensorRankMax];

  // GIL: not needed: a consumer may let go in any thread, and at any time until the interpreter ends.
  static void free(Managed* managed) {
    auto* exported = static_cast<Exported*>(managed->context);
    if (exported->tensor != nullptr && Py_IsInitialized() != 0) {
      const PyGILState_STATE state = PyGILState_Ensure();
      Py_DECREF(exported->tensor);
      PyGILState_Release(state);
    }
    delete exported;
  }
};

// A capsule that nobody has taken, and so still has its name, frees what it holds.
template <typename Managed>
void end_of_capsule(PyObject* capsule) {
  const char* name = std::is_same_v<Managed, Versioned> ? kVersionedName : kUnversionedName;
  if (PyCapsule_IsValid(capsule, name) == 0) return;
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  managed->deleter(managed);
}

template <typename Managed>
PyObject* exported_as(PyObject* self, bool copy) {
  const auto& tensor = *reinterpret_cast<TensorObject*>(self);
  std::unique_ptr<Exported<Managed>> exported(new (std::nothrow) Exported<Managed>);
  if (!exported) return PyErr_NoMemory();
  void* data = tensor.data;
  if (copy) {
    const auto bytes = (static_cast<std::size_t>(tensor.bytes) + ipc::kTensorAlignment) & ~(ipc::kTensorAlignment - 1);
    exported->copy.reset(static_cast<std::byte*>(std::aligned_alloc(ipc::kTensorAlignment, bytes)));
    if (!exported->copy) return PyErr_NoMemory();
    std::memcpy(exported->copy.get(), tensor.data, static_cast<std::size_t>(tensor.bytes));
    data = exported->copy.get();
  }
  for (Py_ssize_t i = 0; i < tensor.rank; ++i) {
    exported->dimensions[i] = tensor.dimensions[i];
    exported->dimensions[tensor.rank + i] = tensor.dimensions[tensor.rank + i] / tensor.item_bytes;
  }
  Managed& managed = exported->managed;
  managed.array = {.data = data,
                   .device = {kCpu, 0},
                   .rank = static_cast<std::int32_t>(tensor.rank),
                   .dtype = data_type_of(tensor.dtype),
                   .shape = exported->dimensions,
                   .strides = exported->dimensions + tensor.rank,
                   .byte_offset = 0};
  managed.context = exported.get();
  managed.deleter = &Exported<Managed>::free;
  const char* name = kUnversionedName;
  if constexpr (std::is_same_v<Managed, Versioned>) {
    name = kVersionedName;
    managed.major = 1;
    managed.minor = 0;
    managed.flags = copy ? kCopied : tensor.is_writable ? 0 : kReadOnly;
  }
  PyObject* capsule = PyCapsule_New(&managed, name, end_of_capsule<Managed>);
  if (capsule == nullptr) return nullptr;
  if (!copy) exported->tensor = Py_NewRef(self);
  exported.release();
  return capsule;
}

// The first number of a version or device given as a tuple; -1 with an exception.
long first_of(PyObject* tuple, const char* what) {
  long first;
  long second;
  if (!PyTuple_Check(tuple) || PyArg_ParseTuple(tuple, "ll", &first, &second) == 0) {
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "%s is a tuple of two ints", what);
    return -1;
  }
  return first;
}

}  // namespace

PyObject* export_dlpack(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
  PyObject* stream = Py_None;
  PyObject* max_version = Py_None;
  PyObject* device = Py_None;
  PyObject* wants_copy = Py_None;
  if (PyArg_ParseTupleAndKeywords(arguments, keywords, "|$OOOO:__dlpack__", const_cast<char**>(names), &stream, &max_version, &device, &wants_copy) == 0) {
    return nullptr;
  }
  const auto& tensor = *reinterpret_cast<TensorObject*>(self);
  if (stream != Py_None) {
    PyErr_SetString(PyExc_BufferError, "memory of the CPU has no stream; pass stream=None");
    return nullptr;
  }
  if (tensor.dtype == ipc::DType::bytes) {
    PyErr_SetString(PyExc_BufferError, "DLPack has no type for bytes; use memoryview(tensor)");
    return nullptr;
  }
  if (device != Py_None) {
    const long type = first_of(device, "dl_device");
    if (type < 0) return nullptr;
    if (type != kCpu) {
      PyErr_SetString(PyExc_BufferError, "this tensor is memory of the CPU, device (1, 0); copy it to another device afterwards");
      return nullptr;
    }
  }
  bool versioned = false;
  if (max_version != Py_None) {
    const long major = first_of(max_version, "max_version");
    if (major < 0) return nullptr;
    versioned = major >= 1;
  }
  const int copy_asked = wants_copy == Py_None ? 0 : PyObject_IsTrue(wants_copy);
  if (copy_asked < 0) return nullptr;
  // A consumer that cannot be told that the memory is read-only would hand out a writable array.
  const bool must_copy = !versioned && !tensor.is_writable;
  if (must_copy && wants_copy != Py_None && copy_asked == 0) {
    PyErr_SetString(PyExc_BufferError, "this tensor is read-only, which DLPack before 1.0 cannot say: it can only be copied");
    return nullptr;
  }
  const bool copy = must_copy || copy_asked != 0;
  return versioned ? exported_as<Versioned>(self, copy) : exported_as<Unversioned>(self, copy);
}

PyObject* export_dlpack_device(PyObject*, PyObject*) { return Py_BuildValue("(ii)", kCpu, 0); }

bool describe_dlpack(PyObject* object, TensorSource& out) {
  const Ref device = Ref::steal(PyObject_CallMethod(object, "__dlpack_device__", nullptr));
  if (!device) return false;
  const long type = first_of(device.get(), "what __dlpack_device__() returns");
  if (type < 0) return false;
  if (type != kCpu && type != kCudaHost) {
    PyErr_Format(PyExc_TypeError, "%s on device %R cannot be sent; copy it to the CPU first", Py_TYPE(object)->tp_name, device.get());
    return false;
  }
  const Ref method = Ref::steal(PyObject_GetAttrString(object, "__dlpack__"));
  const Ref none = Ref::steal(PyTuple_New(0));
  const Ref version = Ref::steal(Py_BuildValue("{s(ii)}", "max_version", 1, 0));
  if (!method || !none || !version) return false;
  Ref capsule = Ref::steal(PyObject_Call(method.get(), none.get(), version.get()));
  if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError) != 0) {  // it is older than DLPack 1.0
    PyErr_Clear();
    capsule = Ref::steal(PyObject_CallNoArgs(method.get()));
  }
  if (!capsule) return false;
  // The capsule keeps its name: so it stays the owner, and frees the array when we let go of it.
  const Array* array = nullptr;
  if (PyCapsule_IsValid(capsule.get(), kVersionedName) != 0) {
    const auto* managed = static_cast<Versioned*>(PyCapsule_GetPointer(capsule.get(), kVersionedName));
    if (managed->major == 1) array = &managed->array;
  } else if (PyCapsule_IsValid(capsule.get(), kUnversionedName) != 0) {
    array = &static_cast<Unversioned*>(PyCapsule_GetPointer(capsule.get(), kUnversionedName))->array;
  }
  if (array == nullptr) {
    PyErr_Format(PyExc_TypeError, "what __dlpack__() of %s returns is no array of DLPack 0 or 1", Py_TYPE(object)->tp_name);
    return false;
  }
  const std::optional<ipc::DType> dtype = dtype_of(array->dtype);
  if (!dtype || array->rank < 0 || static_cast<std::size_t>(array->rank) > ipc::kTensorRankMax) {
    PyErr_Format(PyExc_TypeError, "%s cannot be sent: its elements are of DLPack's type %d with %d bits and %d lanes, in %d dimensions",
                 Py_TYPE(object)->tp_name, array->dtype.code, array->dtype.bits, array->dtype.lanes, static_cast<int>(array->rank));
    return false;
  }
  out.dtype = *dtype;
  out.item_bytes = ipc::item_bytes_of(*dtype);
  out.rank = static_cast<std::size_t>(array->rank);
  for (std::size_t i = 0; i < out.rank; ++i) {
    out.dimensions[i] = static_cast<std::uint64_t>(array->shape[i]);
    if (array->strides != nullptr) out.strides[i] = array->strides[i] * static_cast<std::ptrdiff_t>(out.item_bytes);
  }
  out.is_contiguous = true;
  if (array->strides != nullptr) out.look_at_strides();
  out.data = static_cast<const std::byte*>(array->data) + array->byte_offset;
  out.keeper = std::move(capsule);
  return true;
}

}  // namespace samovar::python
