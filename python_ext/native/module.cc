// samovar._native: what of a worker is native. The table of names, and nothing else; samovar/_native.pyi describes them.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <iterator>

#include "ipc/layout.h"
#include "python_ext/native/argument_view.h"
#include "python_ext/native/asker.h"
#include "python_ext/native/context.h"
#include "python_ext/native/event_lane_object.h"
#include "python_ext/native/flat_payload.h"
#include "python_ext/native/handler_coroutine.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/huge_pages.h"
#include "python_ext/native/nursery_link.h"
#include "python_ext/native/private_memory.h"
#include "python_ext/native/result_blocks.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/tensor.h"
#include "python_ext/native/values.h"

namespace samovar::python {
namespace {

ModuleState* state_of(PyObject* module) { return static_cast<ModuleState*>(PyModule_GetState(module)); }

// The types that native code makes objects of.
struct TypeRow {
  PyObject* ModuleState::* place;
  PyObject* (*make)(PyObject* module);
  const char* name;  // in the module; null: it has none there
};

constexpr TypeRow kTypes[] = {{&ModuleState::argument_block_type, make_argument_block_type, nullptr},
                              {&ModuleState::context_type, make_context_type, "Context"},
                              {&ModuleState::host_type, make_host_type, "Host"},
                              {&ModuleState::host_link_type, make_host_link_type, "HostLink"},
                              {&ModuleState::nursery_link_type, make_nursery_link_type, "NurseryLink"},
                              {&ModuleState::schema_type, make_schema_type, "Schema"},
                              {&ModuleState::flat_payload_type, make_flat_payload_type, "FlatBuffer"},
                              {&ModuleState::private_memory_type, make_private_memory_type, nullptr},
                              {&ModuleState::result_block_type, make_result_block_type, nullptr},
                              {&ModuleState::tensor_type, make_tensor_type, "Tensor"},
                              {&ModuleState::handler_coroutine_type, make_handler_coroutine_type, nullptr},
                              {&ModuleState::event_lane_type, make_event_lane_type, "EventLane"}};
static_assert(sizeof(ModuleState) == std::size(kTypes) * sizeof(PyObject*), "each type has its row");

// GIL: held.
int execute(PyObject* module) {
  ModuleState* state = state_of(module);
  for (const TypeRow& row : kTypes) {
    PyObject* type = state->*row.place = row.make(module);
    if (type == nullptr || (row.name != nullptr && PyModule_AddObjectRef(module, row.name, type) < 0)) return -1;
  }
  PyObject* hash = PyLong_FromUnsignedLongLong(ipc::layout_hash());
  const int added = PyModule_AddObjectRef(module, "LAYOUT_HASH", hash);
  Py_XDECREF(hash);
  return added;
}

int traverse(PyObject* module, visitproc visit, void* arg) {
  if (const ModuleState* state = state_of(module)) {
    for (const TypeRow& row : kTypes) Py_VISIT(state->*row.place);
  }
  return 0;
}

int clear(PyObject* module) {
  if (ModuleState* state = state_of(module)) {
    for (const TypeRow& row : kTypes) Py_CLEAR(state->*row.place);
  }
  return 0;
}

PyMethodDef kMethods[] = {
    {"receive_hello", receive_hello, METH_O, "receive_hello(fd) -> HostLink: wait for the host's first message."},
    {"receive_nursery_hello", receive_nursery_hello, METH_O,
     "receive_nursery_hello(fd) -> NurseryLink: wait for the host's first message to a nursery."},
    {"collapse_pages", collapse_pages, METH_O, "collapse_pages(seconds) -> int: what is loaded into huge pages; the bytes."},
    {"encode_value", py_encode_value, METH_O, "encode_value(object) -> bytes: as a result of kind `value` goes over the wire."},
    {"decode_value", py_decode_value, METH_O, "decode_value(bytes) -> object: the way back."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef_Slot kSlots[] = {{Py_mod_exec, reinterpret_cast<void*>(execute)}, {0, nullptr}};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT,
                       "samovar._native",
                       "The native side of a Samovar worker.",
                       sizeof(ModuleState),
                       kMethods,
                       kSlots,
                       traverse,
                       clear,
                       nullptr};

}  // namespace
}  // namespace samovar::python

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&samovar::python::kModule); }
