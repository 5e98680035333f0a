#include "core/config/option_value.h"

#include <charconv>
#include <optional>
#include <span>
#include <type_traits>

#include "core/config/units.h"
#include "core/nearest.h"
#include "core/topology/cpu_list.h"

namespace samovar::core {
namespace {

using Failure = tl::unexpected<std::string>;

template <typename T>
using Expected = tl::expected<T, std::string>;

template <typename T>
concept Number = std::is_integral_v<T> && !std::is_same_v<T, bool>;

std::vector<std::string_view> names_of(Dispatcher) {
  return {to_string(Dispatcher::automatic), to_string(Dispatcher::caller), to_string(Dispatcher::manual), to_string(Dispatcher::pinned)};
}

std::vector<std::string_view> names_of(LogLevel) {
  return {to_string(LogLevel::debug), to_string(LogLevel::info), to_string(LogLevel::warning), to_string(LogLevel::error)};
}

std::vector<std::string_view> names_of(WorkerStart) { return {to_string(WorkerStart::nursery), to_string(WorkerStart::exec)}; }
std::vector<std::string_view> names_of(Fallback) { return {to_string(Fallback::none), to_string(Fallback::oneshot)}; }

std::vector<std::string_view> names_of(Pinning) {
  return {to_string(Pinning::automatic), to_string(Pinning::none), to_string(Pinning::core), to_string(Pinning::node)};
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789ABCDEF";
      result += {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
    } else {
      result += c;
    }
  }
  return result + "\"";
}

void append(std::string& list, const std::string& element) {
  if (!list.empty()) list += ", ";
  list += element;
}

std::string to_text(const Written& written) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return quoted(value);
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          return std::to_string(value);
        } else if constexpr (std::is_same_v<T, double>) {
          char digits[32];
          return std::string(digits, std::to_chars(std::begin(digits), std::end(digits), value).ptr);
        } else if constexpr (std::is_same_v<T, bool>) {
          return value ? "true" : "false";
        } else if constexpr (std::is_same_v<T, Written::List>) {
          std::string text;
          for (const Written& element : value) append(text, to_text(element));
          return "[" + text + "]";
        } else {
          return std::string(value.what);
        }
      },
      written.value);
}

std::string format_number(std::int64_t number, const OptionRow& row) {
  if (std::holds_alternative<Duration Options::*>(row.member)) return format_duration(Duration(number));
  return row.form == Form::bytes ? format_bytes(number) : std::to_string(number);
}

// One type of option each: read() gives its value, or the rest of a sentence that begins with it; format() writes it as TOML.

Expected<std::string> read(const Written& written, const OptionRow&, const std::string*) {
  if (const auto* text = std::get_if<std::string>(&written.value)) return *text;
  return Failure("is no text; put it in quotes");
}

std::string format(const std::string& text, const OptionRow&) { return quoted(text); }

Expected<bool> read(const Written& written, const OptionRow&, const bool*) {
  if (const auto* truth = std::get_if<bool>(&written.value)) return *truth;
  return Failure("is neither true nor false");
}

std::string format(bool truth, const OptionRow&) { return truth ? "true" : "false"; }

template <Number T>
Expected<T> read(const Written& written, const OptionRow& row, const T*) {
  std::int64_t number = 0;
  if (const auto* integer = std::get_if<std::int64_t>(&written.value)) {
    number = *integer;
  } else if (const auto* text = std::get_if<std::string>(&written.value); text && row.form == Form::bytes) {
    const auto bytes = parse_bytes(*text);
    if (!bytes) return Failure(bytes.error());
    number = *bytes;
  } else {
    return Failure(row.form == Form::bytes ? "is no size; write it like 4096 or \"64KiB\"" : "is no whole number");
  }
  if (number < row.min || number > row.max) return Failure("is out of range: " + format_range(row));
  return static_cast<T>(number);  // no row's range is wider than its member
}

template <Number T>
std::string format(T number, const OptionRow& row) {
  const std::string text = format_number(static_cast<std::int64_t>(number), row);
  return text.find_last_not_of("-0123456789") == std::string::npos ? text : quoted(text);
}

Expected<Duration> read(const Written& written, const OptionRow& row, const Duration*) {
  const auto* text = std::get_if<std::string>(&written.value);
  if (!text) {
    const bool is_number = std::holds_alternative<std::int64_t>(written.value) || std::holds_alternative<double>(written.value);
    if (is_number) return Failure("has no unit; did you mean \"" + to_text(written) + "s\"?");
    return Failure("is no duration; write it like \"5ms\" or \"1.5s\"");
  }
  const auto duration = parse_duration(*text);
  if (!duration) return Failure(duration.error());
  if (duration->count() < row.min || duration->count() > row.max) return Failure("is out of range: " + format_range(row));
  return *duration;
}

std::string format(Duration duration, const OptionRow&) { return quoted(format_duration(duration)); }

template <typename T>
  requires std::is_enum_v<T>
Expected<T> read(const Written& written, const OptionRow&, const T*) {
  const std::vector<std::string_view> names = names_of(T{});
  const auto* text = std::get_if<std::string>(&written.value);
  for (std::size_t i = 0; text && i < names.size(); ++i) {
    if (names[i] == *text) return static_cast<T>(i);
  }
  std::string all;
  for (const std::string_view name : names) append(all, quoted(name));
  const std::string_view near = text ? nearest(*text, names) : std::string_view();
  return Failure("is none of " + all + (near.empty() ? "" : "; did you mean " + quoted(near) + "?"));
}

