// PayloadView: the read-only memoryview through which a handler sees a payload of kind `bytes`.
//
// Threads: the loop's; every function requires the GIL and holds it throughout. Runs no user code.
// The payload is copied out of the lane, so a view may outlive its call. Making a bytes object and a memoryview of it costs
// about 100 ns, so the pair of the last call is written over where nobody can tell: no one else holds the view, its managed
// buffer (slices and casts count there, not at the view), the bytes under it or a weak reference.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <span>

#include "python_ext/native/ref.h"

namespace samovar::python {

class PayloadView {
 public:
  // A view of a copy of `payload`: borrowed, valid until the next call of this function. Null with MemoryError.
  PyObject* show(std::span<const std::byte> payload);

 private:
  Ref view_;
};

}  // namespace samovar::python
