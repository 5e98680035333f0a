// Error: what happened, why, and what to do next. Every failure of the library is one of these, as a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <samovar/api.h>
#include <tl/expected.hpp>

namespace samovar {

enum class Category : std::uint8_t {
  configuration,  // the options, the module or the machine: mend them and start again
  request,        // this call as it was made: unknown method, payload that does not fit
  resource,       // no room now; the same call may succeed later
  timeout,        // the deadline passed
  cancelled,      // by its stop_token
  application,    // the Python method raised, or returned what cannot be sent
  worker,         // the worker died or broke the protocol
  shutdown,       // the pool is draining or gone
  system,         // the operating system refused something
};

enum class Code : std::uint8_t {
  invalid_option,       // configuration: an option out of range or contradictory
  python_not_found,     // configuration: no such interpreter, or not executable
  incompatible_worker,  // configuration: extension missing for this interpreter, or of another layout
  module_failed,        // configuration: the user's module does not import, or its preload raised
  start_timeout,        // configuration: no worker was ready within start_timeout
  unsupported_system,   // configuration: the kernel lacks something (seals, pidfd)
  unknown_method,       // request
  invalid_payload,      // request: the worker could not decode it, a value cannot be encoded, or a typed method takes other arguments
  payload_too_large,    // request: larger than the request arena
  queue_full,           // resource
  resource_exhausted,   // resource: no room in an arena, or no memory for its pages
  breaker_open,         // resource: this method, or the pool, has failed too often; the message says how, and when it is tried again
  deadline_exceeded,    // timeout
  cancelled,            // cancelled
  method_failed,        // application: the method raised; context has type and traceback
  invalid_result,       // application: the result cannot be encoded, or is not what a typed method returns; the message names the path
  result_too_large,     // application: larger than the response arena
  worker_lost,          // worker: died or was killed while it ran the call
  pool_quarantined,     // worker: no worker starts; context has the last failure's traceback
  pool_stopped,         // shutdown
  system_error,         // system
};

SAMOVAR_API std::string_view to_string(Category category);
SAMOVAR_API std::string_view to_string(Code code);

struct ErrorContext {
  std::string method;             // of the call, where the error is of one
  int worker = -1;                // number of the worker, or -1
  std::uint64_t incarnation = 0;  // its life, or 0
  int attempts = 0;               // how often the call was sent to a worker
  bool started = false;           // whether its handler may have begun to run
  bool retryable = false;         // whether the same call may succeed later, and certainly has not run
  std::string python_type;        // exception type: "ValueError", "models.NoSuchSymbol"
  std::string traceback;          // as Python prints it
  std::string output;             // last lines that the worker printed, where it ended
  std::string stacks;             // Python stacks of the worker's threads, where it was killed because it hung
};

struct Error {
  Category category = Category::system;
  Code code = Code::system_error;
  std::string message;
  ErrorContext context;

  // "method_failed: ValueError: negative price (worker 2)", and the traceback below where there is one.
  SAMOVAR_API std::string to_string() const;
};

template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace samovar
