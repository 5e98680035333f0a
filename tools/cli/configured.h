// --config and --profile of subcommands that start pools, or tell how one would be.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include <samovar/config.h>

namespace samovar::cli {

struct Configured {
  std::string file;
  std::string profile;
  std::string pool;
};

// `configured` must outlive `app`.
void add_configured(CLI::App& app, const std::string& file_name, Configured& configured);

// Options with all layers applied, over `defaults`: the environment, too, so that what the command line says afterwards outranks it.
Result<Options> load(const Configured& configured, Options defaults);

// The file that load() reads: the one named on the command line, else $SAMOVAR_CONFIG; or empty.
std::string file_of(const Configured& configured);

}  // namespace samovar::cli
