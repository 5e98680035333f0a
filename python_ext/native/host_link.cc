#include "python_ext/native/host_link.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "ipc/channel.h"
#include "ipc/control_socket.h"
#include "ipc/handshake.h"
#include "ipc/memory_policy.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/event_lane.h"
#include "python_ext/native/event_lane_object.h"
#include "python_ext/native/exit_status.h"
#include "python_ext/native/forked_child.h"
#include "python_ext/native/guard.h"
#include "python_ext/native/link.h"
#include "python_ext/native/method.h"
#include "python_ext/native/prober.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/stack_dump.h"
#include "python_ext/native/worker_loop.h"

namespace samovar::python {
namespace {

constexpr std::uint32_t kConcurrencyMax = 4096;  // whatever the host says

struct Link {
  ipc::ControlSocket socket;
  ipc::Hello hello;
  std::vector<ipc::UniqueFd> fds;
  std::unique_ptr<ipc::WorkerEnd> end;  // a context that outlives the loop may still look at its lane
  Prober prober{};
};

struct HostLinkObject {
  PyObject_HEAD
  Link* link;  // never freed, see the header
};

Link& link_of(PyObject* self) { return *reinterpret_cast<HostLinkObject*>(self)->link; }

// Pages of this process come from its worker's node from here on, those of its later threads and children, too. Before the user's
// code is imported. Refused, the kernel's own choice stands, which is nearly as good for a worker that is pinned.
void settle_on_node(const ipc::Hello& hello) {
  if (auto preferred = ipc::prefer_node_for_this_thread(hello.memory_node); !preferred) {
    PySys_FormatStderr("samovar: the memory of worker %u comes from any NUMA node: %s\n", hello.worker, preferred.error().to_string().c_str());
  }
}

// guard(forked): maps the channel, and starts the threads that show that this process lives and end it when the host is gone.
PyObject* guard(PyObject* self, PyObject* forked) {
  Link& link = link_of(self);
  const int is_forked = PyObject_IsTrue(forked);
  if (is_forked < 0) return nullptr;
  settle_on_node(link.hello);
  if (!install_stack_dump()) return nullptr;
  const int host_pidfd = link.fds[ipc::kFdHostProcess].get();
  mark_forked_children({link.socket.fd(), host_pidfd, link.fds[ipc::kFdEvent].get(), link.fds[ipc::kFdResponseArena].get(),
                        stack_dump_fd()});
  auto end = ipc::WorkerEnd::attach(link.hello, link.fds);
  if (!end) return raise_system_error(end.error());
  link.end = std::move(*end);
  int error = link.prober.start(link.end->pulse());
  if (error == 0) {
    error = start_guard({.control_fd = link.socket.fd(),
                         .host_pidfd = host_pidfd,
                         .pulse = link.end->pulse(),
                         .schedule = {link.hello.heartbeat_ns, link.hello.probe_after_ns},
                         .prober = link.prober,
                         .is_forked = is_forked != 0});
  }
  if (error != 0) return raise_system_error({"starting the guard thread", error});
  Py_RETURN_NONE;
}

// fail(reason, type, message, traceback): tells the host that this worker cannot serve.
PyObject* fail(PyObject* self, PyObject* arguments) { return send_start_failed(link_of(self).socket, arguments); }

bool send_ready(const Link& link, const std::vector<Method>& methods) {
  const std::string version = Py_GetVersion();
  ipc::Ready ready{.layout_hash = ipc::layout_hash(), .python = version.substr(0, version.find(' '))};
  for (const Method& method : methods) ready.methods.push_back(method.described);
  if (ipc::encode_control(ready).size() > ipc::kControlBytesMax) {
    for (ipc::Method& method : ready.methods) method.signature.clear();  // the names matter more
  }
  return send(link.socket, ready);
}

// Says Ready and serves. Null with an exception.
PyObject* say_ready_and_serve(Link& link, std::vector<Method> methods, PyObject* describe, const ModuleState& state) {
  if (!send_ready(link, methods)) return nullptr;

  const Prober::Serving probed(link.prober);
  WorkerLoop loop(*link.end, link.hello, std::move(methods), describe, state);
  switch (loop.run()) {
    case LoopEnd::stopped:
      return PyLong_FromLong(kExitStopped);
    case LoopEnd::broken:
      PySys_WriteStderr("samovar: worker %u found what is no request in its lane; the host has a bug. The worker ends.\n",
                        link.hello.worker);
      return PyLong_FromLong(kExitBrokenLane);
    case LoopEnd::raised:
      return nullptr;
  }
  Py_UNREACHABLE();
}

// open_lane(methods, describe) -> EventLane. Says Ready. Requires: guard().
PyObject* open_lane(PyObject* self, PyObject* arguments) {
  if (is_forked_child()) end_forked_child();  // of the user's module, while it was imported
  PyObject* sequence;
  PyObject* describe;
  if (!PyArg_ParseTuple(arguments, "OO:open_lane", &sequence, &describe)) return nullptr;
  std::vector<Method> methods;
  if (!read_methods(sequence, methods)) return nullptr;
  const auto* state = static_cast<ModuleState*>(PyType_GetModuleState(Py_TYPE(self)));
  Link& link = link_of(self);
  try {
    if (!send_ready(link, methods)) return nullptr;
    const EventLane::Settings settings{.worker = link.hello.worker,
                                       .escaped_views_max = link.hello.escaped_views_max,
                                       .concurrency = std::clamp<std::uint32_t>(link.hello.concurrency, 1, kConcurrencyMax),
                                       .stream_window = link.hello.stream_window};
    auto lane = std::make_unique<EventLane>(*link.end, link.prober, settings, std::move(methods), describe, *state);
    PyObject* opened = make_event_lane(reinterpret_cast<PyTypeObject*>(state->event_lane_type), lane.get());
    if (opened != nullptr) (void)lane.release();
    return opened;
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

// serve(methods, describe) -> exit status. Requires: guard().
PyObject* serve(PyObject* self, PyObject* arguments) {
  if (is_forked_child()) end_forked_child();  // of the user's module, while it was imported
  PyObject* sequence;
  PyObject* describe;
  if (!PyArg_ParseTuple(arguments, "OO:serve", &sequence, &describe)) return nullptr;
  std::vector<Method> methods;
  if (!read_methods(sequence, methods)) return nullptr;
  const auto* state = static_cast<ModuleState*>(PyType_GetModuleState(Py_TYPE(self)));
  try {
    return say_ready_and_serve(link_of(self), std::move(methods), describe, *state);
  } catch (const std::bad_alloc&) {  // of a few bytes: there is no way on but to be replaced
    return PyErr_NoMemory();
  }
}

PyObject* layout_hash(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(link_of(self).hello.layout_hash); }
PyObject* incarnation(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(link_of(self).hello.incarnation); }
PyObject* worker(PyObject* self, void*) { return PyLong_FromUnsignedLong(link_of(self).hello.worker); }
PyObject* log_level(PyObject* self, void*) { return PyLong_FromUnsignedLong(link_of(self).hello.log_level); }
PyObject* module_name(PyObject* self, void*) { return module_spec(link_of(self).hello.module); }

PyMethodDef kMethods[] = {
    {"guard", guard, METH_O, "guard(forked): map the channel; start the threads that show that this process lives and end it when the host is gone."},
    {"fail", fail, METH_VARARGS, "fail(reason, type, message, traceback): tell the host that this worker cannot serve."},
    {"open_lane", open_lane, METH_VARARGS, "open_lane(methods, describe) -> EventLane: the lane, for an event loop to serve; the host may send."},
    {"serve", serve, METH_VARARGS, "serve(methods, describe) -> int: serve until the host says stop; the exit status."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"layout_hash", layout_hash, nullptr, "The host's layout.", nullptr},
    {"module", module_name, nullptr, "What to load: \"models\" or \"path/models.py\".", nullptr},
    {"worker", worker, nullptr, "The worker's number.", nullptr},
    {"incarnation", incarnation, nullptr, "The number of this life of the worker.", nullptr},
    {"log_level", log_level, nullptr, "The least that the host logs: 0 debug, 1 info, 2 warning, 3 error.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar._native.HostLink", sizeof(HostLinkObject), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_host_link_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

PyObject* receive_hello(PyObject* module, PyObject* fd_object) {
  std::optional<FirstMessage> first = receive_first(fd_object);
  if (!first) return nullptr;
  auto* hello = std::get_if<ipc::Hello>(&first->message);
  if (hello == nullptr || first->fds.size() < ipc::kHelloFds - 1 || hello->log_level > kLogLevelMax) {
    PyErr_SetString(PyExc_ValueError, "the host's first message is no Hello with its descriptors");
    return nullptr;
  }
  const auto* state = static_cast<ModuleState*>(PyModule_GetState(module));
  auto* type = reinterpret_cast<PyTypeObject*>(state->host_link_type);
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  reinterpret_cast<HostLinkObject*>(self)->link =
      new Link{.socket = std::move(first->socket), .hello = std::move(*hello), .fds = std::move(first->fds), .end = nullptr};
  return self;
}

}  // namespace samovar::python
