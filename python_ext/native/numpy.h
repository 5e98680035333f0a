// NumPy: what a worker needs of it, found at run time. Samovar does not depend on NumPy, neither to build nor to run.
//
// An array made by NumPy's Python functions costs microseconds, so its C functions are called. Those used here, and the structs
// of an array and of the beginning of a dtype, have had the same place in its ABI since NumPy 1.7, and NumPy 2 has kept them.
// Every function requires the GIL and holds it throughout; load() imports modules.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/tensor.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/tensor_source.h"

namespace samovar::python {

class NumPy {
 public:
  // Whether it can be used. Imports it, the first time; where there is none, or one that is too strange, that is final.
  bool load();

  // The same, but only if something else has imported it.
  bool load_if_imported();

  // Whether `object` is an array of NumPy. Never loads: before NumPy is imported nothing is.
  bool is_array(PyObject* object) const { return array_type_ != nullptr && PyObject_TypeCheck(object, array_type_); }

  // A new array over `data`, which `keeper` keeps. Null with an exception, or without one where NumPy has no such dtype.
  // Requires: load().
  Ref array(ipc::DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::byte* data, bool writable, PyObject* keeper);

  // What keeps an array's memory, borrowed; null: it does itself. Requires: is_array().
  PyObject* base_of(PyObject* array) const;

  // Whether nobody has `object`, an array over what `keeper` keeps, or its keeper, but for their one owner: it is as good as freed.
  bool is_unshared(PyObject* object, PyObject* keeper) const;

  // Makes an array that is unshared into one over `data`, as array() would. False: it is another one. (A handler may have given it another
  // shape or dtype.)
  bool renew(PyObject* array, ipc::DType dtype, std::span<const std::uint64_t> shape, std::byte* data, bool writable) const;

  // What an array is. False with a TypeError: a dtype that cannot be sent. Requires: is_array().
  bool describe(PyObject* array, TensorSource& out);

  // What `dtype`, anything that numpy.dtype() takes, is called by us. False with an exception. Requires: load().
  bool read_dtype(PyObject* dtype, ipc::DType& out, std::uint32_t& item_bytes);

 private:
  struct Dtype;
  struct Array;
  using DtypeOfNumber = PyObject* (*)(int);
  using New = PyObject* (*)(PyTypeObject*, int, const Py_ssize_t*, int, const Py_ssize_t*, void*, int, int, PyObject*);
  using NewFromDtype = PyObject* (*)(PyTypeObject*, PyObject*, int, const Py_ssize_t*, const Py_ssize_t*, void*, int, PyObject*);
  using SetBase = int (*)(PyObject*, PyObject*);
  using ConvertDtype = int (*)(PyObject*, PyObject**);

  bool find_api(const char* module);
  bool look_at(const Dtype& dtype, ipc::DType& out, std::uint32_t& item_bytes) const;
  PyObject* dtype_object(ipc::DType dtype);
  PyObject* bfloat16();
  std::uint32_t item_bytes_of(const Dtype& dtype) const;

  bool looked_ = false;
  PyTypeObject* array_type_ = nullptr;  // NumPy is never unloaded
  DtypeOfNumber dtype_of_number_ = nullptr;
  New new_ = nullptr;
  NewFromDtype new_from_dtype_ = nullptr;
  SetBase set_base_ = nullptr;
  ConvertDtype convert_dtype_ = nullptr;
  unsigned abi_ = 0;
  std::array<Ref, ipc::kDTypeMax> dtypes_;  // by DType, as they come up; bytes have one per length
  bool looked_for_bfloat16_ = false;
  Ref bfloat16_;  // ml_dtypes' dtype, where that is installed
};

}  // namespace samovar::python
