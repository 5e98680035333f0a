// samovar demo embeddings: a subcommand of the demo.
#pragma once

#include <CLI/CLI.hpp>

namespace samovar::cli {

// Adds it to `demo`, whose own options are not for it. `exit_status` must outlive the parsing.
void add_demo_embeddings(CLI::App& demo, int& exit_status);

}  // namespace samovar::cli
