// RunningCall: what the worker holds of a call, from its start to its response.
//
// Threads: the loop's. Requires the GIL.
#pragma once

#include <cstdint>

#include "ipc/message.h"
#include "python_ext/native/argument_view.h"
#include "python_ext/native/method.h"

namespace samovar::python {

struct RunningCall {
  explicit RunningCall(ArgumentViews& views) : argument(views) {}

  void begin(const ipc::Request& its_request) {
    request = its_request;
    method = nullptr;
    service_ns = 0;
    failure_code = ipc::FailureCode::exception;
  }

  ipc::Request request;          // its payload lies in the lane until the record is given back
  const Method* method = nullptr;
  ArgumentView argument;         // where that lies in the request arena
  std::uint64_t service_ns = 0;  // in the handler, where the request asks for it
  ipc::FailureCode failure_code = ipc::FailureCode::exception;  // what an exception means from here on
  bool passed = false;           // WorkerEnd::pass() has moved on behind its request
  enum class InBatch : std::uint8_t { no, followed, last } in_batch = InBatch::no;  // the last one's answer gives all records back
};

}  // namespace samovar::python
