#include "tools/cli/duration.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace samovar::cli {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ns;
};

constexpr std::array<Unit, 6> kUnits{{
    {"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"min", 60'000'000'000}, {"h", 3'600'000'000'000}}};

const Unit* find_unit(std::string_view name) {
  for (const Unit& unit : kUnits) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

}  // namespace

tl::expected<Duration, std::string> parse_duration(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return tl::unexpected("\"" + std::string(text) + "\" " + std::string(why) + "; write it like 250us, 5ms, 1.5s, 2min or 1h");
  };
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (failure != std::errc{} || !std::isfinite(number)) return refuse("is no duration");
  if (number < 0) return refuse("is negative");
  const std::string_view name = text.substr(static_cast<std::size_t>(end - text.data()));
  if (name.empty()) return refuse("has no unit");
  const Unit* unit = find_unit(name);
  if (!unit) return refuse("has no unit that is known (ns, us, ms, s, min, h)");
  const double ns = number * static_cast<double>(unit->ns);
  if (ns >= 9.2e18) return refuse("is too long");
  return Duration(std::llround(ns));
}

std::string format_duration(Duration duration) {
  const std::int64_t ns = duration.count();
  if (ns == 0) return "0s";
  const Unit* best = &kUnits[0];
  for (const Unit& unit : kUnits) {
    if (ns % unit.ns == 0) best = &unit;
  }
  return std::to_string(ns / best->ns) + std::string(best->name);
}

CLI::Option* add_duration(CLI::App& app, const std::string& names, Duration& value, const std::string& description) {
  const auto set = [&value, names](const std::string& text) {
    const auto parsed = parse_duration(text);
    if (!parsed) throw CLI::ValidationError(names, parsed.error());
    value = *parsed;
  };
  return app.add_option_function<std::string>(names, set, description)->type_name("DURATION")->default_str(format_duration(value));
}

}  // namespace samovar::cli
