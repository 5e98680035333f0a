// ArgumentView: the read-only memoryview through which a handler sees a payload that lies in the request arena, in place.
//
// Every function requires the GIL and holds it throughout; collect_garbage() runs user code. A view may outlive its call, in any
// thread: it escapes, its block stays the worker's until the last view of it dies, and then the host is told. Escaped views are
// counted and capped; beyond the cap payloads are copied, and the worker says so on stderr, once.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "ipc/channel.h"
#include "ipc/tensor.h"
#include "python_ext/native/numpy.h"
#include "python_ext/native/ref.h"

namespace samovar::python {

// The type of what the views view, for the module. A new reference, or null with an exception.
PyObject* make_argument_block_type(PyObject* module);

// What the views of a worker share.
class ArgumentViews {
 public:
  // Requires: `end` lives as long as the process; `type` from make_argument_block_type(), `private_memory_type` from
  // make_private_memory_type(), which the module keeps.
  ArgumentViews(ipc::WorkerEnd& end, PyTypeObject* type, PyTypeObject* private_memory_type, std::uint32_t escaped_max);

 private:
  friend class ArgumentView;
  struct Escaped;

  bool at_cap();
  Ref copy(std::span<const std::byte> payload, std::string_view method);

  const Ref type_;
  PyTypeObject* const private_memory_type_;
  const std::uint32_t escaped_max_;
  const std::shared_ptr<Escaped> escaped_;  // views may outlive this
  bool complained_ = false;
  std::int64_t collected_ns_ = 0;  // coarse
  Ref spare_;  // an array of an earlier call that nobody has kept, with its block: to be used again
  PyObject* spare_block_ = nullptr;  // spare_ keeps it
};

class ArgumentView {
 public:
  explicit ArgumentView(ArgumentViews& shared) : shared_(shared) {}
  ArgumentView(const ArgumentView&) = delete;
  ArgumentView& operator=(const ArgumentView&) = delete;

  // A view of `payload`, the argument of call `call_id`, for `method`: borrowed, valid until hide(). Null with MemoryError.
  PyObject* show(std::span<const std::byte> payload, std::uint64_t call_id, std::string_view method);

  // The same in two steps, for views of other kinds: an object that keeps the payload, and what is made of it. `payload` becomes the
  // copy, where it is one. Null with an exception.
  Ref keep(std::span<const std::byte>& payload, std::uint64_t call_id, std::string_view method);
  PyObject* show(Ref view);

  // An array over `entry` of `payload`: that of an earlier call, where there is one that nobody has kept and that is alike; making and
  // freeing array and block costs a call 100 ns. Borrowed, valid until hide(). Null without an exception: there is none.
  PyObject* show_again(const NumPy& numpy, const ipc::TensorEntry& entry, std::span<const std::byte> payload, std::uint64_t call_id);

  // What show() has shown, until hide(). A view that could not be made may have been kept by somebody all the same.
  bool shown() const { return static_cast<bool>(view_) || block_alive_; }
  std::span<const std::byte> payload() const { return payload_; }

  // The call is over. Whether something still views its argument: then the response has to say so.
  bool hide(const NumPy& numpy);

 private:
  struct Block;
  static Block& block_of(PyObject* object);
  void begin(PyObject* block, std::span<const std::byte> payload, std::uint64_t call_id);
  static void dealloc(PyObject* self);
  static int get_buffer(PyObject* self, Py_buffer* view, int flags);
  friend PyObject* make_argument_block_type(PyObject* module);

  ArgumentViews& shared_;
  Ref view_;
  std::span<const std::byte> payload_;
  PyObject* block_ = nullptr;  // what view_ views: not owned, and gone early where the handler releases its view
  bool block_alive_ = false;
};

}  // namespace samovar::python
