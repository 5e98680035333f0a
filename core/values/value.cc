#include <samovar/value.h>

#include <charconv>
#include <cmath>
#include <cstring>

#include "ipc/value_format.h"

namespace samovar {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

void append_hex(std::string& out, unsigned char byte) {
  out += "\\x";
  out += kHexDigits[byte >> 4U];
  out += kHexDigits[byte & 15U];
}

// Escapes as Python does, except that it leaves all UTF-8 beyond ASCII as it is.
void append_quoted(std::string& out, std::string_view text, bool is_text) {
  const bool keep_high = is_text && ipc::is_utf8(text);
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !keep_high)) {
      append_hex(out, byte);
    } else {
      out += c;
    }
  }
  out += quote;
}

template <class T>
void append_number(std::string& out, T value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value);
  out.append(digits, end.ptr);
}

void append_double(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "nan";
    return;
  }
  const std::size_t start = out.size();
  append_number(out, value);
  if (std::isfinite(value) && out.find_first_of(".e", start) == out.npos) out += ".0";
}

void append_value(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::none: out += "None"; return;
    case Value::Kind::boolean: out += *value.as_bool() ? "True" : "False"; return;
    case Value::Kind::integer: append_number(out, *value.as_int()); return;
    case Value::Kind::unsigned_integer: append_number(out, *value.as_uint()); return;
    case Value::Kind::number: append_double(out, *value.as_double()); return;
    case Value::Kind::str: append_quoted(out, *value.as_str(), true); return;
    case Value::Kind::bytes: {
      const Bytes& bytes = *value.as_bytes();
      out += 'b';
      append_quoted(out, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, false);
      return;
    }
    case Value::Kind::list: {
      const char* separator = "[";
      for (const Value& item : *value.as_list()) {
        out += separator;
        append_value(out, item);
        separator = ", ";
      }
      out += value.as_list()->empty() ? "[]" : "]";
      return;
    }
    case Value::Kind::dict: {
      const char* separator = "{";
      for (const auto& [key, item] : *value.as_dict()) {
        out += separator;
        append_value(out, key);
        out += ": ";
        append_value(out, item);
        separator = ", ";
      }
      out += value.as_dict()->empty() ? "{}" : "}";
      return;
    }
  }
}

}  // namespace

Value Value::bytes(const void* data, std::size_t size) {
  const auto* first = static_cast<const std::byte*>(data);
  return size == 0 ? Bytes() : Bytes(first, first + size);
}

std::optional<bool> Value::as_bool() const noexcept {
  if (const bool* value = std::get_if<bool>(&held_)) return *value;
  return std::nullopt;
}

std::optional<std::int64_t> Value::as_int() const noexcept {
  if (const auto* value = std::get_if<std::int64_t>(&held_)) return *value;
  return std::nullopt;
}

std::optional<std::uint64_t> Value::as_uint() const noexcept {
  if (const auto* value = std::get_if<std::uint64_t>(&held_)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&held_); value != nullptr && *value >= 0) {
    return static_cast<std::uint64_t>(*value);
  }
  return std::nullopt;
}

std::optional<double> Value::as_double() const noexcept {
  if (const auto* value = std::get_if<double>(&held_)) return *value;
  return std::nullopt;
}

std::optional<double> Value::as_number() const noexcept {
  if (const auto* value = std::get_if<std::int64_t>(&held_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<std::uint64_t>(&held_)) return static_cast<double>(*value);
  return as_double();
}

const Value* Value::find(std::string_view key) const noexcept {
  const Dict* entries = as_dict();
  if (entries == nullptr) return nullptr;
  for (const Entry& entry : *entries) {
    const std::string* name = entry.first.as_str();
    if (name != nullptr && *name == key) return &entry.second;
  }
  return nullptr;
}

bool operator==(const Value& left, const Value& right) noexcept { return left.held_ == right.held_; }

std::string Value::to_string() const {
  std::string out;
  append_value(out, *this);
  return out;
}

}  // namespace samovar
