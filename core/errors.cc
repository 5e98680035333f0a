#include "core/errors.h"

#include <cerrno>
#include <utility>

#include <samovar_wire/error_generated.h>

namespace samovar {

std::string_view to_string(Category category) {
  constexpr std::string_view kNames[] = {"configuration", "request", "resource", "timeout", "cancelled",
                                         "application",   "worker",  "shutdown", "system"};
  return kNames[static_cast<std::size_t>(category)];
}

std::string_view to_string(Code code) {
  constexpr std::string_view kNames[] = {
      "invalid_option",  "python_not_found", "incompatible_worker", "module_failed", "start_timeout",     "unsupported_system",
      "unknown_method",  "invalid_payload",  "payload_too_large",   "queue_full",    "resource_exhausted", "breaker_open",
      "deadline_exceeded", "cancelled",       "method_failed",       "invalid_result", "result_too_large",  "worker_lost",
      "pool_quarantined", "pool_stopped",    "system_error"};
  return kNames[static_cast<std::size_t>(code)];
}

std::string Error::to_string() const {
  std::string text(samovar::to_string(code));
  text += ": " + message;
  if (context.worker >= 0) text += " (worker " + std::to_string(context.worker) + ")";
  if (!context.traceback.empty()) text += "\n" + context.traceback;
  if (!context.stacks.empty()) text += "\nstacks of the worker's threads:\n" + context.stacks;
  if (!context.output.empty()) text += "\nlast output of the worker:\n" + context.output;
  return text;
}

}  // namespace samovar

