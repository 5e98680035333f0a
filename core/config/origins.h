// Origins: where the values of some Options come from, kept beside them for messages. Immutable once it is shared.
#pragma once

#include <string>
#include <vector>

#include <samovar/options.h>

#include "core/config/option_table.h"

namespace samovar::core {

struct Origin {
  enum class From : std::uint8_t { defaults, program_defaults, profile, file, environment, code };
  From from = From::defaults;
  std::string where;  // "samovar.toml:12", "SAMOVAR_WORKERS", "profile test"

  // "default", "default of the program", "profile test", "samovar.toml:12", "environment SAMOVAR_WORKERS", "code"
  std::string to_string() const;
};

struct Note {
  LogLevel level;
  std::string line;
};

struct Origins {
  Options values;               // as they were set; one that differs from this has been changed by code since
  std::vector<Origin> origins;  // of the rows of the option table
  bool loaded = false;          // by load_options()
  std::string profile;          // in force, or empty
  std::vector<Note> notes;      // what a pool that starts has to log
};

// Of a value that these options have now.
Origin origin_of(const Options& options, const OptionRow& row);

// A copy of what `options` has, to be added to and put back by attach(); or all defaults and code.
Origins origins_of(const Options& options);

void attach(Options& options, Origins origins);

// "samovar.toml:12: " or "environment SAMOVAR_WORKERS: ", to begin a message about this value; empty where code or a default set it.
std::string place_of(const Options& options, const OptionRow& row);

}  // namespace samovar::core
