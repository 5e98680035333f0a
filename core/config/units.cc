#include "core/config/units.h"

#include <array>
#include <cctype>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>

namespace samovar::core {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array<Unit, 6> kTimes{{
    {"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"min", 60'000'000'000}, {"h", 3'600'000'000'000}}};

constexpr std::array<Unit, 5> kSizes{{
    {"B", 1}, {"KiB", std::int64_t{1} << 10}, {"MiB", std::int64_t{1} << 20}, {"GiB", std::int64_t{1} << 30}, {"TiB", std::int64_t{1} << 40}}};

using Wide = __int128;

// whole + fraction / scale, exactly: a double would lose the last nanoseconds of a year.
struct Number {
  Wide whole = 0;
  Wide fraction = 0;
  Wide scale = 1;
  std::string_view rest;  // behind the number
};

constexpr std::size_t kDigitsMax = 20;  // of 64 bits; any number of them would overflow even the wide one

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<Number> read_number(std::string_view text) {
  Number number;
  std::size_t at = 0, digits = 0;
  for (; at < text.size() && is_digit(text[at]) && digits <= kDigitsMax; ++at, ++digits) number.whole = number.whole * 10 + (text[at] - '0');
  if (at < text.size() && text[at] == '.') {
    for (++at; at < text.size() && is_digit(text[at]) && digits <= kDigitsMax; ++at, ++digits) {
      number.fraction = number.fraction * 10 + (text[at] - '0');
      number.scale *= 10;
    }
  }
  if (digits == 0 || digits > kDigitsMax) return std::nullopt;
  number.rest = text.substr(at);
  return number;
}

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string format(std::int64_t number, std::span<const Unit> units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (number % unit.factor == 0) best = &unit;
  }
  return std::to_string(number / best->factor) + std::string(best->name);
}

}  // namespace

tl::expected<Duration, std::string> parse_duration(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return tl::unexpected(std::string(why) + "; write it like 250us, 5ms, 1.5s, 2min or 1h");
  };
  const bool negative = text.starts_with('-');
  const std::optional<Number> number = read_number(text.substr(negative ? 1 : 0));
  if (!number) return refuse("is no duration");
  if (negative) return refuse("is negative");
  if (number->rest.empty()) return tl::unexpected("has no unit; did you mean " + quoted(std::string(text) + "s") + "?");
  const Unit* unit = find_unit(kTimes, number->rest);
  if (!unit) return refuse("has no unit that is known (ns, us, ms, s, min, h)");
  const Wide ns = number->whole * unit->factor + (number->fraction * unit->factor + number->scale / 2) / number->scale;
  if (ns > std::numeric_limits<std::int64_t>::max()) return refuse("is too long");
  return Duration(static_cast<std::int64_t>(ns));
}

std::string format_duration(Duration duration) { return duration.count() == 0 ? "0s" : format(duration.count(), kTimes); }

tl::expected<std::int64_t, std::string> parse_bytes(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return tl::unexpected(std::string(why) + "; write it like 4096, 64KiB or 1.5GiB");
  };
  const bool negative = text.starts_with('-');
  const std::optional<Number> number = read_number(text.substr(negative ? 1 : 0));
  if (!number) return refuse("is no size");
  if (negative) return refuse("is negative");
  const Unit* unit = number->rest.empty() ? &kSizes.front() : find_unit(kSizes, number->rest);
  if (!unit) {
    // "KB" is 1000 bytes to some and 1024 to others: whoever writes it is asked.
    for (const Unit& meant : std::span(kSizes).subspan(1)) {
      if (std::tolower(static_cast<unsigned char>(number->rest.front())) != std::tolower(meant.name.front())) continue;
      const std::string_view digits = text.substr(0, text.size() - number->rest.size());
      return tl::unexpected("has no unit that is known; did you mean " + quoted(std::string(digits) + std::string(meant.name)) + "?");
    }
    return refuse("has no unit that is known (B, KiB, MiB, GiB, TiB)");
  }
  if (number->fraction * unit->factor % number->scale != 0) return refuse("is no whole number of bytes");
  const Wide bytes = number->whole * unit->factor + number->fraction * unit->factor / number->scale;
  if (bytes > std::numeric_limits<std::int64_t>::max()) return refuse("is too large");
  return static_cast<std::int64_t>(bytes);
}

std::string format_bytes(std::int64_t bytes) {
  return bytes == 0 || bytes % 1024 != 0 ? std::to_string(bytes) : format(bytes, std::span(kSizes).subspan(1));
}

}  // namespace samovar::core
