// Values of options between text and Options: set from what a file or the environment says, checked, and written back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

#include "core/config/option_table.h"

namespace samovar::core {

// A value as it was written, before anybody knows what it is for.
struct Written {
  struct Other {
    std::string_view what;  // "a table", "a date"
  };
  using List = std::vector<Written>;
  std::variant<std::string, std::int64_t, double, bool, List, Other> value;
};

// What an environment variable's text says for this option: lists are split (python_path at ':', cpus at ',', where "0-3" is four).
Written written_in_environment(const OptionRow& row, std::string_view text);

// Sets the option. Fails: a sentence that begins with `shown` and quotes the value: of a wrong type, out of range, no such choice.
tl::expected<void, std::string> assign(Options& options, const OptionRow& row, const Written& written, std::string_view shown);

// Whether the value is within the row's range. Fails: as assign().
tl::expected<void, std::string> check_range(const Options& options, const OptionRow& row);

// As a TOML value: 4, "5ms", "64KiB", "caller", [0, 1].
std::string format_value(const Options& options, const OptionRow& row);

// "whole number", "size", "duration", "text", "path", "choice", "list of paths", "list of numbers".
std::string_view type_name(const OptionRow& row);

// "from 4KiB to 1GiB", "at least 1", "0s to 1s"; empty where any value will do.
std::string format_range(const OptionRow& row);

bool same_value(const Options& a, const Options& b, const OptionRow& row);

void copy_value(const Options& from, Options& to, const OptionRow& row);

}  // namespace samovar::core
