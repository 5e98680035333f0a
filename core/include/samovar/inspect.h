// What a pool would do with its options, told without starting one. For a service's own --explain and support pages; `samovar config`
// and `samovar doctor` are made of it.
//
// Threads: any, but like getenv() not while another one changes the environment.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samovar/api.h>
#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar {

struct ExplainedOption {
  std::string name{};
  std::string type{};           // "duration"
  std::string range{};          // "from 4KiB to 1GiB", or empty
  std::string value{};          // in TOML
  std::string in_force{};       // in TOML; another one where the value leaves the choice to the pool
  std::string from{};           // "default", "samovar.toml:12", "environment SAMOVAR_WORKERS", "code"
  bool is_default = false;      // nobody has set it
  std::string variable{};       // "SAMOVAR_WORKERS"
  std::string doc{};            // a sentence without its full stop
  std::string default_means{};  // what a default stands for that is no value of its own, or empty
};

struct Explanation {
  std::string profile{};  // or empty
  std::vector<ExplainedOption> options{};
  std::vector<std::string> warnings{};  // of the environment
};

// Of options that a pool could start with; a module that is missing yet is no failure. The environment counts where it has been
// applied: see apply_environment(). Fails: as Pool::start() would of these options.
SAMOVAR_API Result<Explanation> explain(const Options& options);

struct WorkerCommand {
  std::vector<std::string> argv{};                                     // the interpreter first, found as start() finds it
  std::vector<std::pair<std::string, std::string>> environment{};  // name and value, over the host's own
};

// How a worker would be started. Fails: python_not_found, with the places that were looked at.
SAMOVAR_API Result<WorkerCommand> worker_command(const Options& options);

}  // namespace samovar
