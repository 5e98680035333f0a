// TensorArguments: what a handler is given for a payload of kind `tensor`: an array, a dict of arrays where they have names, a list
// where there are several without. Arrays are NumPy's, or what the method's maker makes of a samovar.Tensor.
//
// Threads: the loop's; every function requires the GIL and holds it, but for what a maker does.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <span>

#include "ipc/tensor.h"
#include "python_ext/native/numpy.h"
#include "python_ext/native/ref.h"

namespace samovar::python {

// What becomes of each tensor of a method's arguments.
struct TensorMaker {
  enum class Kind { numpy, tensor, callable };
  Kind kind = Kind::numpy;
  Ref callable{};
};

class TensorArguments {
 public:
  // Requires: `numpy` outlives this; `tensor_type` from make_tensor_type(), which the module keeps.
  TensorArguments(NumPy& numpy, PyTypeObject* tensor_type) : numpy_(numpy), tensor_type_(tensor_type) {}

  // The argument that `header` says lies in `payload`, which `keeper` keeps. Null with an exception; names_are_text() says whether it is
  // the payload's fault: else it is the maker's, or memory's.
  Ref make(const ipc::TensorHeader& header, std::span<const std::byte> payload, PyObject* keeper, const TensorMaker& maker);
  static bool names_are_text(const ipc::TensorHeader& header);

 private:
  Ref make_one(const ipc::TensorEntry& entry, std::byte* data, PyObject* keeper, const TensorMaker& maker);

  NumPy& numpy_;
  PyTypeObject* const tensor_type_;
};

}  // namespace samovar::python
