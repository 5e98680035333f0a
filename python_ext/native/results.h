// Results: from the object that a handler has returned to the bytes that say it.
//
// Every function requires the GIL and holds it, but for what an array of another library does while it is read.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <span>
#include <vector>

#include "ipc/copy_for_peer.h"
#include "ipc/message.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/tensor_result.h"
#include "python_ext/native/tensors.h"
#include "python_ext/native/values.h"

namespace samovar::python {

// What a result is on the wire. `bytes` belong to the result or to the encoder. Tensors that do not fit into a record are put together
// where they are sent from: then `tensors` has them, and `bytes` none.
struct Encoded {
  ipc::Kind kind = ipc::Kind::none;
  std::span<const std::byte> bytes;
  TensorResult* tensors = nullptr;

  std::size_t size() const { return tensors != nullptr ? tensors->payload_bytes() : bytes.size(); }

  // Requires: `out` has size() bytes.
  void write(std::byte* out) const {
    if (tensors != nullptr) return tensors->write(out);
    ipc::copy_for_peer(out, bytes);
  }
};

class ResultEncoder {
 public:
  // Tensors of up to `inline_bytes_max` are encoded to bytes. Requires: `tensors` outlives this.
  ResultEncoder(Tensors& tensors, std::size_t inline_bytes_max) : tensors_(tensors.numpy, tensors.types.tensor), inline_bytes_max_(inline_bytes_max) {}

  // Valid until the next encode(), and as long as `result` is unchanged. Fails: false with an exception.
  bool encode(PyObject* result, Encoded& out);

  // Lets go of what encode() has kept of the result: of tensors their memory. May run user code.
  void release() {
    if (!tensors_.is_clear()) tensors_.clear();
  }

 private:
  bool encode_tensors(PyObject* result, Encoded& out);

  ValueEncoder values_;
  Ref rebuilt_;  // a part of a FlatBuffer, as one of its own
  TensorResult tensors_;
  std::size_t inline_bytes_max_;
  std::vector<std::byte> small_tensors_;  // reused from call to call
};

}  // namespace samovar::python
