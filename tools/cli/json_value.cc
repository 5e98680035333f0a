#include "tools/cli/json_value.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace samovar::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBytes = "$bytes";
constexpr std::string_view kFloat = "$float";
constexpr std::string_view kDict = "$dict";
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(const Bytes& bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t here = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) group = group << 8U | (i < here ? std::to_integer<std::uint32_t>(bytes[at + i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i) out += i <= here ? kAlphabet[group >> (18 - 6 * i) & 63U] : '=';
  }
  return out;
}

// Nothing where the text is no base64 of the standard alphabet with its padding.
std::optional<Bytes> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = i < text.size() - padding ? kAlphabet.find(text[i]) : 0;
    if (digit == kAlphabet.npos) return std::nullopt;
    group = group << 6U | static_cast<std::uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (int shift : {16, 8, 0}) bytes.push_back(static_cast<std::byte>(group >> shift & 255U));
    group = 0;
  }
  bytes.erase(bytes.end() - static_cast<std::ptrdiff_t>(padding), bytes.end());
  return bytes;
}

const std::string* only_key(const Value::Dict& dict) { return dict.size() == 1 ? dict.front().first.as_str() : nullptr; }

bool is_escape(std::string_view key) { return key == kBytes || key == kFloat || key == kDict; }

// What a one-key object stands for. Fails: where it has such a key and not such a content.
tl::expected<Value, std::string> unescape(Value::Dict dict) {
  const std::string* key = only_key(dict);
  if (!key || !is_escape(*key)) return Value(std::move(dict));
  const Value& content = dict.front().second;
  const std::string* text = content.as_str();

  if (*key == kBytes) {
    std::optional<Bytes> bytes = text ? from_base64(*text) : std::nullopt;
    if (!bytes) return tl::unexpected<std::string>("\"$bytes\" needs a string of base64, as in {\"$bytes\": \"AAEC\"}");
    return Value(*std::move(bytes));
  }
  if (*key == kFloat) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (text && *text == "nan") return Value(std::numeric_limits<double>::quiet_NaN());
    if (text && *text == "inf") return Value(kInfinity);
    if (text && *text == "-inf") return Value(-kInfinity);
    return tl::unexpected<std::string>("\"$float\" needs \"nan\", \"inf\" or \"-inf\"");
  }
  Value::Dict entries;
  const Value::List* pairs = content.as_list();
  bool well_formed = pairs != nullptr;
  for (std::size_t i = 0; well_formed && i < pairs->size(); ++i) {
    const Value::List* pair = (*pairs)[i].as_list();
    well_formed = pair && pair->size() == 2;
    if (well_formed) entries.emplace_back((*pair)[0], (*pair)[1]);
  }
  if (!well_formed) return tl::unexpected<std::string>("\"$dict\" needs a list of pairs, as in {\"$dict\": [[1, \"one\"]]}");
  return Value(std::move(entries));
}

// Builds a Value while nlohmann reads, since a tree of its own would have rounded large integers already.
class Builder {
 public:
  bool null() { return add(Value()); }
  bool boolean(bool value) { return add(Value(value)); }
  bool number_integer(std::int64_t value) { return add(Value(value)); }
  bool number_unsigned(std::uint64_t value) { return add(Value(value)); }
  bool number_float(double value, const std::string& text) {
    if (text.find_first_of(".eE") == text.npos) return fail("the integer " + text + " does not fit into 64 bits");
    return add(Value(value));
  }
  bool string(std::string& value) { return add(Value(std::move(value))); }
  bool binary(std::vector<std::uint8_t>&) { return fail("binary values are not JSON"); }
  bool start_object(std::size_t) { return open(Value::dict()); }
  bool key(std::string& key) {
    open_.back().key = std::move(key);
    return true;
  }
  bool end_object() {
    Value closed = close();
    auto meant = unescape(std::move(*closed.as_dict()));
    return meant ? add(*std::move(meant)) : fail(std::move(meant).error());
  }
  bool start_array(std::size_t) { return open(Value::list()); }
  bool end_array() { return add(close()); }

  bool parse_error(std::size_t position, const std::string& /*last_token*/, const nlohmann::detail::exception& exception) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing value - ..."
    std::string why = exception.what();
    if (const auto end = why.find("] "); end != why.npos) why.erase(0, end + 2);
    if (const auto end = why.find(": "); end != why.npos) why.erase(0, end + 2);
    constexpr int kSyntaxError = 101;
    error_ = {.is_json = exception.id != kSyntaxError, .why = "at character " + std::to_string(position) + ": " + why};
    return false;
  }

  Value take_result() { return std::move(result_); }
  const JsonError& error() const { return error_; }

 private:
  struct Open {
    Value container;
    std::string key;
  };

  bool open(Value container) {
    open_.push_back({std::move(container), {}});
    return true;
  }
  Value close() {
    Value closed = std::move(open_.back().container);
    open_.pop_back();
    return closed;
  }
  bool add(Value value) {
    if (open_.empty()) {
      result_ = std::move(value);
    } else if (Value::List* list = open_.back().container.as_list()) {
      list->push_back(std::move(value));
    } else {
      open_.back().container.as_dict()->emplace_back(std::move(open_.back().key), std::move(value));
    }
    return true;
  }
  bool fail(std::string why) {
    error_ = {.is_json = true, .why = std::move(why)};
    return false;
  }

  std::vector<Open> open_;
  Value result_;
  JsonError error_;
};

Json make_json(const Value& value);

bool is_plain_object(const Value::Dict& dict) {
  for (const auto& [key, _] : dict) {
    if (!key.is_str()) return false;
  }
  const std::string* key = only_key(dict);
  return !key || !is_escape(*key);
}

Json dict_to_json(const Value::Dict& dict) {
  if (is_plain_object(dict)) {
    Json::object_t members;
    // Straight into the vector beneath: the map's own insertion looks for the key in all that came before.
    auto& entries = static_cast<Json::object_t::Container&>(members);
    for (const auto& [key, item] : dict) entries.emplace_back(*key.as_str(), make_json(item));
    return members;
  }
  Json pairs = Json::array();
  for (const auto& [key, item] : dict) pairs.push_back(Json::array({make_json(key), make_json(item)}));
  return Json{{std::string(kDict), std::move(pairs)}};
}

Json make_json(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::none: return nullptr;
    case Value::Kind::boolean: return *value.as_bool();
    case Value::Kind::integer: return *value.as_int();
    case Value::Kind::unsigned_integer: return *value.as_uint();
    case Value::Kind::number: {
      const double number = *value.as_double();
      if (std::isfinite(number)) return number;
      return Json{{std::string(kFloat), std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf"}};
    }
    case Value::Kind::str: return *value.as_str();
    case Value::Kind::bytes: return Json{{std::string(kBytes), to_base64(*value.as_bytes())}};
    case Value::Kind::list: {
      Json items = Json::array();
      for (const Value& item : *value.as_list()) items.push_back(make_json(item));
      return items;
    }
    case Value::Kind::dict: return dict_to_json(*value.as_dict());
  }
  return nullptr;
}

}  // namespace

tl::expected<Value, JsonError> parse_json(std::string_view text) {
  Builder builder;
  if (!Json::sax_parse(text, &builder)) return tl::unexpected(builder.error());
  return builder.take_result();
}

std::string to_json(const Value& value) {
  // A str from Python is UTF-8; should one not be, it is shown with replacement characters and does not throw.
  return make_json(value).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace samovar::cli
