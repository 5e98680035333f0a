// What the ties of a worker and of a nursery to their host have in common.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/control_socket.h"
#include "ipc/handshake.h"
#include "ipc/result.h"

namespace samovar::python {

inline constexpr std::uint8_t kLogLevelMax = 3;

// Null, with an OSError.
PyObject* raise_system_error(const ipc::SystemError& error);

// Whether `message` reached the socket; false with OSError. GIL: held, released while the peer's buffer is full.
bool send(const ipc::ControlSocket& socket, const ipc::ControlMessage& message, std::span<const int> fds = {});

// The host's first message, which `fd` has or will have. Blocks, the GIL released. Nothing, with OSError or ValueError.
struct FirstMessage {
  ipc::ControlSocket socket;
  ipc::ControlMessage message;
  std::vector<ipc::UniqueFd> fds;
};
std::optional<FirstMessage> receive_first(PyObject* fd);

// (reason, type, message, traceback), each a str, as what a StartFailed says, cut so that it fits into a datagram.
ipc::StartFailed start_failure(PyObject* const (&text)[4]);

// fail(reason, type, message, traceback) of either tie: tells the host that this process cannot be what it was started for.
PyObject* send_start_failed(const ipc::ControlSocket& socket, PyObject* arguments);

// What the host calls the user's module, as a str. A new reference, or null with an exception.
PyObject* module_spec(const std::string& module);

}  // namespace samovar::python
