#include "python_ext/native/asker.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <samovar_wire/error_generated.h>

#include "ipc/clock.h"
#include "python_ext/native/context.h"
#include "python_ext/native/forked_child.h"

namespace samovar::python {
namespace {

std::string name_in(PyObject* question) {
  Py_ssize_t size = 0;
  const char* name = PyUnicode_AsUTF8AndSize(PyList_GET_ITEM(question, 0), &size);
  if (name != nullptr) return {name, static_cast<std::size_t>(size)};
  PyErr_Clear();
  return "?";
}

}  // namespace

PyObject* raise_host_error(const char* type_name, const std::string& message) {
  const Ref module = Ref::steal(PyImport_ImportModule("samovar.host"));
  const Ref type = module ? Ref::steal(PyObject_GetAttrString(module.get(), type_name)) : Ref();
  const Ref text = Ref::steal(PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "replace"));
  if (type && text) PyErr_SetObject(type.get(), text.get());
  return nullptr;
}

PyObject* raise_unwanted(PyObject* question) {
  return raise_host_error("HostError", "nobody waits for this call any more; \"" + name_in(question) + "\" was not waited for");
}

PyObject* raise_ending(PyObject* question) {
  return raise_host_error("HostError", "the worker is to end; \"" + name_in(question) + "\" was not waited for");
}

PyObject* raise_late(PyObject* question) {
  return raise_host_error("HostTimeout", "the host's \"" + name_in(question) + "\" has not answered in time; a late answer will be dropped");
}

bool QuestionSender::may_ask() const {
  if (PyThread_get_thread_ident() != thread_) {
    raise_host_error("HostError", "the host can be asked from the worker's main thread only, in which the method runs");
    return false;
  }
  if (is_forked_child()) {
    raise_host_error("HostError", "a forked child of the worker cannot ask the host");
    return false;
  }
  return true;
}

bool QuestionSender::send(std::uint64_t call_id, std::uint32_t number, PyObject* question) {
  if (!encoder_.encode(question, "arguments")) return false;
  const std::span<const std::byte> bytes = encoder_.bytes();
  if (bytes.size() > end_.payload_bytes_max()) {
    raise_host_error("HostError", "the arguments of \"" + name_in(question) + "\" are " + std::to_string(bytes.size()) + " bytes; at most " +
                                      std::to_string(end_.payload_bytes_max()) + " (inline_bytes_max) can be sent");
    return false;
  }
  const std::vector<std::byte> copy(bytes.begin(), bytes.end());  // the GIL may be released while the lane is full
  // Not sent: the worker is to end, which whoever waits sees.
  (void)responder_.send({.call_id = call_id, .number = number, .kind = ipc::Kind::arguments, .status = ipc::Status::question, .payload = copy});
  return true;
}

PyObject* read_answer(bool failed, std::span<const std::byte> bytes) {
  if (!failed) return decode_value(bytes);
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size());
  const bool whole = verifier.VerifyBuffer<wire::Error>(nullptr);
  const auto* text = whole ? flatbuffers::GetRoot<wire::Error>(data)->message() : nullptr;
  return raise_host_error("HostError", text != nullptr ? text->str() : "the host's function failed, and its words are lost");
}

PyObject* BlockingAsker::ask(std::uint64_t call_id, PyObject* question, std::int64_t until_ns) {
  if (!sender_.may_ask()) return nullptr;
  notes_.follow(call_id);
  if (end_.has_note()) notes_.read();
  const std::uint32_t number = notes_.ask();
  if (!notes_.cancelled() && !sender_.send(call_id, number, question)) return nullptr;
  return wait_for_answer(notes_, question, until_ns);
}

// --- samovar.Host -----------------------------------------------------------------------------------------------------------

namespace {

struct HostObject {
  PyObject_HEAD
  PyObject* context;
};

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(reinterpret_cast<HostObject*>(self)->context);
  type->tp_free(self);
  Py_DECREF(type);
}

// Seconds from now, or what is no time: false with an exception. None: for ever.
bool read_timeout(PyObject* timeout, std::int64_t& until_ns) {
  until_ns = ipc::kNever;
  if (timeout == nullptr || timeout == Py_None) return true;
  const double seconds = PyFloat_AsDouble(timeout);
  if (PyErr_Occurred() != nullptr) return false;
  if (std::isnan(seconds) || seconds < 0) {
    PyErr_SetString(PyExc_ValueError, "timeout is in seconds, at least 0");
    return false;
  }
  if (seconds < 1e9) until_ns = ipc::in(static_cast<std::int64_t>(seconds * 1e9));
  return true;
}

// call(name, /, *arguments, timeout=None)
PyObject* call(PyObject* self, PyObject* const* items, Py_ssize_t count, PyObject* names) {
  if (count < 1 || !PyUnicode_Check(items[0])) {
    PyErr_SetString(PyExc_TypeError, "ctx.host.call() needs the name of a function of the host, as a str");
    return nullptr;
  }
  PyObject* timeout = nullptr;
  for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
    if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "timeout") != 0) {
      PyErr_Format(PyExc_TypeError, "ctx.host.call() takes no keyword but timeout, not %R", PyTuple_GET_ITEM(names, i));
      return nullptr;
    }
    timeout = items[count + i];
  }
  std::int64_t until_ns;
  if (!read_timeout(timeout, until_ns)) return nullptr;
  const ContextFields& fields = fields_of_context(reinterpret_cast<HostObject*>(self)->context);
  if (fields.commit_word == nullptr || fields.asker == nullptr) return raise_host_error("HostError", "the call has ended: the host can be asked while it runs");
  if (fields.deadline_ns != 0) until_ns = std::min(until_ns, fields.deadline_ns);
  const Ref question = Ref::steal(PyList_New(count));
  if (!question) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) PyList_SET_ITEM(question.get(), i, Py_NewRef(items[i]));
  return fields.asker->ask(fields.call_id, question.get(), until_ns);
}

PyMethodDef kMethods[] = {
    {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call)), METH_FASTCALL | METH_KEYWORDS,
     "call(name, /, *arguments, timeout=None)\n\nCalls a function that the host has exposed, and waits for what it returns: at most `timeout` seconds,\n"
     "and never beyond the deadline of this call. Raises HostError with the function's error, HostTimeout, which is a TimeoutError.\n"
     "In an `async def` method it returns at once what is to be awaited."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_doc, const_cast<char*>("The host, as a running method sees it: ctx.host.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar.Host", sizeof(HostObject), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_host_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

PyObject* make_host(PyObject* type, PyObject* context) {
  auto* its_type = reinterpret_cast<PyTypeObject*>(type);
  PyObject* self = its_type->tp_alloc(its_type, 0);
  if (self != nullptr) reinterpret_cast<HostObject*>(self)->context = Py_NewRef(context);
  return self;
}

}  // namespace samovar::python
