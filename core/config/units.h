// Units: durations and sizes as people write them: "250us", "5ms", "1.5s", "2min", "1h"; "4096", "64KiB", "1GiB".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <samovar/options.h>
#include <tl/expected.hpp>

namespace samovar::core {

// A number and its unit (ns, us, ms, s, min, h); zero is "0s". Rounded to the nanosecond.
// Fails: with the rest of a sentence that begins with `text`, "has no unit; ...", where it is no duration, is negative, or is longer than 292 years.
tl::expected<Duration, std::string> parse_duration(std::string_view text);

// The shortest exact form in one unit: "1500ms" for 1.5 s.
std::string format_duration(Duration duration);

// A number of bytes, with or without a unit (B, KiB, MiB, GiB, TiB). Fails: as above, and where it is no whole number of bytes.
tl::expected<std::int64_t, std::string> parse_bytes(std::string_view text);

// The shortest exact form: "64KiB", and "4097" without a unit.
std::string format_bytes(std::int64_t bytes);

}  // namespace samovar::core
