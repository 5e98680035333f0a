// Errors: the library's failures, each worded once: what happened, why, what to do next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <samovar/error.h>

#include "ipc/handshake.h"
#include "ipc/message.h"
#include "ipc/result.h"

namespace samovar::core {

Error make_error(Category category, Code code, std::string message);
Error system_failure(const ipc::SystemError& error, std::string_view doing);
Error start_refused(const ipc::SystemError& error, std::string_view doing);  // unsupported_system where the kernel lacks it

// Where a call passes through: `return {}` of a Result<void> fills all of it with zeros first, 230 bytes, which is 12 ns.
inline Result<void> succeeded() {
  Result<void> result;
  return result;
}

Error deadline_exceeded(std::string_view method, bool sent);
Error no_chunk_in_time(std::string_view method, std::int64_t timeout_ns);
Error not_a_stream(std::string_view method);
Error is_a_stream(std::string_view method);
Error call_cancelled(std::string_view method);
Error pool_stopped();
Error queue_full(std::uint32_t limit);
Error no_calls();  // the pool of calls is used up, or memory is
Error payload_too_large(std::uint64_t bytes, std::uint64_t limit);
Error arena_full(std::uint64_t bytes, std::uint64_t total, std::uint64_t in_use, std::uint64_t longest_free);
Error no_pages(const ipc::SystemError& cause, std::uint64_t bytes);
Error unknown_method(std::string_view name, std::string_view nearest, std::string_view module);
Error wrong_arity(const ipc::Method& method, std::size_t arguments);
Error module_failed(const ipc::StartFailed& failed);
Error quarantined(const Error& last, int failures);
Error worker_lost(std::string_view method, int worker, std::string_view how, bool started);

// Of a response with Status::failed; its payload is a peer's, verified here.
Error method_failed(std::string_view method, std::span<const std::byte> payload);

}  // namespace samovar::core
