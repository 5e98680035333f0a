// Arguments: from the payload of a request to the objects that its handler is called with.
//
// Every function requires the GIL and holds it throughout; runs no user code, but for a garbage collection and makers of tensors.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <span>
#include <vector>

#include "ipc/channel.h"
#include "python_ext/native/payload_view.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/running_call.h"
#include "python_ext/native/tensors.h"

namespace samovar::python {

// The positional arguments of one call.
class Arguments {
 public:
  PyObject* const* data() const { return spread_ ? PySequence_Fast_ITEMS(owner_.get()) : &one_; }
  std::size_t count() const { return count_; }

  void set_none() { count_ = 0; }
  void set_borrowed(PyObject* object) { one_ = object, count_ = 1; }
  void set(Ref object) {
    owner_ = std::move(object);
    set_borrowed(owner_.get());
  }
  void set_items(Ref list) {
    count_ = static_cast<std::size_t>(PyList_GET_SIZE(list.get()));
    owner_ = std::move(list);
    spread_ = true;
  }

 private:
  Ref owner_;
  PyObject* one_ = nullptr;
  std::size_t count_ = 0;
  bool spread_ = false;  // they are the items of `owner_`
};

class ArgumentReader {
 public:
  // Requires: `end` and `tensors` live as long as this.
  ArgumentReader(ipc::WorkerEnd& end, Tensors& tensors) : end_(end), tensors_(tensors) {}

  // The arguments of `call`. What is a view belongs to the call or to this; the next read() may write over it where nobody has kept it.
  // Fails: false with an exception; call.failure_code says whose fault it is.
  bool read(RunningCall& call, Arguments& out) { return read(call, out, view_); }

  // The same, and the next read() with another `view` leaves alone what this one has shown.
  bool read(RunningCall& call, Arguments& out, PayloadView& view);

 private:
  bool read_flatbuffer(RunningCall& call, std::span<const std::byte> payload, Arguments& out);
  bool read_text(std::span<const std::byte> utf8, Arguments& out);
  bool read_tensors(RunningCall& call, std::span<const std::byte> payload, Arguments& out);
  bool read_values(ipc::Kind kind, std::span<const std::byte> bytes, Arguments& out);

  ipc::WorkerEnd& end_;
  Tensors& tensors_;
  PayloadView view_;                   // reused from call to call, as this is:
  std::vector<std::byte> private_copy_;
};

}  // namespace samovar::python
