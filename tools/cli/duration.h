// Durations on the command line, as core/config/units.h reads them: "250us", "5ms", "1.5s". A number needs its unit; zero is "0s".
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include <samovar/options.h>

namespace samovar::cli {

// An option that sets `value`; the help shows its present value as the default. `value` must outlive `app`.
CLI::Option* add_duration(CLI::App& app, const std::string& names, Duration& value, const std::string& description);

}  // namespace samovar::cli
