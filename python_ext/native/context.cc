#include "python_ext/native/context.h"

#include <algorithm>

#include "ipc/clock.h"
#include "ipc/layout.h"
#include "python_ext/native/asker.h"
#include "python_ext/native/host_link.h"

namespace samovar::python {
namespace {

struct ContextObject {
  PyObject_HEAD
  ContextFields fields;
};

ContextFields& fields_of(PyObject* self) { return reinterpret_cast<ContextObject*>(self)->fields; }

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* cancelled(PyObject* self, PyObject*) {
  const ContextFields& fields = fields_of(self);
  // Relaxed: advice to a handler that runs; nothing is read on the strength of it.
  const auto is_revoked = [](const std::atomic<std::uint64_t>* word) {
    return (word->load(std::memory_order_relaxed) & ipc::kCommitRevoked) != 0;
  };
  const auto* word = fields.commit_word;
  return PyBool_FromLong(word == nullptr || (is_revoked(word) && std::ranges::all_of(fields.others, is_revoked)));
}

// Taken apart by hand: PyArg_Parse and its tuple cost as much as the array.
PyObject* empty(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  PyObject* shape = count > 0 ? arguments[0] : nullptr;
  PyObject* dtype = count > 1 ? arguments[1] : nullptr;
  bool wrong = count > 2;
  for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* const name = PyTuple_GET_ITEM(names, i);
    PyObject*& named = PyUnicode_CompareWithASCIIString(name, "shape") == 0 ? shape : dtype;
    wrong |= named != nullptr || (&named == &dtype && PyUnicode_CompareWithASCIIString(name, "dtype") != 0);
    named = arguments[count + i];
  }
  if (wrong || shape == nullptr) {
    PyErr_SetString(PyExc_TypeError, "ctx.empty takes a shape and a dtype: ctx.empty((2, 3), \"float32\")");
    return nullptr;
  }
  const ContextFields& fields = fields_of(self);
  if (fields.commit_word == nullptr || fields.blocks == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "ctx.empty: the call has ended, nothing can be sent for it; numpy.empty makes an array to keep");
    return nullptr;
  }
  return fields.blocks->empty(shape, dtype).release();
}

PyObject* deadline(PyObject* self, void*) {
  const std::int64_t deadline_ns = fields_of(self).deadline_ns;
  if (deadline_ns == 0) Py_RETURN_NONE;
  return PyFloat_FromDouble(static_cast<double>(std::max<std::int64_t>(deadline_ns - ipc::now_ns(), 0)) * 1e-9);
}

PyObject* call_id(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(fields_of(self).call_id); }
PyObject* worker(PyObject* self, void*) { return PyLong_FromUnsignedLong(fields_of(self).worker); }
PyObject* session(PyObject*, void*) { Py_RETURN_NONE; }

PyObject* host(PyObject* self, void*) {
  const auto* state = static_cast<ModuleState*>(PyType_GetModuleState(Py_TYPE(self)));
  return state != nullptr ? make_host(state->host_type, self) : nullptr;
}

PyMethodDef kMethods[] = {
    {"cancelled", cancelled, METH_NOARGS,
     "cancelled() -> bool\n\nWhether nobody waits for this call any more: it was cancelled, its deadline has passed, or it has ended.\n"
     "A handler that runs for long asks now and then and returns early; what it returns is dropped."},
    {"empty", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(empty)), METH_FASTCALL | METH_KEYWORDS,
     "empty(shape, dtype=\"float32\") -> numpy.ndarray\n\n"
     "An array of any content, to be written and returned: by itself (or a contiguous part of it) it is sent without a copy.\n"
     "A samovar.Tensor where NumPy is not installed. Do not write it after it was returned: the caller reads it in place."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"deadline", deadline, nullptr, "Seconds left until the deadline of this call, at least 0.0; None if it has none.", nullptr},
    {"call_id", call_id, nullptr, "The number of this call in its pool.", nullptr},
    {"worker", worker, nullptr, "The number of the worker that runs it.", nullptr},
    {"session", session, nullptr, "The session of this call: None, there are no sessions yet.", nullptr},
    {"host", host, nullptr, "The host: host.call(name, *arguments, timeout=None) calls one of its functions, while this call runs.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

const char kDoc[] =
    "What a method that declares the keyword parameter `ctx` is told of its call.\n\n"
    "Made by the worker, never by user code. It may be kept and used from any thread; after the call has ended,\n"
    "cancelled() is True.";

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {Py_tp_doc, const_cast<char*>(kDoc)},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar.Context", sizeof(ContextObject), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_context_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

const ContextFields& fields_of_context(PyObject* context) { return fields_of(context); }

PyObject* ContextSource::open(const ContextFields& fields) {
  // Nobody can have kept it without counting: it supports no weak references and is not tracked by the collector.
  if (!context_ || Py_REFCNT(context_.get()) != 1) {
    auto* type = reinterpret_cast<PyTypeObject*>(type_.get());
    context_ = Ref::steal(type->tp_alloc(type, 0));
    if (!context_) return nullptr;
  }
  fields_of(context_.get()) = fields;
  return context_.get();
}

void ContextSource::close() {
  if (context_) fields_of(context_.get()).commit_word = nullptr;
}

}  // namespace samovar::python
