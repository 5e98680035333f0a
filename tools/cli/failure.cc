#include "tools/cli/failure.h"

#include <cstdio>
#include <cstring>
#include <sstream>

namespace samovar::cli {
namespace {

void print_indented(std::string_view text) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) std::fprintf(stderr, "  %s\n", line.c_str());
}

// What the library cannot know: which option of this command would help.
std::string_view advice_for(Code code) {
  switch (code) {
    case Code::python_not_found:
    case Code::incompatible_worker: return "--python PATH or SAMOVAR_PYTHON names another interpreter.";
    case Code::deadline_exceeded: return "--timeout gives it longer.";
    case Code::start_timeout: return "--start-timeout gives it longer.";
    default: return {};
  }
}

}  // namespace

int report(std::string_view command, const Error& error) {
  std::string text = error.to_string();
  text.erase(text.find_last_not_of('\n') + 1);  // a traceback ends its last line
  std::fprintf(stderr, "samovar %.*s: error: %s\n", static_cast<int>(command.size()), command.data(), text.c_str());
  print_indented(advice_for(error.code));
  return kFailed;
}

int report_usage(std::string_view command, std::string_view what, std::string_view advice) {
  const std::string name = command.empty() ? "samovar" : "samovar " + std::string(command);
  std::fprintf(stderr, "%s: error: %.*s\n", name.c_str(), static_cast<int>(what.size()), what.data());
  print_indented(advice);
  std::fprintf(stderr, "  See: %s --help\n", name.c_str());
  return kUsage;
}

Error system_error(std::string message, int errno_value) {
  return {.category = Category::system,
          .code = Code::system_error,
          .message = errno_value ? message + ": " + std::strerror(errno_value) : std::move(message),
          .context = {}};
}

}  // namespace samovar::cli
