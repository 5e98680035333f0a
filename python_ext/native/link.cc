#include "python_ext/native/link.h"

#include <cerrno>
#include <string>
#include <utility>

#include "python_ext/native/errors.h"
#include "python_ext/native/ref.h"

namespace samovar::python {
namespace {

// A StartFailed must fit into a datagram with room to spare.
constexpr std::size_t kTracebackBytesMax = 32 * 1024;
constexpr std::size_t kMessageBytesMax = 8 * 1024;

}  // namespace

PyObject* raise_system_error(const ipc::SystemError& error) {
  const Ref arguments = Ref::steal(Py_BuildValue("(is)", error.error, error.to_string().c_str()));
  if (arguments) PyErr_SetObject(PyExc_OSError, arguments.get());
  return nullptr;
}

bool send(const ipc::ControlSocket& socket, const ipc::ControlMessage& message, std::span<const int> fds) {
  const std::vector<std::uint8_t> bytes = ipc::encode_control(message);
  ipc::SystemResult<void> sent;
  Py_BEGIN_ALLOW_THREADS
  sent = socket.send(bytes, fds);
  Py_END_ALLOW_THREADS
  if (!sent) raise_system_error(sent.error());
  return sent.has_value();
}

std::optional<FirstMessage> receive_first(PyObject* fd_object) {
  const int fd = PyObject_AsFileDescriptor(fd_object);
  if (fd < 0) return std::nullopt;
  ipc::ControlSocket socket{ipc::UniqueFd(fd)};
  ipc::SystemResult<ipc::ControlDatagram> datagram;
  Py_BEGIN_ALLOW_THREADS
  datagram = socket.receive();
  Py_END_ALLOW_THREADS
  if (datagram && datagram->bytes.empty()) {
    datagram = tl::unexpected(ipc::SystemError{"the host closed the socket before its first message", ECONNRESET});
  }
  if (!datagram) {
    raise_system_error(datagram.error());
    return std::nullopt;
  }
  auto message = ipc::decode_control(datagram->bytes);
  if (!message) {
    PyErr_Format(PyExc_ValueError, "the host's first message is %s", message.error().c_str());
    return std::nullopt;
  }
  return FirstMessage{std::move(socket), std::move(*message), std::move(datagram->fds)};
}

ipc::StartFailed start_failure(PyObject* const (&text)[4]) {
  ipc::StartFailed failed{to_utf8(text[0]), to_utf8(text[1]), to_utf8(text[2]), to_utf8(text[3])};
  cut_tail(failed.reason, kMessageBytesMax);
  cut_tail(failed.type, kErrorTypeBytesMax);
  cut_tail(failed.message, kMessageBytesMax);
  cut_middle(failed.traceback, kTracebackBytesMax);
  return failed;
}

PyObject* send_start_failed(const ipc::ControlSocket& socket, PyObject* arguments) {
  PyObject* text[4];
  if (!PyArg_ParseTuple(arguments, "UUUU:fail", &text[0], &text[1], &text[2], &text[3])) return nullptr;
  if (!send(socket, start_failure(text))) return nullptr;
  Py_RETURN_NONE;
}

PyObject* module_spec(const std::string& module) {
  return PyUnicode_DecodeFSDefaultAndSize(module.data(), static_cast<Py_ssize_t>(module.size()));
}

}  // namespace samovar::python
