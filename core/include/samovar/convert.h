// Converter<T>: how a C++ type travels as an argument and as a result of a typed method. core/CONVERSIONS.md is the table.
//
// For a struct of your own, specialise it: by AsDict, which makes it a dict of its members,
//
//   struct Quote { double bid, ask; std::optional<std::string> venue; };
//
//   template <>
//   struct samovar::Converter<Quote>
//       : samovar::AsDict<Quote, samovar::Field<"bid", &Quote::bid>, samovar::Field<"ask", &Quote::ask>,
//                         samovar::Field<"venue", &Quote::venue>> {};
//
// or by hand, with either function or both:
//
//   template <>
//   struct samovar::Converter<Symbol> {
//     static void write(Encoder& to, const Symbol& symbol) { to.text(symbol.name()); }
//     static bool read(const Decoder& from, Symbol& out) { … }   // false: `from` has noted why
//   };
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <samovar/decoder.h>
#include <samovar/encoder.h>
#include <samovar/value.h>

namespace samovar {

namespace detail {
template <typename T>
inline constexpr bool kNever = false;

template <typename T>
inline constexpr bool kMayBeMissing<std::optional<T>> = true;

template <typename T>
concept Scalar = std::same_as<T, bool> || Number<T> || std::floating_point<T> || std::is_enum_v<T> ||
                 std::same_as<T, std::string> || std::same_as<T, std::string_view> || std::same_as<T, Bytes>;
}  // namespace detail

template <typename T>
struct Converter {
  static_assert(detail::kNever<T>, "this type has no conversion to or from Python: specialise samovar::Converter for it");
};

template <>
struct Converter<bool> {
  static void write(Encoder& to, bool value) { to.boolean(value); }
  static bool read(const Decoder& from, bool& out) { return from.boolean(out); }
};

template <detail::Number T>
struct Converter<T> {
  static_assert(sizeof(T) <= sizeof(std::int64_t));

  static void write(Encoder& to, T value) {
    if constexpr (std::is_signed_v<T>) {
      to.integer(value);
    } else {
      to.unsigned_integer(value);
    }
  }
  static bool read(const Decoder& from, T& out) {
    if constexpr (std::is_signed_v<T>) {
      std::int64_t value = 0;
      if (!from.integer(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max())) return false;
      out = static_cast<T>(value);
    } else {
      std::uint64_t value = 0;
      if (!from.unsigned_integer(value, std::numeric_limits<T>::max())) return false;
      out = static_cast<T>(value);
    }
    return true;
  }
};

template <typename T>
  requires(std::same_as<T, double> || std::same_as<T, float>)
struct Converter<T> {
  static void write(Encoder& to, T value) { to.number(static_cast<double>(value)); }
  static bool read(const Decoder& from, T& out) { return from.number(out); }
};

// Its number. A number that none of the enumerators has is not refused.
template <typename T>
  requires std::is_enum_v<T>
struct Converter<T> {
  using Underlying = std::conditional_t<std::same_as<std::underlying_type_t<T>, char>, signed char, std::underlying_type_t<T>>;

