// samovar._native: what of a worker is native. The table of names, and nothing else; samovar/_native.pyi describes them.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

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

// GIL: held.
int execute(PyObject* module) {
  ModuleState* state = state_of(module);
  state->argument_block_type = make_argument_block_type(module);
  if (state->argument_block_type == nullptr) return -1;
  state->context_type = make_context_type(module);
  if (state->context_type == nullptr || PyModule_AddObjectRef(module, "Context", state->context_type) < 0) return -1;
  state->host_type = make_host_type(module);
  if (state->host_type == nullptr || PyModule_AddObjectRef(module, "Host", state->host_type) < 0) return -1;
  state->host_link_type = make_host_link_type(module);
  if (state->host_link_type == nullptr || PyModule_AddObjectRef(module, "HostLink", state->host_link_type) < 0) return -1;
  state->nursery_link_type = make_nursery_link_type(module);
  if (state->nursery_link_type == nullptr || PyModule_AddObjectRef(module, "NurseryLink", state->nursery_link_type) < 0) return -1;
  state->schema_type = make_schema_type(module);
  if (state->schema_type == nullptr || PyModule_AddObjectRef(module, "Schema", state->schema_type) < 0) return -1;
  state->flat_payload_type = make_flat_payload_type(module);
  if (state->flat_payload_type == nullptr || PyModule_AddObjectRef(module, "FlatBuffer", state->flat_payload_type) < 0) return -1;
  state->private_memory_type = make_private_memory_type(module);
  if (state->private_memory_type == nullptr) return -1;
  state->result_block_type = make_result_block_type(module);
  if (state->result_block_type == nullptr) return -1;
  state->tensor_type = make_tensor_type(module);
  if (state->tensor_type == nullptr || PyModule_AddObjectRef(module, "Tensor", state->tensor_type) < 0) return -1;
  state->handler_coroutine_type = make_handler_coroutine_type(module);
  if (state->handler_coroutine_type == nullptr) return -1;
  state->event_lane_type = make_event_lane_type(module);
  if (state->event_lane_type == nullptr || PyModule_AddObjectRef(module, "EventLane", state->event_lane_type) < 0) return -1;
  PyObject* hash = PyLong_FromUnsignedLongLong(ipc::layout_hash());
  const int added = PyModule_AddObjectRef(module, "LAYOUT_HASH", hash);
  Py_XDECREF(hash);
  return added;
}

int traverse(PyObject* module, visitproc visit, void* arg) {
  if (const ModuleState* state = state_of(module)) {
    Py_VISIT(state->argument_block_type);
    Py_VISIT(state->context_type);
    Py_VISIT(state->host_type);
    Py_VISIT(state->host_link_type);
    Py_VISIT(state->nursery_link_type);
    Py_VISIT(state->schema_type);
    Py_VISIT(state->flat_payload_type);
    Py_VISIT(state->private_memory_type);
    Py_VISIT(state->result_block_type);
    Py_VISIT(state->tensor_type);
    Py_VISIT(state->event_lane_type);
    Py_VISIT(state->handler_coroutine_type);
  }
  return 0;
}

int clear(PyObject* module) {
  if (ModuleState* state = state_of(module)) {
    Py_CLEAR(state->argument_block_type);
    Py_CLEAR(state->context_type);
    Py_CLEAR(state->host_type);
    Py_CLEAR(state->host_link_type);
    Py_CLEAR(state->nursery_link_type);
    Py_CLEAR(state->schema_type);
    Py_CLEAR(state->flat_payload_type);
    Py_CLEAR(state->private_memory_type);
    Py_CLEAR(state->result_block_type);
    Py_CLEAR(state->tensor_type);
    Py_CLEAR(state->event_lane_type);
    Py_CLEAR(state->handler_coroutine_type);
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
