#include "python_ext/native/nursery_link.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "ipc/layout.h"
#include "ipc/memory_policy.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/exit_status.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/link.h"
#include "python_ext/native/ref.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace samovar::python {
namespace {

constexpr timespec kLookForHost{0, 500'000'000};  // while user code runs: the host's death ends everything within a second

// Reaping takes the kernel microseconds, and seconds where others scan /proc just then. So it is done when nobody wants a fork, or
// when so many zombies have gathered.
constexpr int kIdleMs = 50;
constexpr std::size_t kUnreapedMax = 64;

struct Child {
  std::uint64_t incarnation;
  pid_t pid;
  ipc::UniqueFd pidfd;
  bool ended = false;   // and the host has been told
  bool buried = false;  // it may be reaped
};

struct Nursery {
  ipc::ControlSocket socket;
  ipc::NurseryHello hello;
  ipc::UniqueFd host_pidfd;
  std::vector<Child> children{};
  timer_t timer{};
};

struct NurseryLinkObject {
  PyObject_HEAD
  Nursery* nursery;  // never freed: one per process, for its life
};

Nursery& nursery_of(PyObject* self) { return *reinterpret_cast<NurseryLinkObject*>(self)->nursery; }

// --- the host's end, while user code runs ------------------------------------------------------------------------------------

int watch_signal() { return SIGRTMAX - 4; }

// What the handler looks at. Constant from make_timer() to leave().
pollfd watched[2];

bool is_host_gone() {
  pollfd now[2] = {watched[0], watched[1]};
  return poll(now, 2, 0) > 0 && ((now[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0 || now[1].revents != 0);
}

// Async-signal-safe.
void end_with_host(int) {
  const int before = errno;
  if (is_host_gone()) {
    if (getpgrp() == getpid()) kill(0, SIGKILL);
    _exit(kExitHostGone);
  }
  errno = before;
}

bool make_timer(Nursery& nursery) {
  watched[0] = {nursery.socket.fd(), 0, 0};
  watched[1] = {nursery.host_pidfd.get(), POLLIN, 0};
  struct sigaction action = {};
  action.sa_handler = end_with_host;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = watch_signal();
  if (sigaction(watch_signal(), &action, nullptr) == 0 && timer_create(CLOCK_MONOTONIC, &event, &nursery.timer) == 0) return true;
  raise_system_error({"timer_create", errno});
  return false;
}

// watch_host(bool): whether user code runs, and the host's death has to be looked for.
PyObject* watch_host(PyObject* self, PyObject* on) {
  const int watches = PyObject_IsTrue(on);
  if (watches < 0) return nullptr;
  const itimerspec times = watches != 0 ? itimerspec{kLookForHost, kLookForHost} : itimerspec{};
  if (timer_settime(nursery_of(self).timer, 0, &times, nullptr) != 0) return raise_system_error({"timer_settime", errno});
  Py_RETURN_NONE;
}

// --- children ----------------------------------------------------------------------------------------------------------------

bool send_fork_failed(const Nursery& nursery, std::uint64_t incarnation, ipc::StartFailed why) {
  return send(nursery.socket, ipc::ForkFailed{incarnation, std::move(why)});
}

// forked(incarnation, pid): in the parent: tells the host of the child, with its pidfd.
PyObject* forked(PyObject* self, PyObject* arguments) {
  Nursery& nursery = nursery_of(self);
  unsigned long long incarnation;
  int pid;
  if (!PyArg_ParseTuple(arguments, "Ki:forked", &incarnation, &pid)) return nullptr;
  setpgid(pid, pid);  // as the child does: whoever signals its group may come first
  ipc::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    const std::string why = std::string("pidfd_open: ") + std::strerror(errno);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    if (!send_fork_failed(nursery, incarnation, {"the nursery cannot watch the worker it has forked", "OSError", why, ""})) return nullptr;
    Py_RETURN_NONE;
  }
  const int fds[] = {pidfd.get()};
  if (!send(nursery.socket, ipc::Forked{incarnation, static_cast<std::uint32_t>(pid)}, fds)) return nullptr;
  nursery.children.push_back({incarnation, pid, std::move(pidfd)});
  Py_RETURN_NONE;
}

// refuse(incarnation, reason, type, message, traceback): tells the host that there will be no such worker.
PyObject* refuse(PyObject* self, PyObject* arguments) {
  unsigned long long incarnation;
  PyObject* text[4];
  if (!PyArg_ParseTuple(arguments, "KUUUU:refuse", &incarnation, &text[0], &text[1], &text[2], &text[3])) return nullptr;
  if (!send_fork_failed(nursery_of(self), incarnation, start_failure(text))) return nullptr;
  Py_RETURN_NONE;
}

// leave(): in the child: what is the nursery's is closed.
PyObject* leave(PyObject* self, PyObject*) {
  setpgid(0, 0);
  signal(watch_signal(), SIG_DFL);  // the timer was not inherited
  Nursery& nursery = nursery_of(self);
  nursery.children.clear();
  nursery.host_pidfd.reset();
  nursery.socket = ipc::ControlSocket(ipc::UniqueFd());
  Py_RETURN_NONE;
}

// Tells the host; the child stays a zombie, whose number belongs to nobody else, until the host has it buried.
void tell_end(const Nursery& nursery, Child& child) {
  siginfo_t info{};
  if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()), &info, WEXITED | WNOWAIT | WNOHANG) != 0) {
    info = {};  // the user's code reaps whatever there is: nobody knows how it ended
  } else if (info.si_pid == 0) {
    return;  // not yet
  }
  child.ended = true;
  ipc::ChildEnded ended{.incarnation = child.incarnation};
  if (info.si_code == CLD_EXITED) ended.code = info.si_status;
  else if (info.si_code != 0) ended.signal = info.si_status;
  (void)nursery.socket.send(ipc::encode_control(ended));  // a host that has gone is seen at the socket
}

