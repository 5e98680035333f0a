// Configuration from outside the program: a TOML file, a profile, SAMOVAR_* variables. core/CONFIGURATION.md describes all of it.
//
//   auto options = samovar::load_options({.file = "samovar.toml"});   // defaults < profile < file
//   if (!options) return report(options.error());                     // "samovar.toml:7: unknown key "worker"; did you mean ..."
//   options->python_path = {assets};                                  // code outranks the file: it simply assigns
//   auto pool = samovar::Pool::start(*options);                       // and SAMOVAR_* variables outrank both
//
// Threads: any, but like getenv() not while another one changes the environment. Fails: category configuration, code
// invalid_option; the message has a line for each thing that is wrong, with its file and line or its variable.
#pragma once

#include <string>

#include <samovar/api.h>
#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar {

struct ConfigSource {
  std::string file{};     // TOML; empty: none. $SAMOVAR_CONFIG outranks it
  std::string profile{};  // dev, test, prod, or one of the file's; empty: what the file says. $SAMOVAR_PROFILE outranks it
  std::string pool{};     // reads [pools.NAME] of the file over its general keys; empty: these alone
  Environment environment = Environment::apply;  // ignore: neither this nor start() looks at SAMOVAR_* variables
};

// `defaults` are the program's own: what ranks below profile and file. Reads the file whole and checks all of it, also the
// profiles and pools that were not asked for. A relative path in the file is relative to the file's folder. Blocks: on the file.
SAMOVAR_API Result<Options> load_options(const ConfigSource& source, Options defaults = {});

// What Pool::start() does first, unless options.environment says ignore: SAMOVAR_WORKERS=4 and so on, set over `options`.
// Done here once, start() does it no more: what is assigned after it outranks the environment, as a command line should.
SAMOVAR_API Result<Options> apply_environment(Options options);

}  // namespace samovar
