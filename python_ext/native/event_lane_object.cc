#include "python_ext/native/event_lane_object.h"

#include <algorithm>
#include <cstddef>
#include <new>
#include <optional>

#include "ipc/clock.h"
#include "python_ext/native/event_lane.h"

namespace samovar::python {
namespace {

struct EventLaneObject {
  PyObject_HEAD
  EventLane* lane;  // never freed: contexts, coroutines and the doorbell's thread may outlive the loop
};

EventLane& lane_of(PyObject* self) { return *reinterpret_cast<EventLaneObject*>(self)->lane; }

PyObject* begin_turn(PyObject* self, PyObject*) {
  lane_of(self).begin_turn();
  Py_RETURN_NONE;
}

// Called while the loop is in C++ that may run out of memory: a few bytes, with no way on but to be replaced.
PyObject* begin(PyObject* self, PyObject*) {
  try {
    return lane_of(self).begin().release();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

PyObject* run_in(PyObject* self, PyObject* loop) {
  if (!lane_of(self).run_in(loop)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* read_notes(PyObject* self, PyObject*) {
  try {
    return PyBool_FromLong(lane_of(self).read_notes());
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

// Null with an exception.
EventPlace* place_of(PyObject* self, PyObject* number) {
  const std::size_t index = PyLong_AsSize_t(number);
  if (index == static_cast<std::size_t>(-1) && PyErr_Occurred() != nullptr) return nullptr;
  EventPlace* place = lane_of(self).place(index);
  if (place == nullptr) PyErr_SetString(PyExc_IndexError, "no call runs at this place");
  return place;
}

PyObject* send_chunk(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "send_chunk takes a place and a chunk");
    return nullptr;
  }
  EventPlace* place = place_of(self, arguments[0]);
  if (place == nullptr) return nullptr;
  try {
    switch (lane_of(self).send_chunk(*place, arguments[1])) {
      case EventLane::Chunk::sent: Py_RETURN_TRUE;
      case EventLane::Chunk::sent_last: Py_RETURN_FALSE;
      case EventLane::Chunk::no_room: Py_RETURN_NONE;
      case EventLane::Chunk::failed: return nullptr;
    }
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  Py_UNREACHABLE();
}

PyObject* await_credit(PyObject* self, PyObject* number) {
  EventPlace* place = place_of(self, number);
  return place != nullptr ? lane_of(self).await_credit(*place).release() : nullptr;
}

PyObject* refuse_items(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "refuse_items takes a place and what is no iterator");
    return nullptr;
  }
  EventPlace* place = place_of(self, arguments[0]);
  if (place != nullptr) lane_of(self).refuse_items(*place, arguments[1]);
  return nullptr;
}

PyObject* next_cancelled(PyObject* self, PyObject*) { return PyLong_FromLong(lane_of(self).next_cancelled()); }

// Seconds, as asyncio counts them; None: for ever.
bool deadline_from(PyObject* seconds, std::int64_t& deadline_ns) {
  deadline_ns = ipc::kNever;
  if (seconds == Py_None) return true;
  const double left = PyFloat_AsDouble(seconds);
  if (left == -1.0 && PyErr_Occurred() != nullptr) return false;
  if (left < 1e9) deadline_ns = ipc::now_ns() + static_cast<std::int64_t>(std::max(left, 0.0) * 1e9);
  return true;
}

PyObject* sleep(PyObject* self, PyObject* seconds) {
  std::int64_t deadline_ns;
  if (!deadline_from(seconds, deadline_ns) || !lane_of(self).sleep(deadline_ns)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* alarm_fd(PyObject* self, PyObject*) {
  const int fd = lane_of(self).alarm_fd();
  return fd < 0 ? nullptr : PyLong_FromLong(fd);
}

PyObject* begin_sleep(PyObject* self, PyObject*) {
  const std::optional<std::int64_t> until_ns = lane_of(self).begin_sleep();
  if (!until_ns) Py_RETURN_NONE;
  if (*until_ns == ipc::kNever) return PyFloat_FromDouble(Py_HUGE_VAL);
  return PyFloat_FromDouble(static_cast<double>(std::max<std::int64_t>(*until_ns - ipc::now_ns(), 0)) * 1e-9);
}

PyObject* end_sleep(PyObject* self, PyObject*) {
  lane_of(self).end_sleep();
  Py_RETURN_NONE;
}

PyObject* close(PyObject* self, PyObject*) {
  lane_of(self).close();
  Py_RETURN_NONE;
}

PyObject* nudge(PyObject* self, PyObject*) {
  lane_of(self).nudge();
  Py_RETURN_NONE;
}

PyObject* stopping(PyObject* self, void*) { return PyBool_FromLong(lane_of(self).stopping()); }
PyObject* broken(PyObject* self, void*) { return PyBool_FromLong(lane_of(self).is_broken()); }
PyObject* running(PyObject* self, void*) { return PyLong_FromUnsignedLong(lane_of(self).running()); }

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef kMethods[] = {
    {"begin_turn", begin_turn, METH_NOARGS, "begin_turn(): the loop has come round."},
    {"begin", begin, METH_NOARGS,
     "begin(): begin the next request. Its coroutine; True: it has been answered; None: there is none, or no place."},
    {"run_in", run_in, METH_O, "run_in(loop): its create_future(), open_question() and send_stream() are called from here on."},
    {"read_notes", read_notes, METH_NOARGS, "read_notes() -> bool: take what the host tells of calls that run. Whether it told anything."},
    {"send_chunk", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(send_chunk)), METH_FASTCALL,
     "send_chunk(place, chunk): True: sent; False: sent, and await_credit() before the next; None: no room, send it again later."},
    {"await_credit", await_credit, METH_O, "await_credit(place): a future that ends with credit for the stream there; None: it has some."},
    {"refuse_items", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(refuse_items)), METH_FASTCALL,
     "refuse_items(place, items): raise what is to be told of a stream that is no iterator."},
    {"next_cancelled", next_cancelled, METH_NOARGS, "next_cancelled() -> int: the place of a task that nobody waits for, by the notes read; -1: no further one."},
    {"sleep", sleep, METH_O, "sleep(seconds): until there is work, a nudge or so long; None: for ever. May return early."},
    {"alarm_fd", alarm_fd, METH_NOARGS, "alarm_fd() -> int: readable when there is work, from begin_sleep() to end_sleep()."},
    {"begin_sleep", begin_sleep, METH_NOARGS, "begin_sleep() -> float | None: for how many seconds at most; None: there is work."},
    {"end_sleep", end_sleep, METH_NOARGS, "end_sleep()"},
    {"close", close, METH_NOARGS, "close(): begin no more calls. Once, before the interpreter ends."},
    {"nudge", nudge, METH_NOARGS, "nudge(): end a sleep(), or the next one. From any thread."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"stopping", stopping, nullptr, "Whether the host wants the worker to end.", nullptr},
    {"broken", broken, nullptr, "Whether the host has published what is no request, or no note.", nullptr},
    {"running", running, nullptr, "Calls begun and not answered.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {Py_tp_doc, const_cast<char*>("The lane, as an event loop serves it.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar._native.EventLane", sizeof(EventLaneObject), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_event_lane_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

PyObject* make_event_lane(PyTypeObject* type, EventLane* lane) {
  PyObject* made = type->tp_alloc(type, 0);
  if (made != nullptr) reinterpret_cast<EventLaneObject*>(made)->lane = lane;
  return made;
}

}  // namespace samovar::python
