// What a typed method does beside converting: the call itself, and its errors.
#include <samovar/method.h>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"
#include "core/values/decoding.h"

namespace samovar::detail {
namespace {

const std::string& name_of(const MethodTarget& target) { return target.dispatcher->methods().name(target.number); }

}  // namespace

Result<Reply> call_method(const MethodTarget& target, Encoder& arguments, const CallOptions& options) {
  const Payload payload = arguments.finish();
  if (payload.error().empty()) [[likely]] return target.dispatcher->call(target.number, payload, options);
  const Payload refused(payload.kind(), {}, "\"" + name_of(target) + "\", " + payload.error());
  return target.dispatcher->call(target.number, refused, options);
}

Error conversion_threw(const MethodTarget& target, const char* what) {
  return core::make_error(Category::request, Code::invalid_payload,
                          "converting an argument or the result of \"" + name_of(target) + "\" threw: " + what);
}

Result<void> read_result(const MethodTarget& target, const Reply& reply, ReadResult read, void* out) {
  core::Decoding decoding(reply.kind(), reply.data());
  if (decoding.run(read, out)) [[likely]] return {};
  Error error = core::make_error(decoding.is_malformed() ? Category::worker : Category::application, Code::invalid_result,
                                 decoding.message(name_of(target)));
  error.context.worker = reply.worker();
  error.context.started = true;
  return tl::unexpected(std::move(error));
}

}  // namespace samovar::detail
