#include "tools/cli/configured.h"

#include <cstdlib>
#include <utility>

namespace samovar::cli {
namespace {

std::string given_or(const std::string& given, const char* variable) {
  const char* value = std::getenv(variable);
  return given.empty() && value ? value : given;
}

}  // namespace

void add_configured(CLI::App& app, const std::string& file_name, Configured& configured) {
  app.add_option(file_name, configured.file, "Configuration in TOML; default: $SAMOVAR_CONFIG, else none")->option_text("FILE");
  app.add_option("--profile", configured.profile, "dev, test, prod or one of the file's; default: $SAMOVAR_PROFILE, else the file's")
      ->option_text("NAME");
  app.add_option("--pool", configured.pool, "Take [pools.NAME] of the file, too")->option_text("NAME");
}

std::string file_of(const Configured& configured) { return given_or(configured.file, "SAMOVAR_CONFIG"); }

Result<Options> load(const Configured& configured, Options defaults) {
  // For a program its environment outranks what it was written to do. A command line outranks the environment.
  Result<Options> loaded = load_options({.file = file_of(configured),
                                         .profile = given_or(configured.profile, "SAMOVAR_PROFILE"),
                                         .pool = configured.pool,
                                         .environment = Environment::ignore},
                                        std::move(defaults));
  return loaded ? apply_environment(std::move(*loaded)) : std::move(loaded);
}

}  // namespace samovar::cli