  static void write(Encoder& to, T value) { Converter<Underlying>::write(to, static_cast<Underlying>(value)); }
  static bool read(const Decoder& from, T& out) {
    Underlying value{};
    if (!Converter<Underlying>::read(from, value)) return false;
    out = static_cast<T>(value);
    return true;
  }
};

template <>
struct Converter<std::string> {
  static void write(Encoder& to, const std::string& value) { to.text(value); }
  static bool read(const Decoder& from, std::string& out) {
    std::string_view text;
    if (!from.text(text)) return false;
    out.assign(text);
    return true;
  }
};

template <typename T>
  requires(std::same_as<T, std::string_view> || std::same_as<T, const char*>)
struct Converter<T> {
  static void write(Encoder& to, std::string_view value) { to.text(value); }
  static bool read(const Decoder&, T&) {
    static_assert(detail::kNever<T>, "a view would outlive what it views: take a std::string");
    return false;
  }
};

template <std::size_t N>
struct Converter<char[N]> {
  static void write(Encoder& to, std::string_view value) { to.text(value); }
};

template <>
struct Converter<Bytes> {
  static void write(Encoder& to, const Bytes& value) { to.bytes(value); }
  static bool read(const Decoder& from, Bytes& out) {
    std::span<const std::byte> bytes;
    if (!from.bytes(bytes)) return false;
    out.assign(bytes.begin(), bytes.end());
    return true;
  }
};

template <typename T>
  requires std::same_as<std::remove_const_t<T>, std::byte>
struct Converter<std::span<T>> {
  static void write(Encoder& to, std::span<T> value) { to.bytes(value); }
  static bool read(const Decoder&, std::span<T>&) {
    static_assert(detail::kNever<T>, "a view would outlive what it views: take samovar::Bytes");
    return false;
  }
};

template <>
struct Converter<Value> {
  static void write(Encoder& to, const Value& value) { to.value(value); }
  static bool read(const Decoder& from, Value& out) { return from.value(out); }
};

template <typename T>
struct Converter<std::optional<T>> {
  static void write(Encoder& to, const std::optional<T>& value) {
    if (value) {
      to.put(*value);
    } else {
      to.none();
    }
  }
  static bool read(const Decoder& from, std::optional<T>& out) {
    if (from.is_none()) {
      out.reset();
      return true;
    }
    return from.get(out.emplace());
  }
};

template <typename T>
struct Converter<std::vector<T>> {
  static void write(Encoder& to, const std::vector<T>& items) {
    to.list([&] {
      for (const auto& item : items) to.item(static_cast<const T&>(item));
    });
  }
  static bool read(const Decoder& from, std::vector<T>& out) {
    if (!from.expect(Value::Kind::list)) return false;
    out.clear();
    out.reserve(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      T item{};
      if (!from.item(i, item)) return false;
      out.push_back(std::move(item));
    }
    return true;
  }
};

template <typename T, std::size_t N>
struct Converter<std::array<T, N>> {
  static void write(Encoder& to, const std::array<T, N>& items) {
    to.list([&] {
      for (const T& item : items) to.item(item);
    });
  }
  static bool read(const Decoder& from, std::array<T, N>& out) {
    if (!from.expect_list_of(N)) return false;
    for (std::size_t i = 0; i < N; ++i) {
      if (!from.item(i, out[i])) return false;
    }
    return true;
  }
};

namespace detail {
template <typename Tuple>
struct TupleConverter {
  static void write(Encoder& to, const Tuple& items) {
    to.list([&] { std::apply([&](const auto&... item) { (to.item(item), ...); }, items); });
  }
  static bool read(const Decoder& from, Tuple& out) {
    if (!from.expect_list_of(std::tuple_size_v<Tuple>)) return false;
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (from.item(I, std::get<I>(out)) && ...);
    }(std::make_index_sequence<std::tuple_size_v<Tuple>>());
  }
};

template <typename Map>
struct MapConverter {
  static_assert(Scalar<typename Map::key_type>, "the key of a dict is a bool, a number, a str or bytes");

  static void write(Encoder& to, const Map& map) {
    to.dict([&] {
      for (const auto& [key, value] : map) to.entry(key, value);
    });
  }
  static bool read(const Decoder& from, Map& out) {
    if (!from.expect(Value::Kind::dict)) return false;
    out.clear();
    for (std::size_t i = 0; i < from.size(); ++i) {
      typename Map::key_type key{};
      typename Map::mapped_type value{};
      if (!from.entry_at(i, key, value)) return false;
      if (!out.emplace(std::move(key), std::move(value)).second) return from.fail("a dict whose keys differ as C++ values");
    }
    return true;
  }
};
}  // namespace detail

template <typename... T>
struct Converter<std::tuple<T...>> : detail::TupleConverter<std::tuple<T...>> {};
template <typename A, typename B>
struct Converter<std::pair<A, B>> : detail::TupleConverter<std::pair<A, B>> {};
template <typename K, typename T, typename... Rest>
struct Converter<std::map<K, T, Rest...>> : detail::MapConverter<std::map<K, T, Rest...>> {};
template <typename K, typename T, typename... Rest>
struct Converter<std::unordered_map<K, T, Rest...>> : detail::MapConverter<std::unordered_map<K, T, Rest...>> {};

// A string as a template argument.
template <std::size_t N>
struct FieldName {
  consteval FieldName(const char (&text)[N]) {
    for (std::size_t i = 0; i < N; ++i) characters[i] = text[i];
  }
  constexpr std::string_view view() const { return {characters, N - 1}; }

  char characters[N]{};
};

// A member of a struct and its key.
template <FieldName kName, auto kMember>
struct Field {
  static constexpr std::string_view name() { return kName.view(); }
  static constexpr auto member = kMember;
};

// A struct as a dict, one entry for each field. Reading: an entry that is missing is an error, but a std::optional is then empty;
// entries that no field names are ignored, so that the Python side may grow first.
template <typename T, typename... Fields>
struct AsDict {
  static void write(Encoder& to, const T& value) {
    to.dict([&] { (to.entry(Fields::name(), value.*Fields::member), ...); });
  }
  static bool read(const Decoder& from, T& out) {
    return from.expect(Value::Kind::dict) && (from.entry(Fields::name(), out.*Fields::member) && ...);
  }
};

}  // namespace samovar
