// What a typed method does beside converting: the call itself, and its errors.
#include <samovar/method.h>

#include <exception>
#include <vector>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"
#include "core/values/decoding.h"

namespace samovar::detail {
namespace {

const std::string& name_of(const MethodTarget& target) { return target.dispatcher->methods().name(target.number); }

// The arguments, or what is wrong with them and of which method.
Payload payload_of(const MethodTarget& target, Encoder& arguments) {
  Payload payload = arguments.finish();
  if (payload.error().empty()) [[likely]] return payload;
  return {payload.kind(), {}, "\"" + name_of(target) + "\", " + payload.error()};
}

}  // namespace

Result<Reply> call_method(const MethodTarget& target, Encoder& arguments, const CallOptions& options) {
  return target.dispatcher->call(target.number, payload_of(target, arguments), options);
}

AsyncCall async_method(const MethodTarget& target, Encoder& arguments, const CallOptions& options) {
  return target.dispatcher->async_call(target.number, payload_of(target, arguments), options);
}

Error conversion_threw(const MethodTarget& target, const char* what) {
  Error error = core::make_error(Category::request, Code::invalid_payload,
                                 "converting an argument or the result of \"" + name_of(target) + "\" threw: " + what);
  error.context.method = name_of(target);
  return error;
}

Result<void> read_result(const MethodTarget& target, const Reply& reply, ReadResult read, void* out) {
  try {
    const bool copied = reply.in_place() && reply.kind() == PayloadKind::value;
    const std::vector<std::byte> copy = copied ? std::vector(reply.data().begin(), reply.data().end()) : std::vector<std::byte>();
    core::Decoding decoding(reply.kind(), copied ? copy : reply.data());
    if (decoding.run(read, out)) [[likely]] return {};
    Error error = core::make_error(decoding.is_malformed() ? Category::worker : Category::application, Code::invalid_result,
                                   decoding.message(name_of(target)));
    error.context.method = name_of(target);
    error.context.worker = reply.worker();
    error.context.started = true;
    return tl::unexpected(std::move(error));
  } catch (const std::exception& thrown) {  // by a Converter, or for want of memory
    return tl::unexpected(conversion_threw(target, thrown.what()));
  }
}

}  // namespace samovar::detail
