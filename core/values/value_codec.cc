#include "core/values/value_codec.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <new>
#include <utility>

#include "ipc/value_reader.h"

namespace samovar::core {
namespace {

// Two numbers are one key if they are equal, whatever their kinds; this holds each int64, uint64 and double exactly.
using AnyNumber = long double;
static_assert(std::numeric_limits<AnyNumber>::digits >= 64);

bool is_key(const Value& value) { return !value.is_list() && !value.is_dict(); }

bool is_nan(const Value& value) { return value.is_double() && std::isnan(*value.as_double()); }

int rank(const Value& key) { return key.is_none() ? 0 : key.is_str() ? 2 : key.is_bytes() ? 3 : 1; }

AnyNumber number_of(const Value& key) {
  if (key.is_bool()) return *key.as_bool() ? 1 : 0;
  if (const auto value = key.as_int()) return static_cast<AnyNumber>(*value);
  if (const auto value = key.as_uint()) return static_cast<AnyNumber>(*value);
  return static_cast<AnyNumber>(*key.as_double());
}

// An order in which keys that Python takes for equal are equal. Requires: is_key(), not is_nan().
int compare_keys(const Value& left, const Value& right) {
  const int left_rank = rank(left);
  const int right_rank = rank(right);
  if (left_rank != right_rank) return left_rank - right_rank;
  if (left_rank == 0) return 0;
  if (left_rank == 2) return left.as_str()->compare(*right.as_str());
  if (left_rank == 3) return *left.as_bytes() < *right.as_bytes() ? -1 : *right.as_bytes() < *left.as_bytes() ? 1 : 0;
  const AnyNumber left_number = number_of(left);
  const AnyNumber right_number = number_of(right);
  return left_number < right_number ? -1 : right_number < left_number ? 1 : 0;
}

}  // namespace

const Value* find_duplicate(const Value::Dict& entries) {
  constexpr std::size_t kPairwiseMax = 8;
  if (entries.size() <= kPairwiseMax) {
    for (std::size_t i = 1; i < entries.size(); ++i) {
      if (is_nan(entries[i].first)) continue;
      for (std::size_t j = 0; j < i; ++j) {
        const Value& other = entries[j].first;
        if (!is_nan(other) && compare_keys(entries[i].first, other) == 0) return &entries[i].first;
      }
    }
    return nullptr;
  }
  std::vector<const Value*> keys;
  keys.reserve(entries.size());
  for (const auto& entry : entries) {
    if (!is_nan(entry.first)) keys.push_back(&entry.first);
  }
  std::sort(keys.begin(), keys.end(), [](const Value* a, const Value* b) { return compare_keys(*a, *b) < 0; });
  const auto twin = std::adjacent_find(keys.begin(), keys.end(),
                                       [](const Value* a, const Value* b) { return compare_keys(*a, *b) == 0; });
  return twin == keys.end() ? nullptr : *twin;
}

std::string key_step(const Value& key) {
  constexpr std::size_t kShownMax = 40;
  std::string shown = key.is_list() ? "<list>" : key.is_dict() ? "<dict>" : "";
  if (const std::string* text = key.as_str()) {
    shown = Value(std::string_view(*text).substr(0, kShownMax)).to_string();
    if (shown.find('"') == shown.npos) shown.front() = shown.back() = '"';
  } else if (const Bytes* bytes = key.as_bytes()) {
    shown = Value::bytes(bytes->data(), std::min(bytes->size(), kShownMax)).to_string();
  } else if (shown.empty()) {
    shown = key.to_string();
  }
  return "[" + shown + "]";
}

namespace {

// Walks a Value. On failure the steps of the path are collected as the recursion unwinds, so success pays nothing for them.
class Walk {
 public:
  explicit Walk(ipc::ValueWriter& writer) : writer_(writer) {}

  bool value(const Value& value, int depth) {
    switch (value.kind()) {
      case Value::Kind::none: writer_.null(); return true;
      case Value::Kind::boolean: writer_.boolean(*value.as_bool()); return true;
      case Value::Kind::integer: writer_.integer(*value.as_int()); return true;
      case Value::Kind::unsigned_integer: writer_.unsigned_integer(*value.as_uint()); return true;
      case Value::Kind::number: writer_.number(*value.as_double()); return true;
      case Value::Kind::str:
        if (depth + 1 > ipc::kValueDepthMax) return too_deep();
        if (!ipc::is_utf8(*value.as_str())) return fail("a str that is not UTF-8 (send it as bytes)");
        writer_.text(*value.as_str());
        return true;
      case Value::Kind::bytes:
        if (depth + 1 > ipc::kValueDepthMax) return too_deep();
        writer_.blob(value.as_bytes()->data(), value.as_bytes()->size());
        return true;
      case Value::Kind::list: return list(*value.as_list(), depth);
      case Value::Kind::dict: return dict(*value.as_dict(), depth);
    }
    return fail("a Value of no kind");
  }

