#include "python_ext/native/private_memory.h"

#include <cstdint>
#include <cstring>

namespace samovar::python {
namespace {

constexpr std::size_t kAlignment = 64;

// The bytes follow, from the first address that is aligned on.
struct PrivateMemory {
  PyObject_HEAD
  std::byte* data;
  std::size_t bytes;
};

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const std::span<std::byte> memory = private_memory_of(self);
  return PyBuffer_FillInfo(view, self, memory.data(), static_cast<Py_ssize_t>(memory.size()), 1, flags);
}

}  // namespace

PyObject* make_private_memory_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                                {Py_tp_doc, const_cast<char*>("A payload in memory of this process, read-only: what its views view.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"samovar.PrivateMemory", sizeof(PrivateMemory), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

Ref make_private_memory(PyTypeObject* type, std::size_t bytes) {
  void* const object = bytes > PY_SSIZE_T_MAX / 2 ? nullptr : PyObject_Malloc(sizeof(PrivateMemory) + kAlignment - 1 + bytes);
  if (object == nullptr) {
    PyErr_NoMemory();
    return {};
  }
  Ref made = Ref::steal(PyObject_Init(static_cast<PyObject*>(object), type));
  auto& memory = *reinterpret_cast<PrivateMemory*>(made.get());
  const auto after = reinterpret_cast<std::uintptr_t>(&memory + 1);
  memory.data = reinterpret_cast<std::byte*>((after + kAlignment - 1) & ~(kAlignment - 1));
  memory.bytes = bytes;
  return made;
}

Ref make_private_memory(PyTypeObject* type, std::span<const std::byte> content) {
  Ref made = make_private_memory(type, content.size());
  if (made && !content.empty()) std::memcpy(private_memory_of(made.get()).data(), content.data(), content.size());
  return made;
}

std::span<std::byte> private_memory_of(PyObject* object) {
  const auto& memory = *reinterpret_cast<PrivateMemory*>(object);
  return {memory.data, memory.bytes};
}

}  // namespace samovar::python