void bury(Nursery& nursery, std::uint64_t incarnation) {
  const auto is_meant = [&](const Child& child) { return child.incarnation == incarnation; };
  const auto child = std::find_if(nursery.children.begin(), nursery.children.end(), is_meant);
  if (child != nursery.children.end()) child->buried = true;
}

// One of those that may be.
void reap(Nursery& nursery) {
  const auto child = std::find_if(nursery.children.begin(), nursery.children.end(), [](const Child& c) { return c.buried; });
  if (child == nursery.children.end()) return;
  siginfo_t info{};
  Py_BEGIN_ALLOW_THREADS
  waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child->pidfd.get()), &info, WEXITED | WNOHANG);
  Py_END_ALLOW_THREADS
  nursery.children.erase(child);
}

// --- the loop ----------------------------------------------------------------------------------------------------------------

enum class Turn { again, fork, host_gone, raised };

// What lies in the socket. `incarnation` and `fds` of a request to fork.
Turn listen(Nursery& nursery, std::uint64_t& incarnation, std::vector<ipc::UniqueFd>& fds) {
  auto datagram = nursery.socket.receive();
  if (!datagram) return raise_system_error(datagram.error()), Turn::raised;
  if (datagram->bytes.empty()) return Turn::host_gone;
  const auto message = ipc::decode_control(datagram->bytes);
  if (message && std::holds_alternative<ipc::Bury>(*message)) {
    bury(nursery, std::get<ipc::Bury>(*message).incarnation);
    return Turn::again;
  }
  if (message && std::holds_alternative<ipc::Fork>(*message) && datagram->fds.size() == ipc::kForkFds) {
    incarnation = std::get<ipc::Fork>(*message).incarnation;
    fds = std::move(datagram->fds);
    return Turn::fork;
  }
  PyErr_Format(PyExc_ValueError, "the host sent %s", message ? "a message that is none for a nursery" : message.error().c_str());
  return Turn::raised;
}

Turn wait_and_serve(Nursery& nursery, std::uint64_t& incarnation, std::vector<ipc::UniqueFd>& fds) {
  const auto unreaped = std::count_if(nursery.children.begin(), nursery.children.end(), [](const Child& child) { return child.buried; });
  if (static_cast<std::size_t>(unreaped) > kUnreapedMax) reap(nursery);
  std::vector<pollfd> polled = {{nursery.socket.fd(), POLLIN, 0}, {nursery.host_pidfd.get(), POLLIN, 0}};
  for (const Child& child : nursery.children) polled.push_back({child.ended ? -1 : child.pidfd.get(), POLLIN, 0});
  int ready;
  Py_BEGIN_ALLOW_THREADS
  ready = poll(polled.data(), polled.size(), unreaped > 0 ? kIdleMs : -1);
  Py_END_ALLOW_THREADS
  if (ready == 0) return reap(nursery), Turn::again;
  if (ready < 0) {
    if (errno != EINTR) return raise_system_error({"poll", errno}), Turn::raised;
    return PyErr_CheckSignals() == 0 ? Turn::again : Turn::raised;
  }
  if (polled[1].revents != 0) return Turn::host_gone;
  for (std::size_t i = 0; i < nursery.children.size(); ++i) {
    if (polled[i + 2].revents != 0) tell_end(nursery, nursery.children[i]);
  }
  return polled[0].revents != 0 ? listen(nursery, incarnation, fds) : Turn::again;
}