template <typename T>
  requires std::is_enum_v<T>
std::string format(T choice, const OptionRow&) {
  return quoted(to_string(choice));
}

template <typename T>
Expected<std::vector<T>> read(const Written& written, const OptionRow& row, const std::vector<T>*) {
  constexpr bool is_text = std::is_same_v<T, std::string>;
  const auto* list = std::get_if<Written::List>(&written.value);
  std::vector<T> values;
  for (std::size_t i = 0; list && i < list->size(); ++i) {
    const auto value = read((*list)[i], row, static_cast<const T*>(nullptr));
    if (!value) return Failure("has " + to_text((*list)[i]) + ", which " + value.error());
    values.push_back(*value);
  }
  if (!list) return Failure(is_text ? "is no list of texts, such as [\"lib\"]" : "is no list of whole numbers, such as [0, 1]");
  return values;
}

template <typename T>
std::string format(const std::vector<T>& values, const OptionRow& row) {
  std::string text;
  for (const T& value : values) append(text, format(value, row));
  return "[" + text + "]";
}

Written number_or_text(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure == std::errc{} && end == text.data() + text.size()) return {number};
  return {std::string(text)};
}

// "0-3" is four numbers.
void numbers_or_text(std::string_view text, Written::List& list) {
  const bool is_range = text.find('-', 1) != text.npos;
  const Expected<std::vector<int>> range = is_range ? parse_cpus(text) : std::vector<int>{};
  if (!is_range || !range) return list.push_back(number_or_text(text));
  for (const int number : *range) list.push_back({std::int64_t{number}});
}

Written truth_or_text(std::string_view text) {
  for (const std::string_view yes : {"true", "1", "yes", "on"}) {
    if (text == yes) return {true};
  }
  for (const std::string_view no : {"false", "0", "no", "off"}) {
    if (text == no) return {false};
  }
  return {std::string(text)};
}

Written::List split(std::string_view text, char separator, void (*read_one)(std::string_view, Written::List&)) {
  Written::List list;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    read_one(text.substr(0, end), list);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return list;
}

// A number or a duration, as the row's range counts it.
std::optional<std::int64_t> number_of(const Options& options, const OptionRow& row) {
  return std::visit(
      [&](auto member) -> std::optional<std::int64_t> {
        using T = std::remove_cvref_t<decltype(options.*member)>;
        if constexpr (Number<T>) {
          return static_cast<std::int64_t>(options.*member);
        } else if constexpr (std::is_same_v<T, Duration>) {
          return (options.*member).count();
        } else {
          return std::nullopt;
        }
      },
      row.member);
}

}  // namespace

Written written_in_environment(const OptionRow& row, std::string_view text) {
  return std::visit(
      [&](auto member) -> Written {
        using T = std::remove_cvref_t<decltype(Options{}.*member)>;
        if constexpr (Number<T>) {
          return number_or_text(text);
        } else if constexpr (std::is_same_v<T, bool>) {
          return truth_or_text(text);
        } else if constexpr (std::is_same_v<T, std::vector<int>>) {
          return {split(text, ',', numbers_or_text)};
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          return {split(text, ':', [](std::string_view one, Written::List& list) { list.push_back({std::string(one)}); })};
        } else {
          return {std::string(text)};
        }
      },
      row.member);
}

tl::expected<void, std::string> assign(Options& options, const OptionRow& row, const Written& written, std::string_view shown) {
  return std::visit(
      [&](auto member) -> Expected<void> {
        using T = std::remove_cvref_t<decltype(options.*member)>;
        auto value = read(written, row, static_cast<const T*>(nullptr));
        if (!value) return Failure(std::string(shown) + " = " + to_text(written) + " " + value.error());
        options.*member = *std::move(value);
        return {};
      },
      row.member);
}

tl::expected<void, std::string> check_range(const Options& options, const OptionRow& row) {
  const std::optional<std::int64_t> number = number_of(options, row);
  if (!number || (*number >= row.min && *number <= row.max)) return {};
  return Failure(std::string(row.name) + " = " + format_number(*number, row) + " is out of range: " + format_range(row));
}

std::string format_value(const Options& options, const OptionRow& row) {
  return std::visit([&](auto member) { return format(options.*member, row); }, row.member);
}

std::string_view type_name(const OptionRow& row) {
  constexpr std::string_view kNames[] = {"text",     "whole number", "whole number", "whole number",  "duration",
                                         "choice",   "choice",       "choice",       "choice",        "choice",   "list of texts",
                                         "list of numbers", "true or false"};
  static_assert(std::size(kNames) == std::variant_size_v<Member>);
  if (row.form == Form::bytes) return "size";
  if (row.form == Form::path) return std::holds_alternative<std::string Options::*>(row.member) ? "path" : "list of paths";
  return kNames[row.member.index()];
}

std::string format_range(const OptionRow& row) {
  if (!number_of({}, row)) return {};
  if (row.max != kNoMax) return "from " + format_number(row.min, row) + " to " + format_number(row.max, row);
  if (row.min == 1 && std::holds_alternative<Duration Options::*>(row.member)) return "longer than 0s";
  return "at least " + format_number(row.min, row);
}

bool same_value(const Options& a, const Options& b, const OptionRow& row) {
  return std::visit([&](auto member) { return a.*member == b.*member; }, row.member);
}

void copy_value(const Options& from, Options& to, const OptionRow& row) {
  std::visit([&](auto member) { to.*member = from.*member; }, row.member);
}

}  // namespace samovar::core
