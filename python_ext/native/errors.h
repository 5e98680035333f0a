// Errors: from a Python exception to the bytes that say it on the wire (schemas/error.fbs), within limits.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ipc/message.h"
#include "python_ext/native/ref.h"

namespace samovar::python {

inline constexpr std::size_t kErrorTypeBytesMax = 200;
inline constexpr std::size_t kErrorMessageBytesMax = 1024;

struct Failure {
  ipc::FailureCode code = ipc::FailureCode::exception;
  std::string type;  // qualified: "ValueError", "models.NoSuchSymbol"
  std::string message;
  std::string traceback;
};

// Takes the exception that is set, normalised, with its traceback attached, and clears it; null if none is. GIL: held.
Ref take_raised();

// Takes the exception that is set, BaseExceptions included, and clears it. `describe` is samovar.failures.describe; when it
// fails (no memory, no stack left) the type's name remains. A traceback goes with FailureCode::exception only. GIL: held, but runs user code (__str__), which may drop it.
Failure take_exception(PyObject* describe, ipc::FailureCode code);

// A wire::Error of at most `bytes_max` bytes. What is too long is cut: the traceback in its middle, then the message, then the
// type, never inside a character. Empty when not even an empty one fits. GIL: not needed.
std::vector<std::uint8_t> encode_failure(Failure failure, std::size_t bytes_max);

// `text` in at most `bytes_max` bytes: head and tail stay, and a line between them says how much is missing.
void cut_middle(std::string& text, std::size_t bytes_max);

// `text` in at most `bytes_max` bytes, its head.
void cut_tail(std::string& text, std::size_t bytes_max);

// UTF-8 of a str; what UTF-8 cannot say (lone surrogates) is written with backslashes. GIL: held. Never fails: at worst "".
std::string to_utf8(PyObject* text);

}  // namespace samovar::python
