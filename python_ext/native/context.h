// Context: what a handler that declares `ctx` is given. samovar.Context in Python.
//
// Every function requires the GIL and holds it throughout. A context may outlive its call (a handler may keep it, a thread may
// look at it): close() takes the lane away from it, and from then on it says that the call is over.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <cstdint>
#include <span>

#include "python_ext/native/ref.h"
#include "python_ext/native/result_blocks.h"

namespace samovar::python {

// The type, for the module. A new reference, or null with an exception.
PyObject* make_context_type(PyObject* module);

class Asker;

struct ContextFields {
  std::uint64_t call_id = 0;
  std::int64_t deadline_ns = 0;                              // 0: none
  std::uint32_t worker = 0;
  const std::atomic<std::uint64_t>* commit_word = nullptr;  // of the running request; null: the call has ended
  ResultBlocks* blocks = nullptr;
  Asker* asker = nullptr;                                    // of the worker's one loop; null: the host cannot be asked
  std::span<const std::atomic<std::uint64_t>* const> others{};  // those of the rest of its batch; valid while the call runs
};

// Requires: a context.
const ContextFields& fields_of_context(PyObject* context);

// Hands out contexts, and the last one again where nobody has kept it.
class ContextSource {
 public:
  // Requires: `type` from make_context_type().
  explicit ContextSource(PyTypeObject* type) : type_(Ref::borrow(reinterpret_cast<PyObject*>(type))) {}

  // Borrowed, valid until the next open(). Null with MemoryError.
  PyObject* open(const ContextFields& fields);

  // The call that open() was for has ended. May be called when none is open.
  void close();

 private:
  Ref type_;
  Ref context_;
};

}  // namespace samovar::python
