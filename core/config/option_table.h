// The option table: each option that text can set, said once. From it follow the keys of the file, the names of the environment,
// ranges, the profiles' values, `samovar config --explain` and the table in core/CONFIGURATION.md.
//
// To add an option: a member in Options, a row here, an effect in tests/integration/options_test.cc. The compiler counts the
// members, the tests miss the effect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <samovar/options.h>

namespace samovar::core {

using Member = std::variant<std::string Options::*, int Options::*, std::uint32_t Options::*, std::uint64_t Options::*,
                            Duration Options::*, Dispatcher Options::*, LogLevel Options::*, Fallback Options::*, Pinning Options::*,
                            WorkerStart Options::*, std::vector<std::string> Options::*,
                            std::vector<int> Options::*, bool Options::*>;

enum class Form : std::uint8_t {
  plain,
  bytes,  // a number that is written with or without a unit: "64KiB"
  path,   // text that is a path where it has a '/' or ends in ".py"; in a file such a one is relative to the file
};

inline constexpr std::int64_t kNoMax = std::numeric_limits<std::int64_t>::max();

struct OptionRow {
  std::string_view name;  // as in Options and in the file; SAMOVAR_ and upper case in the environment
  Member member;
  Form form = Form::plain;
  std::int64_t min = 0;       // of numbers, and of durations in nanoseconds
  std::int64_t max = kNoMax;
  std::string_view doc;
  std::string_view default_means = {};  // what a default that is no value of its own stands for
};

std::span<const OptionRow> option_table();

// The row of a name, or nullptr.
const OptionRow* find_option(std::string_view name);

std::size_t index_of(const OptionRow& row);

std::vector<std::string_view> option_names();

// "SAMOVAR_LANE_BYTES"
std::string environment_name(const OptionRow& row);

// A value that a profile has instead of the default, written as in the environment.
struct ProfileSetting {
  std::string_view profile;
  std::string_view option;
  std::string_view text;
};

inline constexpr std::string_view kProfiles[] = {"dev", "test", "prod"};

std::span<const ProfileSetting> profile_settings();

}  // namespace samovar::core