namespace samovar::core {
namespace {

std::string text(const flatbuffers::String* string) { return string ? string->str() : std::string(); }

std::string quoted(std::string_view name) { return "\"" + std::string(name) + "\""; }

}  // namespace

Error make_error(Category category, Code code, std::string message) {
  return {.category = category, .code = code, .message = std::move(message), .context = {}};
}

Error system_failure(const ipc::SystemError& error, std::string_view doing) {
  std::string message = std::string(doing) + ": " + error.to_string();
  if (error.error == EMFILE || error.error == ENFILE) message += "; raise the limit of open files (ulimit -n)";
  if (error.error == ENOMEM) message += "; free memory, or use fewer workers, or smaller lanes or arenas";
  return make_error(Category::system, Code::system_error, std::move(message));
}

Error start_refused(const ipc::SystemError& error, std::string_view doing) {
  Error refused = system_failure(error, doing);
  if (error.error == ENOSYS || error.error == EINVAL) {
    refused.category = Category::configuration;
    refused.code = Code::unsupported_system;
  }
  return refused;
}

Error deadline_exceeded(std::string_view method, bool sent) {
  Error error = make_error(Category::timeout, Code::deadline_exceeded,
                           sent ? quoted(method) + " was not answered before its deadline; its late reply will be dropped"
                                : quoted(method) + " found no free worker before its deadline; it has not run");
  error.context.retryable = !sent;
  error.context.started = sent;
  return error;
}

Error no_chunk_in_time(std::string_view method, std::int64_t timeout_ns) {
  Error error = make_error(Category::timeout, Code::deadline_exceeded,
                           quoted(method) + " sent no chunk within its chunk_timeout of " + std::to_string(timeout_ns / 1'000'000) + " ms; the stream is ended");
  error.context.started = true;
  return error;
}

Error not_a_stream(std::string_view method) {
  Error error = make_error(Category::request, Code::invalid_payload,
                           quoted(method) + " is not a stream: use Pool::call or Pool::submit, or let it yield its results");
  error.context.method = method;
  return error;
}

Error is_a_stream(std::string_view method) {
  Error error = make_error(Category::request, Code::invalid_payload, quoted(method) + " is a stream: use Pool::stream or Pool::submit_stream");
  error.context.method = method;
  return error;
}

Error call_cancelled(std::string_view method) {
  return make_error(Category::cancelled, Code::cancelled, quoted(method) + " was cancelled by its stop_token");
}

Error pool_stopped() {
  return make_error(Category::shutdown, Code::pool_stopped, "the pool is draining or has ended; start another one");
}

Error queue_full(std::uint32_t limit) {
  Error error = make_error(Category::resource, Code::queue_full,
                           std::to_string(limit) + " calls wait already (queue_limit); try later, add workers, raise "
                           "queue_limit, or pass WhenFull::wait");
  error.context.retryable = true;
  return error;
}

Error no_calls() {
  Error error = make_error(Category::resource, Code::queue_full, "no memory for another call; drop replies you hold");
  error.context.retryable = true;
  return error;
}

Error payload_too_large(std::uint64_t bytes, std::uint64_t limit) {
  return make_error(Category::request, Code::payload_too_large,
                    "a payload of " + std::to_string(bytes) + " bytes is larger than the request arena (request_arena_bytes = " +
                        std::to_string(limit) + "); raise it, or send less");
}

Error arena_full(std::uint64_t bytes, std::uint64_t total, std::uint64_t in_use, std::uint64_t longest_free) {
  Error error = make_error(Category::resource, Code::resource_exhausted,
                           "no room for " + std::to_string(bytes) + " bytes in the request arena: of " + std::to_string(total) +
                               " bytes (request_arena_bytes) " + std::to_string(in_use) + " are in use, and the longest free block has " +
                               std::to_string(longest_free) + "; drop loans and replies you hold, wait, or raise request_arena_bytes");
  error.context.retryable = true;
  return error;
}

Error no_pages(const ipc::SystemError& cause, std::uint64_t bytes) {
  Error error = make_error(Category::resource, Code::resource_exhausted,
                           "no memory for a payload of " + std::to_string(bytes) + " bytes: " + cause.to_string() +
                               "; free memory, or raise this process's or container's limit");
  error.context.retryable = true;
  return error;
}

Error unknown_method(std::string_view name, std::string_view nearest, std::string_view module) {
  std::string message = quoted(module) + " has no method " + quoted(name);
  if (!nearest.empty()) message += "; did you mean " + quoted(nearest) + "?";
  Error error = make_error(Category::request, Code::unknown_method, std::move(message));
  error.context.method = name;
  return error;
}

Error wrong_arity(const ipc::Method& method, std::size_t arguments) {
  std::string message = quoted(method.name) + " cannot be called with " + std::to_string(arguments) +
                        (arguments == 1 ? " argument" : " arguments");
  if (!method.keyword.empty()) {
    message += ": its parameter " + quoted(method.keyword) + " can only be given by name; give it a default, or put it before ctx and *";
  } else if (!method.signature.empty()) {
    message += ": in Python it is " + method.name + method.signature;
  } else {
    message += ": in Python it takes " + std::to_string(method.positional_min);
    if (method.positional_max == ipc::Method::kAny) {
      message += " or more";
    } else if (method.positional_max != method.positional_min) {
      message += " to " + std::to_string(method.positional_max);
    }
  }
  Error error = make_error(Category::request, Code::invalid_payload, std::move(message));
  error.context.method = method.name;
  return error;
}

Error module_failed(const ipc::StartFailed& failed) {
  Error error = make_error(Category::configuration, Code::module_failed, failed.reason);
  if (!failed.type.empty()) error.message += ": " + failed.type + ": " + failed.message;
  error.context.python_type = failed.type;
  error.context.traceback = failed.traceback;
  return error;
}

Error quarantined(const Error& last, int failures) {
  Error error = make_error(Category::worker, Code::pool_quarantined,
                           "the pool has no worker, and " + std::to_string(failures) +
                               " starts in a row have failed; calls are taken again as soon as one succeeds. The last: " + last.message);
  error.context = last.context;
  error.context.started = false;
  error.context.retryable = true;
  return error;
}

Error worker_lost(std::string_view method, int worker, std::string_view how, bool started) {
  Error error = make_error(Category::worker, Code::worker_lost,
                           std::string(how) + (started ? " while it ran " : " before it began to run ") + quoted(method));
  error.context.worker = worker;
  error.context.started = started;
  error.context.retryable = !started;
  return error;
}

Error method_failed(std::string_view method, std::span<const std::byte> payload) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(payload.data());
  flatbuffers::Verifier verifier(data, payload.size());
  if (!wire::VerifyErrorBuffer(verifier)) {
    return make_error(Category::application, Code::method_failed, quoted(method) + " failed; its error could not be read");
  }
  const wire::Error* failure = wire::GetError(data);
  Error error = make_error(Category::application, Code::method_failed, text(failure->message()));
  error.context.started = true;
  error.context.python_type = text(failure->type());
  error.context.traceback = text(failure->traceback());
  const std::uint16_t code = failure->code() > ipc::kFailureCodeMax ? 0 : failure->code();
  switch (static_cast<ipc::FailureCode>(code)) {
    case ipc::FailureCode::exception:
      if (!error.context.python_type.empty()) {
        error.message = error.context.python_type + (error.message.empty() ? "" : ": ") + error.message;
      }
      break;
    case ipc::FailureCode::result_type: error.code = Code::invalid_result; break;
    case ipc::FailureCode::result_too_large: error.code = Code::result_too_large; break;
    case ipc::FailureCode::argument:
      error.category = Category::request;
      error.code = Code::invalid_payload;
      break;
    case ipc::FailureCode::unknown_method:
      error.category = Category::request;
      error.code = Code::unknown_method;
      break;
    case ipc::FailureCode::arena_full:
      error.category = Category::resource;
      error.code = Code::resource_exhausted;
      break;
  }
  if (error.message.empty()) error.message = quoted(method) + " failed; its error says nothing";
  return error;
}

}  // namespace samovar::core
