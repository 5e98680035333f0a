#include "python_ext/native/numpy.h"

#include <cstring>
#include <string_view>

namespace samovar::python {
namespace {

// Places in the table of NumPy's C API.
enum Slot : std::size_t {
  kAbiVersion = 0,
  kArrayType = 2,
  kDtypeOfNumber = 45,
  kNew = 93,
  kNewFromDtype = 94,
  kConvertDtype = 174,
  kSetBase = 282,
};
constexpr unsigned kAbi2 = 0x0200'0000;

// Flags of an array.
constexpr int kContiguous = 0x0001;
constexpr int kFortranContiguous = 0x0002;
constexpr int kAligned = 0x0100;
constexpr int kWriteable = 0x0400;

// NumPy's numbers of types. Some have two: int64 is `long` and `long long`.
constexpr int kNumberOfBytes = 18;
constexpr std::int8_t kNumbers[] = {0, 1, 3, 5, 7, 2, 4, 6, 8, 23, 11, 12, -1, 14, 15, kNumberOfBytes};  // by DType
constexpr std::int8_t kNone = -1;
constexpr std::int8_t kDTypes[] = {0, 1, 5, 2, 6, 3, 7, 4, 8, 4, 8, 10, 11, kNone, 13, 14, kNone, kNone, 15, kNone, kNone, kNone, kNone, 9};
static_assert(sizeof(long) == 8 && sizeof(long long) == 8);

bool ends_with_bfloat16(const char* name) { return std::string_view(name).ends_with("bfloat16"); }

}  // namespace

struct NumPy::Dtype {
  PyObject_HEAD
  PyTypeObject* scalar_type;
  char kind, type, byte_order, flags1;
  int number;
  // NumPy 1: the size is an int and comes now. NumPy 2: flags of 64 bits, then the size.
  union {
    int item_bytes1;
    struct {
      std::uint64_t flags;
      Py_ssize_t item_bytes;
    } two;
  };
};

struct NumPy::Array {
  PyObject_HEAD
  char* data;
  int rank;
  Py_ssize_t* dimensions;
  Py_ssize_t* strides;
  PyObject* base;
  Dtype* dtype;
  int flags;
};

bool NumPy::load() {
  if (array_type_ != nullptr) return true;
  if (looked_) return false;
  looked_ = true;
  if (find_api("numpy._core._multiarray_umath") || find_api("numpy.core._multiarray_umath")) return true;
  return false;
}

bool NumPy::load_if_imported() {
  if (array_type_ != nullptr) return true;
  PyObject* modules = PyImport_GetModuleDict();
  return modules != nullptr && PyDict_GetItemString(modules, "numpy") != nullptr && load();
}

// No exception is left: where there is no NumPy there are no arrays.
bool NumPy::find_api(const char* module) {
  const Ref imported = Ref::steal(PyImport_ImportModule(module));
  const Ref capsule = Ref::steal(imported ? PyObject_GetAttrString(imported.get(), "_ARRAY_API") : nullptr);
  auto* const* table = static_cast<void* const*>(capsule ? PyCapsule_GetPointer(capsule.get(), nullptr) : nullptr);
  if (table == nullptr) {
    PyErr_Clear();
    return false;
  }
  abi_ = reinterpret_cast<unsigned (*)()>(table[kAbiVersion])();
  dtype_of_number_ = reinterpret_cast<DtypeOfNumber>(table[kDtypeOfNumber]);
  new_ = reinterpret_cast<New>(table[kNew]);
  new_from_dtype_ = reinterpret_cast<NewFromDtype>(table[kNewFromDtype]);
  set_base_ = reinterpret_cast<SetBase>(table[kSetBase]);
  convert_dtype_ = reinterpret_cast<ConvertDtype>(table[kConvertDtype]);
  array_type_ = static_cast<PyTypeObject*>(table[kArrayType]);
  return true;
}

PyObject* NumPy::bfloat16() {
  if (!looked_for_bfloat16_) {
    looked_for_bfloat16_ = true;
    const Ref module = Ref::steal(PyImport_ImportModule("ml_dtypes"));
    const Ref type = Ref::steal(module ? PyObject_GetAttrString(module.get(), "bfloat16") : nullptr);
    PyObject* dtype = nullptr;
    if (type && convert_dtype_(type.get(), &dtype) != 0) bfloat16_ = Ref::steal(dtype);
    PyErr_Clear();
  }
  return bfloat16_.get();
}

// Borrowed. Null with an exception, or without one where NumPy has no such dtype. Requires: not bytes.
PyObject* NumPy::dtype_object(ipc::DType dtype) {
  if (dtype == ipc::DType::bfloat16) return bfloat16();
  Ref& known = dtypes_[static_cast<std::size_t>(dtype)];
  if (!known) known = Ref::steal(dtype_of_number_(kNumbers[static_cast<std::size_t>(dtype)]));
  return known.get();
}

Ref NumPy::array(ipc::DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::byte* data, bool writable, PyObject* keeper) {
  static_assert(sizeof(Py_ssize_t) == sizeof(std::uint64_t));
  const auto* dimensions = reinterpret_cast<const Py_ssize_t*>(shape.data());
  const int rank = static_cast<int>(shape.size());
  const int flags = kContiguous | kAligned | (writable ? kWriteable : 0);
  Ref array;
  if (dtype == ipc::DType::bytes) {
    array = Ref::steal(new_(array_type_, rank, dimensions, kNumberOfBytes, nullptr, data, static_cast<int>(item_bytes), flags, nullptr));
  } else {
    PyObject* const known = dtype_object(dtype);
    if (known == nullptr) return {};
    array = Ref::steal(new_from_dtype_(array_type_, Py_NewRef(known), rank, dimensions, nullptr, data, flags, nullptr));
  }
  if (!array || set_base_(array.get(), Py_NewRef(keeper)) != 0) return {};
  return array;
}

PyObject* NumPy::base_of(PyObject* array) const { return reinterpret_cast<const Array*>(array)->base; }

bool NumPy::is_unshared(PyObject* object, PyObject* keeper) const {
  if (Py_TYPE(object) != array_type_ || Py_REFCNT(object) != 1 || Py_REFCNT(keeper) != 1) return false;
  const auto* weak_references = reinterpret_cast<PyObject* const*>(reinterpret_cast<const char*>(object) + array_type_->tp_weaklistoffset);
  return reinterpret_cast<const Array*>(object)->base == keeper && *weak_references == nullptr;
}

bool NumPy::renew(PyObject* object, ipc::DType dtype, std::span<const std::uint64_t> shape, std::byte* data, bool writable) const {
  auto& array = *reinterpret_cast<Array*>(object);
  const int flags = kContiguous | kAligned | (writable ? kWriteable : 0);
  if (dtype == ipc::DType::bytes || static_cast<std::size_t>(array.rank) != shape.size() || (array.flags & ~kFortranContiguous) != flags ||
      reinterpret_cast<PyObject*>(array.dtype) != dtypes_[static_cast<std::size_t>(dtype)].get()) {
    return false;
  }
  auto stride = static_cast<Py_ssize_t>(ipc::item_bytes_of(dtype));
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (static_cast<std::uint64_t>(array.dimensions[i]) != shape[i] || array.strides[i] != stride) return false;
    stride *= array.dimensions[i];
  }
  array.data = reinterpret_cast<char*>(data);
  return true;
}

