// Results: from the object that a handler has returned to the bytes that say it.
//
// Every function requires the GIL and holds it throughout.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <span>

#include "ipc/message.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/values.h"

namespace samovar::python {

// What a result is on the wire. `bytes` belong to the result or to the encoder.
struct Encoded {
  ipc::Kind kind = ipc::Kind::none;
  std::span<const std::byte> bytes;
};

class ResultEncoder {
 public:
  // Valid until the next encode(), and as long as `result` is unchanged. Fails: false with an exception.
  bool encode(PyObject* result, Encoded& out);

 private:
  ValueEncoder values_;
  Ref rebuilt_;  // a part of a FlatBuffer, as one of its own
};

}  // namespace samovar::python
