// explain: each option, its value, where it comes from and what it is in force. For `samovar config`; exported, not installed.
#pragma once

#include <string>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar::core {

struct Explained {
  std::string name;
  std::string type;         // "duration"
  std::string range;        // "from 4KiB to 1GiB", or empty
  std::string value;        // as TOML
  std::string in_force;     // as TOML; differs from `value` where that leaves the choice to the pool
  std::string from;         // "default", "samovar.toml:12", "environment SAMOVAR_WORKERS"
  bool is_default = false;  // nobody set it
  std::string variable;     // "SAMOVAR_WORKERS"
  std::string doc;          // a sentence without its full stop
  std::string default_means;
};

struct Explanation {
  std::string profile;  // or empty
  std::vector<Explained> options;
  std::vector<std::string> warnings;  // of the environment
};

// Of options as load_options() and apply_environment() make them; a missing module is no failure. Fails: as Pool::start() would.
SAMOVAR_API Result<Explanation> explain(const Options& options);

}  // namespace samovar::core
