// TensorResult: a result that is an array, or a dict or list of arrays: what it says, until it has been written where it is sent from.
//
// An array is NumPy's, a samovar.Tensor, or anything with the buffer protocol or DLPack. Each element is copied once, or not at all.
// Threads: the loop's; every function requires the GIL and holds it, but for what an object's __dlpack__ does.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ipc/tensor.h"
#include "python_ext/native/numpy.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/tensor_source.h"

namespace samovar::python {

class TensorResult {
 public:
  // Requires: `numpy` outlives this; `tensor_type` from make_tensor_type(), which the module keeps.
  TensorResult(NumPy& numpy, PyTypeObject* tensor_type) : numpy_(numpy), tensor_type_(tensor_type) {}

  // Whether `result` is one array of NumPy: what is asked first.
  bool is_numpy(PyObject* result) const { return numpy_.is_array(result); }

  // Whether `result` is to be sent as tensors. Looks at no more than the first item of a dict, list or tuple.
  bool takes(PyObject* result);

  // Reads what `result` is; it and its memory are kept until clear(). Fails: false with an exception, which says where:
  // `result["mask"]: an array of dtype object cannot be sent`.
  bool read(PyObject* result);

  // As one payload, or elements and header by themselves. Requires, for writing: `out` has as many bytes.
  std::uint64_t payload_bytes() const { return layout_.payload_bytes(); }
  std::uint64_t elements_bytes() const { return layout_.data_bytes(); }
  std::size_t header_bytes() const { return layout_.header_bytes(); }
  void write(std::byte* out) const;
  void write_elements(std::byte* out) const;
  void write_header(std::byte* out) const { layout_.copy_header(out); }

  // Where the first array's elements lie. Requires: read() found something, which has not been cleared.
  const std::byte* first() const { return sources_.front().data; }

  // Whether all arrays lie in `block`, contiguous and aligned, so that they can be sent from there. Then elements need not be written, and
  // the header is what it is for that block. (No bytes lie nowhere.)
  bool settle_in(std::span<const std::byte> block);

  bool is_clear() const { return sources_.empty(); }

  // Lets go of the result. May run user code.
  void clear();

 private:
  bool is_array(PyObject* object);
  bool read_dict(PyObject* dict);
  bool read_items(PyObject* items);
  bool read_one(PyObject* object, PyObject* name, const auto& where);
  bool describe(PyObject* object, TensorSource& out);
  bool place(PyObject* name);
  std::uint64_t bytes_of(const TensorSource& source) const { return *ipc::tensor_bytes(source.item_bytes, source.shape()); }

  NumPy& numpy_;
  PyTypeObject* const tensor_type_;

  // Of the result that was read.
  std::vector<TensorSource> sources_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::string> texts_;  // of the names
  ipc::TensorLayout layout_;
};

}  // namespace samovar::python
