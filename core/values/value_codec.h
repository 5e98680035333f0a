// The host's side of payload kind `value`: samovar::Value to bytes and back (ipc/VALUES.md).
//
// Threads: any; nothing is shared. No function throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/value.h>
#include <tl/expected.hpp>

#include "ipc/value_writer.h"

namespace samovar::core {

// Writes `value` as one more open value of `writer`, so that a list can be built around arguments without a Value of its
// own. `levels` is how many levels the caller will close around it.
// Fails: with a message that begins with the path, `root["a"][3]: ...`; the writer must then be cleared.
tl::expected<void, std::string> write_value(const Value& value, std::string_view root, int levels, ipc::ValueWriter& writer);

// Replaces `out` by the bytes of `value`. Fails: as above, `out` is then empty.
tl::expected<void, std::string> encode_value(const Value& value, std::vector<std::uint8_t>& out,
                                             std::string_view root = "value");

// Requires: `bytes` is private memory (no worker can write it); otherwise it may be anything.
// Fails: with what is wrong and near which byte.
tl::expected<Value, std::string> decode_value(std::span<const std::byte> bytes);

// One of two equal keys, or null. A NaN equals nothing. Requires: no key is a list or dict.
const Value* find_duplicate(const Value::Dict& entries);

// A step of a path: `["key"]`, clipped; JSON's quotes, so that a path looks the same in both rooms.
std::string key_step(const Value& key);

}  // namespace samovar::core
