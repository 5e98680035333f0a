// The worker's side of payload kind `value`: Python objects to bytes and back (ipc/VALUES.md), without Python code.
//
// Threads: any, with the GIL: each function here requires it and holds it throughout.
// An object of a class of the user's is taken as what its base is: no method of it runs, except that the keys of an
// OrderedDict are hashed and compared. So containers do not change while they are read; each item is owned all the same.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/value_writer.h"

namespace samovar::python {

// Encodes one object after another; a small one allocates nothing once the encoder has seen its like.
// Invariant: holds no reference to any object between calls.
class ValueEncoder {
 public:
  // Encodes `object`; the bytes are then bytes(). `root` begins the path in errors: `result["a"][3]: set is not supported`.
  // Fails: false with a Python exception: TypeError (a type), OverflowError (an int), ValueError (depth, a surrogate, equal
  // keys, 2 GiB), MemoryError, or RuntimeError if user code run by this call tries to use the same encoder.
  bool encode(PyObject* object, const char* root = "result");

  // Owned by the encoder, until its next encode().
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  ipc::ValueWriter writer_;
  std::span<const std::byte> bytes_;
  bool busy_ = false;
};

// A new reference, or null with a Python exception (ValueError for malformed bytes).
// Requires: `bytes` is private memory (the host cannot write it); otherwise it may be anything.
PyObject* decode_value(std::span<const std::byte> bytes);

// For the module's table, METH_O: encode_value(object) -> bytes, decode_value(bytes-like) -> object.
PyObject* py_encode_value(PyObject* module, PyObject* object);
PyObject* py_decode_value(PyObject* module, PyObject* bytes);

}  // namespace samovar::python
