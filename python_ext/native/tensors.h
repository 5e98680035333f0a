// Tensors: what a worker needs to take tensors and to send them.
//
// Threads: the loop's. Requires the GIL.
#pragma once

#include "ipc/channel.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/numpy.h"
#include "python_ext/native/result_blocks.h"
#include "python_ext/native/tensor_arguments.h"

namespace samovar::python {

struct Tensors {
  // Requires: `end` lives as long as the process; the module keeps the types.
  Tensors(ipc::WorkerEnd& end, const ModuleState& state)
      : types{.tensor = reinterpret_cast<PyTypeObject*>(state.tensor_type),
              .private_memory = reinterpret_cast<PyTypeObject*>(state.private_memory_type),
              .result_block = reinterpret_cast<PyTypeObject*>(state.result_block_type)},
        arguments(numpy, types.tensor),
        blocks(end, numpy, types) {}
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;

  const TensorTypes types;
  NumPy numpy;
  TensorArguments arguments;
  ResultBlocks blocks;
};

}  // namespace samovar::python
