#include "python_ext/native/arguments.h"

#include <optional>
#include <utility>

#include "python_ext/native/private_memory.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/values.h"

namespace samovar::python {

bool ArgumentReader::read(RunningCall& call, Arguments& out, PayloadView& view) {
  const ipc::Request& request = call.request;
  if (request.kind == ipc::Kind::none) {
    out.set_none();
    return true;
  }
  const std::optional<std::span<const std::byte>> payload = end_.payload(request);
  if (!payload) {
    call.failure_code = ipc::FailureCode::argument;
    PyErr_SetString(PyExc_ValueError, "argument: the request names a block outside of the arena");
    return false;
  }
  const bool in_arena = (request.flags & ipc::kRequestInArena) != 0;
  if (call.method->schema) return read_flatbuffer(call, *payload, out);
  if (request.kind == ipc::Kind::bytes || request.kind == ipc::Kind::flatbuffer) {
    PyObject* shown = in_arena ? call.argument.show(*payload, request.call_id, call.method->described.name) : view.show(*payload);
    out.set_borrowed(shown);
    return shown != nullptr;
  }
  if (request.kind == ipc::Kind::tensor) return read_tensors(call, *payload, out);

  // What has structure is read from private memory: the host could still write the lane and the arena.
  call.failure_code = ipc::FailureCode::argument;
  std::vector<std::byte> large;
  std::vector<std::byte>& copy = in_arena ? large : private_copy_;
  copy.assign(payload->begin(), payload->end());
  const bool read = request.kind == ipc::Kind::text ? read_text(copy, out) : read_values(request.kind, copy, out);
  if (read) call.failure_code = ipc::FailureCode::exception;
  return read;
}

// Where the method has said which schema: bytes are taken, too, for it is the verification that tells. What lies in the arena is read
// there: a view checks each access (schema_view.h).
bool ArgumentReader::read_flatbuffer(RunningCall& call, std::span<const std::byte> payload, Arguments& out) {
  const ipc::Request& request = call.request;
  PyObject* schema = call.method->schema.get();
  call.failure_code = ipc::FailureCode::argument;
  if (request.kind != ipc::Kind::flatbuffer && request.kind != ipc::Kind::bytes) {
    PyErr_Format(PyExc_TypeError, "argument: %s takes a FlatBuffer (samovar::flatbuffer()), and something else was sent",
                 call.method->described.name.c_str());
    return false;
  }
  Ref view;
  if ((request.flags & ipc::kRequestInArena) == 0) {
    view = Ref::steal(view_copy(schema, payload, "argument: the FlatBuffer"));
  } else if (PyObject* in_place = call.argument.show(payload, request.call_id, call.method->described.name)) {
    view = Ref::steal(view_in_place(schema, in_place, "argument: the FlatBuffer"));
  }
  if (!view) return false;
  call.failure_code = ipc::FailureCode::exception;
  out.set(std::move(view));
  return true;
}

bool ArgumentReader::read_text(std::span<const std::byte> utf8, Arguments& out) {
  Ref text = Ref::steal(PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(utf8.data()), static_cast<Py_ssize_t>(utf8.size()), nullptr));
  if (!text) {
    if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_SetString(PyExc_ValueError, "argument: the text is not UTF-8");
    return false;
  }
  out.set(std::move(text));
  return true;
}

bool ArgumentReader::read_tensors(RunningCall& call, std::span<const std::byte> payload, Arguments& out) {
  call.failure_code = ipc::FailureCode::argument;
  const bool in_arena = (call.request.flags & ipc::kRequestInArena) != 0;
  const auto beside = in_arena ? ipc::read_located(call.request.kind, call.request.payload)->header : std::span<const std::byte>();
  const auto header = beside.empty() ? call.tensors.read(payload) : call.tensors.read(beside, payload.size());
  if (!header) {
    PyErr_Format(PyExc_ValueError, "argument: %s", header.error().c_str());
    return false;
  }
  if (!TensorArguments::names_are_text(call.tensors)) return false;
  call.failure_code = ipc::FailureCode::exception;
  if (in_arena && call.method->tensors.kind == TensorMaker::Kind::numpy && call.tensors.tensors().size() == 1 && !call.tensors.named()) {
    if (PyObject* array = call.argument.show_again(tensors_.numpy, call.tensors.tensors().front(), payload, call.request.call_id)) {
      out.set_borrowed(array);
      return true;
    }
  }
  const Ref keeper = in_arena ? call.argument.keep(payload, call.request.call_id, call.method->described.name)
                              : make_private_memory(tensors_.types.private_memory, payload);
  if (!keeper) return false;
  if (!in_arena) payload = private_memory_of(keeper.get());
  Ref argument = tensors_.arguments.make(call.tensors, payload, keeper.get(), call.method->tensors);
  if (!argument) return false;
  if (in_arena) {
    out.set_borrowed(call.argument.show(std::move(argument)));
  } else {
    out.set(std::move(argument));
  }
  return true;
}

bool ArgumentReader::read_values(ipc::Kind kind, std::span<const std::byte> bytes, Arguments& out) {
  Ref value = Ref::steal(decode_value(bytes));
  if (!value) return false;
  if (kind == ipc::Kind::value) {
    out.set(std::move(value));
    return true;
  }
  if (!PyList_CheckExact(value.get())) {
    PyErr_SetString(PyExc_ValueError, "arguments are not a vector");
    return false;
  }
  out.set_items(std::move(value));
  return true;
}

}  // namespace samovar::python
