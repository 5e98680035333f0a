// ResultBlocks: arrays for results, made where they will be sent from: ctx.empty(). And which results lie in such a block.
//
// A block belongs to its array, and whatever views it, until the last of them dies; sent, it belongs to the host as well
// (ipc/viewed_blocks.h). Every function requires the GIL and holds it, but for imports; empty() may be called by, and views may die in,
// any thread; else the main thread only.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <optional>

#include "ipc/channel.h"
#include "ipc/message.h"
#include "ipc/tensor.h"
#include "python_ext/native/numpy.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/tensor_source.h"

namespace samovar::python {

// The types of the module that tensors need. It keeps them.
struct TensorTypes {
  PyTypeObject* tensor = nullptr;
  PyTypeObject* private_memory = nullptr;
  PyTypeObject* result_block = nullptr;
};

// The type of what keeps such a block, for the module. A new reference, or null with an exception.
PyObject* make_result_block_type(PyObject* module);

class ResultBlocks {
 public:
  // Requires: `end` lives as long as the process, `numpy` as long as this.
  ResultBlocks(ipc::WorkerEnd& end, NumPy& numpy, const TensorTypes& types) : end_(end), numpy_(numpy), types_(types) {}

  // A writable array of any content: NumPy's, or a samovar.Tensor where there is no NumPy or it has no such dtype. In the response
  // arena where it is too large for a record, there is room, and the main thread asks. `dtype`: a name, or anything that numpy.dtype() takes; null: float32.
  // Null with an exception.
  Ref empty(PyObject* shape, PyObject* dtype);

  // The block that `data` lies in, as far as its array goes. Nothing where it lies in none, or in one that the host has already.
  std::optional<ipc::BlockReference> find(const std::byte* data) const;

  // The host is sent the block that find() found: from here on it is that one's, too.
  void send(const ipc::BlockReference& block) { end_.viewed_blocks().send(block.offset); }

  // Lets go of a result that has been laid out. Its array is used again, where nobody else has it. May run user code.
  void take_back(Ref result);

 private:
  bool read_dtype(PyObject* dtype, ipc::DType& out, std::uint32_t& item_bytes);
  void keep_block(PyObject* keeper, std::uint64_t offset);

  ipc::WorkerEnd& end_;
  NumPy& numpy_;
  const TensorTypes types_;
  // What the last dtype that was a type of NumPy itself (numpy.float32) has been read as. Such a type is never changed.
  struct Read {
    Ref type;
    ipc::DType dtype;
    std::uint32_t item_bytes;
  } last_read_{};
  Ref spare_;  // an array whose result block is nobody's
  const unsigned long main_thread_ = PyThread_get_thread_ident();
};

}  // namespace samovar::python
