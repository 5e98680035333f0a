#include "python_ext/native/errors.h"

#include <algorithm>
#include <utility>

#include <samovar_wire/error_generated.h>

namespace samovar::python {
namespace {

// More than an Error needs beside its three texts.
constexpr std::size_t kErrorEnvelopeBytes = 80;

// The first byte of the character that `at` lies in.
std::size_t character_start(const std::string& text, std::size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

}  // namespace

Ref take_raised() {
#if PY_VERSION_HEX >= 0x030c0000
  return Ref::steal(PyErr_GetRaisedException());
#else
  PyObject* type;
  PyObject* value;
  PyObject* traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (value != nullptr && traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return Ref::steal(value);
#endif
}

std::string to_utf8(PyObject* text) {
  if (text == nullptr || !PyUnicode_Check(text)) return {};
  const Ref bytes = Ref::steal(PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace"));
  if (!bytes) {
    PyErr_Clear();
    return {};
  }
  return {PyBytes_AS_STRING(bytes.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get()))};
}

Failure take_exception(PyObject* describe, ipc::FailureCode code) {
  const Ref error = take_raised();
  if (!error) return {code, "SystemError", "an error without an exception", {}};
  if (describe != nullptr) {
    const Ref parts = Ref::steal(PyObject_CallOneArg(describe, error.get()));
    if (parts && PyTuple_CheckExact(parts.get()) && PyTuple_GET_SIZE(parts.get()) == 3) {
      PyObject* const* part = &PyTuple_GET_ITEM(parts.get(), 0);
      // Only what the handler raised has a way through the user's code to tell.
      std::string traceback = code == ipc::FailureCode::exception ? to_utf8(part[2]) : std::string();
      return {code, to_utf8(part[0]), to_utf8(part[1]), std::move(traceback)};
    }
    PyErr_Clear();
  }
  return {code, Py_TYPE(error.get())->tp_name, {}, {}};
}

void cut_tail(std::string& text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return;
  const std::string dots = bytes_max >= 16 ? "..." : "";
  text.resize(character_start(text, bytes_max - dots.size()));
  text += dots;
}

void cut_middle(std::string& text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return;
  const std::string missing = "\n... " + std::to_string(text.size() - bytes_max) + " bytes and more are left out ...\n";
  if (bytes_max < 2 * missing.size()) return cut_tail(text, bytes_max);
  const std::size_t kept = bytes_max - missing.size();
  const std::size_t head_end = character_start(text, kept / 3);  // the end of a traceback says more than its start
  std::size_t tail_start = text.size() - (kept - kept / 3);
  while (tail_start < text.size() && (static_cast<unsigned char>(text[tail_start]) & 0xc0) == 0x80) ++tail_start;
  text = text.substr(0, head_end) + missing + text.substr(tail_start);
}

std::vector<std::uint8_t> encode_failure(Failure failure, std::size_t bytes_max) {
  const std::size_t room = bytes_max > kErrorEnvelopeBytes ? bytes_max - kErrorEnvelopeBytes : 0;
  cut_tail(failure.type, std::min(kErrorTypeBytesMax, room));
  cut_tail(failure.message, std::min(kErrorMessageBytesMax, room - failure.type.size()));
  cut_middle(failure.traceback, room - failure.type.size() - failure.message.size());

  flatbuffers::FlatBufferBuilder builder(bytes_max + kErrorEnvelopeBytes);
  const auto type = builder.CreateString(failure.type);
  const auto message = builder.CreateString(failure.message);
  const auto traceback = builder.CreateString(failure.traceback);
  builder.Finish(wire::CreateError(builder, static_cast<std::uint16_t>(failure.code), type, message, traceback));
  if (builder.GetSize() > bytes_max) return {};
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

}  // namespace samovar::python
