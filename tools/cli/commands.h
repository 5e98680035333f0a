// The subcommands. Each registers itself with its options and with a callback that runs it and sets `exit_status`.
// `exit_status` must outlive the parsing of `app`. bench_command.h has the same for `bench`.
#pragma once

#include <CLI/CLI.hpp>

namespace samovar::cli {

void add_call(CLI::App& app, int& exit_status);
void add_config(CLI::App& app, int& exit_status);
void add_demo(CLI::App& app, int& exit_status);
void add_doctor(CLI::App& app, int& exit_status);
void add_topology(CLI::App& app, int& exit_status);

}  // namespace samovar::cli
