#include "python_ext/native/handler_coroutine.h"

#include <utility>

#include "python_ext/native/forked_child.h"

namespace samovar::python {
namespace {

struct Coroutine {
  PyObject_HEAD
  EventLane::Place* place;  // null: the call has been answered
  PyObject* inner;          // null likewise
};

Coroutine& coroutine_of(PyObject* object) { return *reinterpret_cast<Coroutine*>(object); }

PySendResult finished(PyObject** out) {
  *out = Py_NewRef(Py_None);
  return PYGEN_RETURN;
}

// What a step has come to: something to wait for, or the call's answer. `value` is owned.
PySendResult settle(Coroutine& self, PySendResult how, PyObject* value, PyObject** out) {
  EventLane::Place& place = *self.place;
  place.lane.leave();
  if (is_forked_child()) [[unlikely]] end_forked_child();
  if (how == PYGEN_NEXT) {
    *out = value;
    return PYGEN_NEXT;
  }
  self.place = nullptr;
  Py_CLEAR(self.inner);  // before the response: it may hold the last view of the argument
  if (how == PYGEN_RETURN) {
    place.lane.answer(place, Ref::steal(value));
  } else {
    place.lane.fail(place);
  }
  return finished(out);
}

PySendResult send(PyObject* object, PyObject* value, PyObject** out) {
  Coroutine& self = coroutine_of(object);
  if (self.place == nullptr) return finished(out);
  self.place->lane.enter(*self.place);
  PyObject* got = nullptr;
  const PySendResult how = PyIter_Send(self.inner, value, &got);
  return settle(self, how, got, out);
}

// As a method tells it: the value that was yielded, or StopIteration.
PyObject* as_yielded(PySendResult how, PyObject* value) {
  if (how == PYGEN_NEXT) return value;
  Py_XDECREF(value);
  PyErr_SetNone(PyExc_StopIteration);
  return nullptr;
}

PyObject* next(PyObject* object) {
  PyObject* out = nullptr;
  const PySendResult how = send(object, Py_None, &out);
  return as_yielded(how, out);
}

PyObject* send_method(PyObject* object, PyObject* value) {
  PyObject* out = nullptr;
  const PySendResult how = send(object, value, &out);
  return as_yielded(how, out);
}

// What StopIteration carries of the exception that is set: a new reference, or null, the exception still set, where it is another one.
PyObject* take_returned() {
  if (!PyErr_ExceptionMatches(PyExc_StopIteration)) return nullptr;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  PyObject* returned = Py_XNewRef(reinterpret_cast<PyStopIterationObject*>(value)->value);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  return returned != nullptr ? returned : Py_NewRef(Py_None);
}

PyObject* throw_method(PyObject* object, PyObject* arguments) {
  Coroutine& self = coroutine_of(object);
  if (self.place == nullptr) {
    PyErr_SetNone(PyExc_StopIteration);
    return nullptr;
  }
  self.place->lane.enter(*self.place);
  const Ref method = Ref::steal(PyObject_GetAttrString(self.inner, "throw"));
  PyObject* value = method ? PyObject_CallObject(method.get(), arguments) : nullptr;
  PySendResult how = PYGEN_NEXT;
  if (value == nullptr) {
    value = take_returned();
    how = value != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
  }
  PyObject* out = nullptr;
  how = settle(self, how, value, &out);
  return as_yielded(how, out);
}

// Its task is dropped before it has ended: the loop has been closed.
PyObject* close_method(PyObject* object, PyObject*) {
  Coroutine& self = coroutine_of(object);
  if (self.place == nullptr) Py_RETURN_NONE;
  const Ref closed = Ref::steal(PyObject_CallMethod(self.inner, "close", nullptr));
  if (!closed) return nullptr;
  Py_RETURN_NONE;
}

PyObject* itself(PyObject* object) { return Py_NewRef(object); }

// What tools look at: the user's own, so that stacks of tasks show where a method waits.
PyObject* frame(PyObject* object, void*) {
  PyObject* inner = coroutine_of(object).inner;
  return inner != nullptr ? PyObject_GetAttrString(inner, "cr_frame") : Py_NewRef(Py_None);
}
PyObject* code(PyObject* object, void*) {
  PyObject* inner = coroutine_of(object).inner;
  return inner != nullptr ? PyObject_GetAttrString(inner, "cr_code") : Py_NewRef(Py_None);
}
PyObject* place(PyObject* object, void*) {
  const EventLane::Place* its = coroutine_of(object).place;
  return PyLong_FromLong(its != nullptr ? static_cast<long>(its->number) : -1);
}
PyObject* running(PyObject* object, void*) {
  PyObject* inner = coroutine_of(object).inner;
  return inner != nullptr ? PyObject_GetAttrString(inner, "cr_running") : Py_NewRef(Py_False);
}
PyObject* awaited(PyObject* object, void*) {
  PyObject* inner = coroutine_of(object).inner;
  return inner != nullptr ? PyObject_GetAttrString(inner, "cr_await") : Py_NewRef(Py_None);
}

int traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(coroutine_of(object).inner);
  Py_VISIT(Py_TYPE(object));
  return 0;
}

int clear(PyObject* object) {
  Py_CLEAR(coroutine_of(object).inner);
  return 0;
}

void dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  clear(object);
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef kMethods[] = {{"send", send_method, METH_O, "send(value): run on, to the next wait."},
                          {"throw", throw_method, METH_VARARGS, "throw(exception): run on with it."},
                          {"close", close_method, METH_NOARGS, "close(): end it where it waits."},
                          {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {{"place", place, nullptr, "Of its call in the lane; -1: that has been answered.", nullptr},
                             {"cr_frame", frame, nullptr, "The frame of the method.", nullptr},
                             {"cr_code", code, nullptr, "The code of the method.", nullptr},
                             {"cr_running", running, nullptr, "Whether it runs just now.", nullptr},
                             {"cr_await", awaited, nullptr, "What it waits for.", nullptr},
                             {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                        {Py_tp_clear, reinterpret_cast<void*>(clear)},
                        {Py_tp_iter, reinterpret_cast<void*>(itself)},
                        {Py_tp_iternext, reinterpret_cast<void*>(next)},
                        {Py_am_await, reinterpret_cast<void*>(itself)},
                        {Py_am_send, reinterpret_cast<void*>(send)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {Py_tp_doc, const_cast<char*>("The coroutine of a call, as its task runs it.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar._native.HandlerCoroutine", sizeof(Coroutine), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_handler_coroutine_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

Ref make_handler_coroutine(PyTypeObject* type, EventLane::Place& place, Ref coroutine) {
  Ref made = Ref::steal(type->tp_alloc(type, 0));
  if (!made) return {};
  coroutine_of(made.get()).place = &place;
  coroutine_of(made.get()).inner = coroutine.release();
  return made;
}

}  // namespace samovar::python
