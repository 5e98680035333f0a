// samovar: the command. This file only dispatches; each subcommand has a file of its own.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#ifdef SAMOVAR_HAS_BENCH
#include "bench/whole/bench_command.h"
#endif
#include "tools/cli/commands.h"
#include "tools/cli/failure.h"

namespace {

std::string name_of_parsed(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? std::string() : parsed.front()->get_name();
}

std::string names_of_subcommands(const CLI::App& app) {
  std::string names;
  for (const CLI::App* subcommand : app.get_subcommands({})) {
    names += (names.empty() ? "" : ", ") + subcommand->get_name();
  }
  return names;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace samovar::cli;
  int exit_status = kSucceeded;

  CLI::App app("Python, kept hot, served in a microsecond: resident Python workers called over shared memory.", "samovar");
  app.set_version_flag("--version", "samovar " SAMOVAR_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.get_formatter()->column_width(34);
  app.require_subcommand(1);
  app.footer("Details: samovar SUBCOMMAND --help.  Exit status: 0 done, 1 failed, 2 wrong usage.");

  add_demo(app, exit_status);
  add_call(app, exit_status);
  add_config(app, exit_status);
  add_doctor(app, exit_status);
  add_topology(app, exit_status);
#ifdef SAMOVAR_HAS_BENCH
  samovar::bench::add_bench(app, exit_status);
#endif

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string parsed = name_of_parsed(app);
    if (parsed.empty() && argc > 1 && argv[1][0] != '-') {
      return report_usage("", "there is no subcommand " + std::string(argv[1]), "There are: " + names_of_subcommands(app));
    }
    return report_usage(parsed, error.what(), {});
  }
  return exit_status;
}
