#include "python_ext/native/payload_view.h"

#include <cstring>

namespace samovar::python {
namespace {

// Known to hold for these; a later CPython may rearrange the structs or share references without counting them.
#if PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030e0000 && !defined(Py_GIL_DISABLED)

// The bytes under `object` if they may be written over for a payload of `size` bytes, else null.
PyBytesObject* reusable(PyObject* object, std::size_t size) {
  if (object == nullptr || Py_REFCNT(object) != 1) return nullptr;
  auto* view = reinterpret_cast<PyMemoryViewObject*>(object);
  // `released` comes first: behind a released view nothing may be followed.
  if ((view->flags & _Py_MEMORYVIEW_RELEASED) != 0 || view->exports != 0 || view->weakreflist != nullptr) return nullptr;
  if (static_cast<std::size_t>(view->view.len) != size) return nullptr;
  const _PyManagedBufferObject* managed = view->mbuf;
  if (Py_REFCNT(managed) != 1 || managed->exports != 1 || (managed->flags & _Py_MANAGED_BUFFER_RELEASED) != 0) return nullptr;
  // Held by the managed buffer alone: `view.obj` has not been kept. (The empty bytes are a singleton and never qualify.)
  if (Py_REFCNT(view->view.obj) != 1) return nullptr;
  view->hash = -1;
  return reinterpret_cast<PyBytesObject*>(view->view.obj);
}

void forget_hash(PyBytesObject* bytes) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  bytes->ob_shash = -1;
#pragma GCC diagnostic pop
}

#else

PyBytesObject* reusable(PyObject*, std::size_t) { return nullptr; }
void forget_hash(PyBytesObject*) {}

#endif

}  // namespace

PyObject* PayloadView::show(std::span<const std::byte> payload) {
  if (PyBytesObject* bytes = reusable(view_.get(), payload.size())) {
    forget_hash(bytes);
    std::memcpy(bytes->ob_sval, payload.data(), payload.size());
    return view_.get();
  }
  view_.reset();
  const Ref bytes = Ref::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(payload.size())));
  if (!bytes) return nullptr;
  if (!payload.empty()) std::memcpy(PyBytes_AS_STRING(bytes.get()), payload.data(), payload.size());
  view_ = Ref::steal(PyMemoryView_FromObject(bytes.get()));
  return view_.get();
}

}  // namespace samovar::python