std::uint32_t NumPy::item_bytes_of(const Dtype& dtype) const {
  return static_cast<std::uint32_t>(abi_ >= kAbi2 ? dtype.two.item_bytes : dtype.item_bytes1);
}

// False: no DType is that.
bool NumPy::look_at(const Dtype& dtype, ipc::DType& out, std::uint32_t& item_bytes) const {
  if (dtype.byte_order == '>') return false;
  if (dtype.number >= 0 && static_cast<std::size_t>(dtype.number) < sizeof kDTypes && kDTypes[dtype.number] != kNone) {
    out = static_cast<ipc::DType>(kDTypes[dtype.number]);
  } else if (item_bytes_of(dtype) == 2 && dtype.scalar_type != nullptr && ends_with_bfloat16(dtype.scalar_type->tp_name)) {
    out = ipc::DType::bfloat16;
  } else {
    return false;
  }
  item_bytes = out == ipc::DType::bytes ? item_bytes_of(dtype) : ipc::item_bytes_of(out);
  return item_bytes != 0;
}

bool NumPy::describe(PyObject* object, TensorSource& out) {
  const auto& array = *reinterpret_cast<const Array*>(object);
  for (const PyTypeObject* type = Py_TYPE(object); type != array_type_; type = type->tp_base) {
    if (std::strcmp(type->tp_name, "MaskedArray") != 0) continue;
    PyErr_SetString(PyExc_TypeError, "a MaskedArray cannot be sent, its mask would be lost; .filled() makes it an array");
    return false;
  }
  if (!look_at(*array.dtype, out.dtype, out.item_bytes)) {
    const char* advice = "send numbers, bool or bytes, each array by itself";
    if (array.dtype->byte_order == '>') {
      advice = "it is not of this machine's byte order; .astype(dtype.newbyteorder('=')) makes it so";
    } else if (array.dtype->kind == 'O') {
      advice = "its elements are Python objects; .tolist() makes it a value, .astype() numbers";
    } else if (array.dtype->kind == 'U') {
      advice = "its elements are text; .tolist() makes it a value, .astype('S') bytes";
    } else if (array.dtype->kind == 'M' || array.dtype->kind == 'm') {
      advice = ".view('int64') makes it numbers";
    }
    PyErr_Format(PyExc_TypeError, "an array of dtype %S cannot be sent: %s", array.dtype, advice);
    return false;
  }
  if (static_cast<std::size_t>(array.rank) > ipc::kTensorRankMax) {
    PyErr_Format(PyExc_TypeError, "an array of %d dimensions cannot be sent; %zu is the most", array.rank, ipc::kTensorRankMax);
    return false;
  }
  out.rank = static_cast<std::size_t>(array.rank);
  std::memcpy(out.dimensions.data(), array.dimensions, out.rank * sizeof(Py_ssize_t));
  out.is_contiguous = (array.flags & kContiguous) != 0;
  if (!out.is_contiguous) std::memcpy(out.strides.data(), array.strides, out.rank * sizeof(Py_ssize_t));
  out.data = reinterpret_cast<const std::byte*>(array.data);
  out.keeper = Ref::borrow(object);
  return true;
}

bool NumPy::read_dtype(PyObject* object, ipc::DType& out, std::uint32_t& item_bytes) {
  PyObject* converted = nullptr;
  if (convert_dtype_(object, &converted) == 0) return false;
  const Ref dtype = Ref::steal(converted);
  if (look_at(*reinterpret_cast<const Dtype*>(converted), out, item_bytes)) return true;
  PyErr_Format(PyExc_TypeError, "dtype %S cannot be sent; take a number of this machine's byte order, bool or bytes (\"S8\")", converted);
  return false;
}

}  // namespace samovar::python
