#include "python_ext/native/invoker.h"

#include <string>

namespace samovar::python {

// What needs no handler. Always false.
bool Invoker::answer_itself(RunningCall& call, bool expired, bool wanted) {
  const ipc::Request& request = call.request;
  if (expired || !wanted || request.method == ipc::kPingMethod) {
    const ipc::Status status = expired ? ipc::Status::expired : !wanted ? ipc::Status::skipped : ipc::Status::ok;
    responder_.respond(call, {.call_id = request.call_id, .status = status});
    return false;
  }
  responder_.fail(call, {ipc::FailureCode::unknown_method,
                         {},
                         "this worker has no method number " + std::to_string(request.method) + ", its last is " + std::to_string(methods_.size()),
                         {}});
  return false;
}

// Of a method that answers in another way than the host expects. Always false.
bool Invoker::refuse(RunningCall& call) {
  const std::string name = '"' + call.method->described.name + '"';
  responder_.fail(call, {ipc::FailureCode::argument,
                         "TypeError",
                         call.method->described.stream                      ? name + " is a stream: use Pool::stream or Pool::submit_stream"
                         : (call.request.flags & ipc::kRequestStream) != 0 ? name + " is not a stream: use Pool::call or Pool::submit"
                                                                           : name + " takes one call at a time",
                         {}});
  return false;
}

}  // namespace samovar::python
