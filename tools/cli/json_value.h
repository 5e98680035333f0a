// JSON text <-> Value. What JSON lacks is written as an object with one key, in both directions:
//
//   bytes                       {"$bytes": "<base64>"}
//   nan, inf, -inf              {"$float": "nan"}, "inf", "-inf"
//   a dict that JSON cannot     {"$dict": [[key, value], ...]}     keys that are no str; or it looks like one of these three
//
// The order of an object's members is kept. An integer is exact or refused, never rounded.
#pragma once

#include <string>
#include <string_view>

#include <samovar/value.h>
#include <tl/expected.hpp>

namespace samovar::cli {

struct JsonError {
  bool is_json = false;  // JSON, but of a value that cannot be sent: an integer too large, "$bytes" without base64
  std::string why;
};

tl::expected<Value, JsonError> parse_json(std::string_view text);

// One line, without spaces around it.
std::string to_json(const Value& value);

}  // namespace samovar::cli
