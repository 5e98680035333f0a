// Request: one call of a batch, see Pool::call_many(). Views its method's name and its payload's bytes.
#pragma once

#include <string_view>

#include <samovar/payload.h>

namespace samovar {

struct Request {
  std::string_view method;
  Payload payload{};
};

}  // namespace samovar
