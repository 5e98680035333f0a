// `samovar bench`: what the whole costs, beside what it could cost at least and what the usual means cost.
#pragma once

#include <CLI/CLI.hpp>

namespace samovar::bench {

// Adds the subcommand; `exit_status` must live until `app` has been parsed, which is when the benchmark runs.
void add_bench(CLI::App& app, int& exit_status);

}  // namespace samovar::bench
