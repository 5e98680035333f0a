// HostLink: a worker's tie to its host, from the first message to the last call. samovar._native.HostLink in Python.
//
// Python decides the order (samovar/worker.py): receive_hello(fd), link.guard(), load the user's module, then link.serve(...) or
// link.fail(...). Every function requires the GIL; serve() releases it while waiting, receive_hello() while it blocks.
// One per process, and never freed: guard and prober use it until the process ends.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace samovar::python {

// The type, for the module. A new reference, or null with an exception.
PyObject* make_host_link_type(PyObject* module);

// receive_hello(fd) of the module, METH_O. OSError: the socket; ValueError: what came is no Hello.
PyObject* receive_hello(PyObject* module, PyObject* fd);

// What both need of the module. Owned by its state.
struct ModuleState {
  PyObject* argument_block_type;
  PyObject* context_type;
  PyObject* host_type;
  PyObject* host_link_type;
  PyObject* nursery_link_type;
  PyObject* schema_type;
  PyObject* flat_payload_type;
  PyObject* private_memory_type;
  PyObject* result_block_type;
  PyObject* tensor_type;
  PyObject* event_lane_type;
  PyObject* handler_coroutine_type;
};

}  // namespace samovar::python
