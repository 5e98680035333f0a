#include "python_ext/native/argument_view.h"

#include <new>
#include <string>
#include <utility>

#include "ipc/clock.h"
#include "python_ext/native/forked_child.h"
#include "python_ext/native/private_memory.h"

namespace samovar::python {
namespace {

constexpr std::int64_t kCollectEveryNs = 1'000'000'000;

}  // namespace

struct ArgumentViews::Escaped {
  ipc::WorkerEnd& end;
  std::uint32_t count = 0;
};

struct ArgumentView::Block {
  PyObject_HEAD
  std::span<const std::byte> payload;
  std::uint64_t call_id;
  bool* alive;                       // while the call runs: ArgumentView::block_alive_
  std::shared_ptr<ArgumentViews::Escaped> escaped;  // once the view has escaped
};

ArgumentView::Block& ArgumentView::block_of(PyObject* object) { return *reinterpret_cast<Block*>(object); }

void ArgumentView::dealloc(PyObject* self) {
  Block& block = block_of(self);
  if (block.alive) *block.alive = false;
  // A forked child's copy says nothing: the block is its parent's, and so are the pages that it would say it in.
  if (block.escaped && !is_forked_child()) {
    --block.escaped->count;
    block.escaped->end.release_argument(block.call_id);
  }
  block.escaped.~shared_ptr();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

int ArgumentView::get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const std::span<const std::byte> payload = block_of(self).payload;
  return PyBuffer_FillInfo(view, self, const_cast<std::byte*>(payload.data()), static_cast<Py_ssize_t>(payload.size()), 1, flags);
}

PyObject* make_argument_block_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(&ArgumentView::dealloc)},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(&ArgumentView::get_buffer)},
                                {Py_tp_doc, const_cast<char*>("A payload in shared memory, read-only: what its memoryview views.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"samovar.ArgumentBlock", sizeof(ArgumentView::Block), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

ArgumentViews::ArgumentViews(ipc::WorkerEnd& end, PyTypeObject* type, PyTypeObject* private_memory_type, std::uint32_t escaped_max)
    : type_(Ref::borrow(reinterpret_cast<PyObject*>(type))),
      private_memory_type_(private_memory_type),
      escaped_max_(escaped_max),
      escaped_(std::make_shared<Escaped>(Escaped{end})) {}

PyObject* ArgumentView::show(std::span<const std::byte> payload, std::uint64_t call_id, std::string_view method) {
  const Ref keeper = keep(payload, call_id, method);
  return keeper ? show(Ref::steal(PyMemoryView_FromObject(keeper.get()))) : nullptr;
}

Ref ArgumentView::keep(std::span<const std::byte>& payload, std::uint64_t call_id, std::string_view method) {
  payload_ = {};
  if (shared_.escaped_->count >= shared_.escaped_max_ && shared_.at_cap()) {
    Ref copied = shared_.copy(payload, method);
    if (copied) payload = private_memory_of(copied.get());
    return copied;
  }
  auto* type = reinterpret_cast<PyTypeObject*>(shared_.type_.get());
  Ref object = Ref::steal(type->tp_alloc(type, 0));
  if (!object) return {};
  new (&block_of(object.get()).escaped) std::shared_ptr<ArgumentViews::Escaped>();
  begin(object.get(), payload, call_id);
  return object;
}

void ArgumentView::begin(PyObject* object, std::span<const std::byte> payload, std::uint64_t call_id) {
  Block& block = block_of(object);
  block.payload = payload;
  block.call_id = call_id;
  payload_ = payload;
  block_ = object;
  block_alive_ = true;
  block.alive = &block_alive_;
}

PyObject* ArgumentView::show_again(const NumPy& numpy, const ipc::TensorEntry& entry, std::span<const std::byte> payload, std::uint64_t call_id) {
  if (!shared_.spare_ || shared_.escaped_->count >= shared_.escaped_max_) return nullptr;
  auto* const data = const_cast<std::byte*>(payload.data()) + entry.offset;
  view_ = std::move(shared_.spare_);
  if (!numpy.renew(view_.get(), entry.dtype, entry.shape, data, false)) {
    view_.reset();
    return nullptr;
  }
  begin(shared_.spare_block_, payload, call_id);
  return view_.get();
}

PyObject* ArgumentView::show(Ref view) {
  view_ = std::move(view);
  return view_.get();
}

bool ArgumentView::hide(const NumPy& numpy) {
  payload_ = {};
  if (view_ && block_alive_ && numpy.is_unshared(view_.get(), block_)) {
    block_of(block_).alive = nullptr;
    block_alive_ = false;
    shared_.spare_ = std::move(view_);
    shared_.spare_block_ = block_;
    return false;
  }
  view_.reset();
  if (!std::exchange(block_alive_, false)) return false;
  Block& block = block_of(block_);
  block.alive = nullptr;
  block.escaped = shared_.escaped_;
  ++shared_.escaped_->count;
  return true;
}

// Whether the cap holds after garbage has gone, in which views may have been caught: asked for at most once a second.
bool ArgumentViews::at_cap() {
  const std::int64_t now_ns = ipc::coarse_now_ns();
  if (now_ns - collected_ns_ >= kCollectEveryNs) {
    collected_ns_ = now_ns;
    PyGC_Collect();
  }
  return escaped_->count >= escaped_max_;
}

Ref ArgumentViews::copy(std::span<const std::byte> payload, std::string_view method) {
  if (!std::exchange(complained_, true)) {
    PySys_FormatStderr(
        "samovar: %u payloads are still viewed after their calls (escaped_views_max); from now on large payloads are copied "
        "into this worker's own memory while that is so. Here is one for %s: copy what is to be kept (bytes(view), array.copy()).\n",
        escaped_->count, std::string(method).c_str());
  }
  return make_private_memory(private_memory_type_, payload);
}

}  // namespace samovar::python
