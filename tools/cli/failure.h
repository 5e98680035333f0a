// How the command says that something went wrong: to stderr, what, why and what next; and its exit status.
#pragma once

#include <string>
#include <string_view>

#include <samovar/error.h>

namespace samovar::cli {

inline constexpr int kSucceeded = 0;
inline constexpr int kFailed = 1;  // it was tried and failed
inline constexpr int kUsage = 2;   // it was asked for in a way that has no meaning; nothing was tried

// Prints the error and, below it, the Python traceback, the worker's last output and what to do next. Returns kFailed.
int report(std::string_view command, const Error& error);

// `advice` may be empty and may have several lines. Returns kUsage.
int report_usage(std::string_view command, std::string_view what, std::string_view advice);

// For failures of the command's own: files, pipes, child processes.
Error system_error(std::string message, int errno_value);

}  // namespace samovar::cli