  std::string message(std::string_view root) const {
    constexpr std::size_t kFirst = 8;
    constexpr std::size_t kLast = 2;
    std::string text(root);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (i == kFirst && steps_.size() > kFirst + kLast) {
        text += "...";
        i = steps_.size() - kLast;
      }
      text += steps_[steps_.size() - 1 - i];
    }
    return text + ": " + why_;
  }

 private:
  bool list(const Value::List& items, int depth) {
    if (depth + 1 > ipc::kValueDepthMax) return too_deep();
    const std::size_t first = writer_.open_count();
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (!value(items[i], depth + 1)) return step("[" + std::to_string(i) + "]");
    }
    writer_.close_list(first);
    return true;
  }

  bool dict(const Value::Dict& entries, int depth) {
    if (depth + 2 > ipc::kValueDepthMax) return too_deep();
    const std::size_t keys_first = writer_.open_count();
    for (const auto& [key, item] : entries) {
      if (!is_key(key)) return fail("a list or dict is not supported as a key") || step(key_step(key));
      if (!value(key, depth + 2)) return step(key_step(key));
    }
    if (const Value* twin = find_duplicate(entries)) return fail("two keys are equal") || step(key_step(*twin));
    writer_.close_list(keys_first);
    const std::size_t values_first = writer_.open_count();
    for (const auto& [key, item] : entries) {
      if (!value(item, depth + 2)) return step(key_step(key));
    }
    writer_.close_list(values_first);
    writer_.close_dict();
    return true;
  }

  bool fail(const char* why) {
    why_ = why;
    return false;
  }
  bool too_deep() {
    return fail("nested deeper than 64 levels (a list counts as one, a dict as two, a str or bytes as one)");
  }
  bool step(std::string text) {
    steps_.push_back(std::move(text));
    return false;
  }

  ipc::ValueWriter& writer_;
  const char* why_ = "";
  std::vector<std::string> steps_;  // the innermost first
};

// Builds a Value (ipc/value_reader.h, Maker).
struct ValueMaker {
  using Object = Value;

  static const char* null(Value&) { return nullptr; }
  static const char* boolean(Value& out, bool value) { return assign(out, value); }
  static const char* integer(Value& out, std::int64_t value) { return assign(out, value); }
  static const char* unsigned_integer(Value& out, std::uint64_t value) { return assign(out, value); }
  static const char* number(Value& out, double value) { return assign(out, value); }
  static const char* text(Value& out, std::string_view value) {
    return ipc::is_utf8(value) ? assign(out, value) : "a str is not UTF-8";
  }
  static const char* blob(Value& out, const std::uint8_t* data, std::size_t size) {
    return assign(out, Value::bytes(data, size));
  }
  static const char* open_list(Value& out, std::size_t count) {
    assign(out, Value::List());
    out.as_list()->reserve(count);
    return nullptr;
  }
  static const char* set_item(Value& list, std::size_t, Value&& item) {
    list.as_list()->push_back(std::move(item));
    return nullptr;
  }
  static const char* open_dict(Value& out, std::size_t count) {
    assign(out, Value::Dict());
    out.as_dict()->reserve(count);
    return nullptr;
  }
  static const char* set_entry(Value& dict, Value&& key, Value&& item) {
    dict.as_dict()->emplace_back(std::move(key), std::move(item));
    return nullptr;
  }
  static const char* close_dict(Value& dict, std::size_t) {
    return find_duplicate(*dict.as_dict()) == nullptr ? nullptr : "two keys of a dict are equal";
  }

  template <class T>
  static const char* assign(Value& out, T value) {
    out = Value(std::move(value));
    return nullptr;
  }
};

}  // namespace

tl::expected<void, std::string> write_value(const Value& value, std::string_view root, int levels,
                                            ipc::ValueWriter& writer) {
  try {
    Walk walk(writer);
    if (walk.value(value, levels)) return {};
    return tl::unexpected(walk.message(root));
  } catch (const std::bad_alloc&) {
    return tl::unexpected(std::string("out of memory"));
  } catch (const std::exception& error) {
    return tl::unexpected(std::string(root) + ": " + error.what());
  }
}

tl::expected<void, std::string> encode_value(const Value& value, std::vector<std::uint8_t>& out, std::string_view root) {
  out.clear();
  ipc::ValueWriter writer;
  auto written = write_value(value, root, 0, writer);
  if (!written) return written;
  try {
    const auto bytes = writer.finish();
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    out.assign(first, first + bytes.size());
  } catch (const std::exception& error) {
    return tl::unexpected(std::string(root) + ": " + error.what());
  }
  return {};
}

tl::expected<Value, std::string> decode_value(std::span<const std::byte> bytes) {
  try {
    ValueMaker maker;
    ipc::ValueReader<ValueMaker> reader(bytes, maker);
    Value value;
    const char* what = reader.read(value);
    if (what == nullptr) return value;
    return tl::unexpected("malformed value at byte " + std::to_string(reader.failed_at()) + ": " + what);
  } catch (const std::bad_alloc&) {
    return tl::unexpected(std::string("out of memory"));
  }
}

}  // namespace samovar::core