// next_fork() -> (incarnation, socket, output), or None when the host has gone, or needs no nursery any more.
PyObject* next_fork(PyObject* self, PyObject*) {
  Nursery& nursery = nursery_of(self);
  try {
    for (;;) {
      std::uint64_t incarnation = 0;
      std::vector<ipc::UniqueFd> fds;
      switch (wait_and_serve(nursery, incarnation, fds)) {
        case Turn::again: continue;
        case Turn::raised: return nullptr;
        case Turn::host_gone:
          // Living workers' guards see the same; of one that has just ended nobody else would end the children.
          for (const Child& child : nursery.children) kill(-child.pid, SIGKILL);
          Py_RETURN_NONE;
        case Turn::fork:
          return Py_BuildValue("Kii", static_cast<unsigned long long>(incarnation), fds[ipc::kFdWorkerSocket].release(),
                               fds[ipc::kFdWorkerOutput].release());
      }
    }
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

// --- the start ---------------------------------------------------------------------------------------------------------------

// fail(reason, type, message, traceback): tells the host that this nursery cannot be one.
PyObject* fail(PyObject* self, PyObject* arguments) { return send_start_failed(nursery_of(self).socket, arguments); }

// ready(threads): tells the host that this nursery can fork, or because of which threads it cannot.
PyObject* ready(PyObject* self, PyObject* threads) {
  const Ref items = Ref::steal(PySequence_Fast(threads, "threads must be a sequence"));
  if (!items) return nullptr;
  ipc::NurseryReady message{.layout_hash = ipc::layout_hash(), .threads = {}};
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* name = PySequence_Fast_GET_ITEM(items.get(), i);
    if (!PyUnicode_Check(name)) return PyErr_SetString(PyExc_TypeError, "a thread's name is a str"), nullptr;
    message.threads.push_back(to_utf8(name));
  }
  if (!send(nursery_of(self).socket, message)) return nullptr;
  Py_RETURN_NONE;
}

// What it loads belongs to workers on all nodes. A worker's own pages come from its node again (settle_on_node()).
void spread_over_nodes(const ipc::NurseryHello& hello) {
  if (auto spread = ipc::spread_over_nodes_for_this_thread(hello.memory_nodes); !spread) {
    PySys_FormatStderr("samovar: what workers share is loaded on any NUMA node: %s\n", spread.error().to_string().c_str());
  }
}

PyObject* layout_hash(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(nursery_of(self).hello.layout_hash); }
PyObject* log_level(PyObject* self, void*) { return PyLong_FromUnsignedLong(nursery_of(self).hello.log_level); }
PyObject* module_name(PyObject* self, void*) { return module_spec(nursery_of(self).hello.module); }

PyMethodDef kMethods[] = {
    {"watch_host", watch_host, METH_O, "watch_host(bool): whether user code runs, and the host's death has to be looked for."},
    {"fail", fail, METH_VARARGS, "fail(reason, type, message, traceback): tell the host that this nursery cannot be one."},
    {"ready", ready, METH_O, "ready(threads): tell the host that this nursery can fork, or because of which threads it cannot."},
    {"next_fork", next_fork, METH_NOARGS, "next_fork() -> (incarnation, socket, output), or None at the end."},
    {"forked", forked, METH_VARARGS, "forked(incarnation, pid): in the parent: tell the host of the child."},
    {"refuse", refuse, METH_VARARGS, "refuse(incarnation, reason, type, message, traceback): tell the host that there is no child."},
    {"leave", leave, METH_NOARGS, "leave(): in the child: close what is the nursery's."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"layout_hash", layout_hash, nullptr, "The host's layout.", nullptr},
    {"module", module_name, nullptr, "What to load: \"models\" or \"path/models.py\".", nullptr},
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

PyType_Spec kSpec = {"samovar._native.NurseryLink", sizeof(NurseryLinkObject), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_nursery_link_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

PyObject* receive_nursery_hello(PyObject* module, PyObject* fd_object) {
  std::optional<FirstMessage> first = receive_first(fd_object);
  if (!first) return nullptr;
  auto* hello = std::get_if<ipc::NurseryHello>(&first->message);
  if (hello == nullptr || first->fds.size() != 1 || hello->log_level > kLogLevelMax) {
    PyErr_SetString(PyExc_ValueError, "the host's first message is no NurseryHello with its descriptor");
    return nullptr;
  }
  const auto* state = static_cast<ModuleState*>(PyModule_GetState(module));
  auto* type = reinterpret_cast<PyTypeObject*>(state->nursery_link_type);
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  auto* nursery = new Nursery{.socket = std::move(first->socket), .hello = std::move(*hello), .host_pidfd = std::move(first->fds[0])};
  reinterpret_cast<NurseryLinkObject*>(self)->nursery = nursery;
  spread_over_nodes(nursery->hello);
  if (make_timer(*nursery)) return self;
  Py_DECREF(self);
  return nullptr;
}

}  // namespace samovar::python
