// Where the Python of the demos lies: beside an installed tool, else in the source tree.
#pragma once

#include <filesystem>
#include <string>

#include <samovar/error.h>

namespace samovar::cli {

// The directory of the example `name`, which holds `module`. Fails: it is in neither place; the message names both.
Result<std::filesystem::path> find_example_directory(const std::string& name, const std::string& module);

}  // namespace samovar::cli
