// Value: what a Python value looks like from C++: None, bool, int, float, str, bytes, list, dict; no classes.
//
// Threads: like a std::vector: one writer, or any number of readers.
// Invariants: (1) An int is kept as int64 where it fits and as uint64 only above that, so equal ints are equal Values.
//   (2) A dict keeps the order of its entries. Its keys may be any Values here; sending refuses a list or dict as a key, two
//   equal keys (1, 1.0 and true are equal, as in Python), text that is not UTF-8, and more than 64 levels.
// A Value may nest as deep as it was built, and is destroyed, compared and printed by recursion.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <samovar/api.h>

namespace samovar {

using Bytes = std::vector<std::byte>;

namespace detail {
// Integers proper: a char or a bool is not a number.
template <class T>
concept Number = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
                 !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;
}  // namespace detail

class SAMOVAR_API Value {
 public:
  using List = std::vector<Value>;
  using Entry = std::pair<Value, Value>;
  using Dict = std::vector<Entry>;

  enum class Kind : std::uint8_t { none, boolean, integer, unsigned_integer, number, str, bytes, list, dict };

  // Implicit, so that arguments read as in Python: {"EURUSD", 1'000'000}. A pointer never becomes a bool.
  Value() noexcept = default;  // None
  Value(std::nullptr_t) noexcept {}
  template <std::same_as<bool> T>
  Value(T value) noexcept : held_(value) {}
  template <detail::Number T>
  Value(T value) noexcept {
    if (std::is_signed_v<T> || static_cast<std::uint64_t>(value) <= static_cast<std::uint64_t>(INT64_MAX)) {
      held_ = static_cast<std::int64_t>(value);
    } else {
      held_ = static_cast<std::uint64_t>(value);
    }
  }
  Value(float value) noexcept : held_(static_cast<double>(value)) {}
  Value(double value) noexcept : held_(value) {}
  Value(const char* text) : held_(std::string(text)) {}
  Value(std::string_view text) : held_(std::string(text)) {}
  Value(std::string text) noexcept : held_(std::move(text)) {}
  Value(Bytes bytes) noexcept : held_(std::move(bytes)) {}
  Value(List items) noexcept : held_(std::move(items)) {}
  Value(Dict entries) noexcept : held_(std::move(entries)) {}

  // Value::list({1, "a", nullptr}) and Value::dict({{"a", 1}, {2, "b"}}): braces alone are never guessed at.
  static Value list(std::initializer_list<Value> items = {}) { return List(items); }
  static Value dict(std::initializer_list<Entry> entries = {}) { return Dict(entries); }
  static Value bytes(const void* data, std::size_t size);

  Kind kind() const noexcept { return static_cast<Kind>(held_.index()); }
  bool is_none() const noexcept { return kind() == Kind::none; }
  bool is_bool() const noexcept { return kind() == Kind::boolean; }
  bool is_int() const noexcept { return kind() == Kind::integer || kind() == Kind::unsigned_integer; }
  bool is_double() const noexcept { return kind() == Kind::number; }
  bool is_str() const noexcept { return kind() == Kind::str; }
  bool is_bytes() const noexcept { return kind() == Kind::bytes; }
  bool is_list() const noexcept { return kind() == Kind::list; }
  bool is_dict() const noexcept { return kind() == Kind::dict; }

  // Nothing (or null) if this is of another kind or the number does not fit. A pointer lives until this is changed.
  std::optional<bool> as_bool() const noexcept;
  std::optional<std::int64_t> as_int() const noexcept;    // an int of int64's range
  std::optional<std::uint64_t> as_uint() const noexcept;  // an int of uint64's range
  std::optional<double> as_double() const noexcept;       // a double only
  std::optional<double> as_number() const noexcept;       // a double, or an int, rounded to the nearest double
  const std::string* as_str() const noexcept { return std::get_if<std::string>(&held_); }
  const Bytes* as_bytes() const noexcept { return std::get_if<Bytes>(&held_); }
  const List* as_list() const noexcept { return std::get_if<List>(&held_); }
  const Dict* as_dict() const noexcept { return std::get_if<Dict>(&held_); }
  List* as_list() noexcept { return std::get_if<List>(&held_); }
  Dict* as_dict() noexcept { return std::get_if<Dict>(&held_); }

  // The value of the first entry with this str as its key; null if there is none or this is no dict. Takes linear time.
  const Value* find(std::string_view key) const noexcept;

  // Same kind and same content. Numbers of different kinds differ, a NaN differs from itself, entries compare in order.
  friend SAMOVAR_API bool operator==(const Value& left, const Value& right) noexcept;

  // As a Python literal, for diagnostics; bytes of a str that are not UTF-8 are shown as \xNN.
  std::string to_string() const;

 private:
  // In the order of Kind.
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Bytes, List, Dict> held_;
};

}  // namespace samovar
