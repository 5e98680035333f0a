// Durations on the command line: "100ns", "250us", "5ms", "1.5s", "2min", "1h". A number needs its unit; zero is "0s".
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include <samovar/options.h>
#include <tl/expected.hpp>

namespace samovar::cli {

// Fails: with a sentence, where `text` is no such duration, is negative, or is longer than 292 years.
tl::expected<Duration, std::string> parse_duration(std::string_view text);

// The shortest exact form in one unit: "1500ms" for 1.5 s.
std::string format_duration(Duration duration);

// An option that sets `value`; the help shows its present value as the default. `value` must outlive `app`.
CLI::Option* add_duration(CLI::App& app, const std::string& names, Duration& value, const std::string& description);

}  // namespace samovar::cli
