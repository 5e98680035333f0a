// ConfigFile: what a TOML file says, checked whole, not yet applied. The only part that knows TOML's parser.
//
//   profile = "prod"          # which [profiles.*], beside the built-in values of that profile
//   workers = 4               # for all pools of the file
//   [profiles.prod]           # refines the general keys
//   [pools.fast]              # refines both, for load_options({.pool = "fast"})
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <samovar/error.h>

#include "core/config/option_value.h"

namespace samovar::core {

struct Setting {
  const OptionRow* row = nullptr;
  Written value;
  std::string where;  // "samovar.toml:12"
};

using Settings = std::vector<Setting>;
using Sections = std::map<std::string, Settings, std::less<>>;

struct ConfigFile {
  std::string profile;
  std::string profile_where;  // "samovar.toml:1", or empty
  Settings general;
  Sections profiles;
  Sections pools;
};

// Relative paths become relative to the file's folder. Fails: invalid_option, with a line for each thing that is wrong in it.
Result<ConfigFile> read_config_file(const std::string& path);

// As read_config_file(), of a text; `name` is for messages, `folder` for relative paths.
Result<ConfigFile> parse_config(std::string_view text, const std::string& name, const std::string& folder);

}  // namespace samovar::core
