// samovar._native.EventLane: the event lane as samovar/aio.py sees it.
//
// Every function requires the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace samovar::python {

class EventLane;

// The type, for the module. A new reference, or null with an exception.
PyObject* make_event_lane_type(PyObject* module);

// An object of that type for `lane`, which is never freed. A new reference, or null with MemoryError.
PyObject* make_event_lane(PyTypeObject* type, EventLane* lane);

}  // namespace samovar::python
