#include "core/supervision/launch_plan.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>

#include "core/config/origins.h"
#include "core/errors.h"
#include "core/supervision/installation.h"
#include "core/supervision/thread_counts.h"

namespace samovar::core {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_executable(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

std::string find_in_path(const std::string& name) {
  std::istringstream path(environment("PATH"));
  for (std::string folder; std::getline(path, folder, ':');) {
    const fs::path candidate = fs::path(folder.empty() ? "." : folder) / name;
    if (is_executable(candidate)) return candidate.string();
  }
  return {};
}

Result<std::string> find_python(const Options& options, const Installation& installation) {
  struct Choice {
    std::string name, source;
  };
  std::vector<Choice> choices;
  if (!options.python.empty()) {
    const Origin origin = origin_of(options, *find_option("python"));
    choices = {{options.python, origin.from == Origin::From::code ? "Options::python" : origin.to_string()}};
  } else {
    choices = {{installation.interpreter, "the interpreter Samovar was built for"}, {"python3", "$PATH"}};
  }
  std::string looked;
  for (const auto& [name, source] : choices) {
    if (name.empty()) continue;
    const bool is_path = name.find('/') != std::string::npos;
    if (std::string found = is_path ? (is_executable(name) ? name : "") : find_in_path(name); !found.empty()) return found;
    looked += (looked.empty() ? "" : ", ") + name + " (" + source + ")";
  }
  return tl::unexpected(make_error(Category::configuration, Code::python_not_found,
                                   "no executable Python at " + looked +
                                       "; set Options::python or SAMOVAR_PYTHON to an interpreter of CPython 3.11 or newer"));
}

}  // namespace

Result<LaunchPlan> plan_launch(const Options& options) {
  const Installation installation = find_installation(library_folder());
  Result<std::string> python = find_python(options, installation);
  if (!python) return tl::unexpected(std::move(python.error()));

  std::string path;
  const auto add = [&path](const std::string& folder) {
    if (!folder.empty()) path += (path.empty() ? "" : ":") + folder;
  };
  for (const std::string& folder : options.python_path) add(folder);
  add(installation.package_folder);
  add(environment("PYTHONPATH"));

  LaunchPlan plan;
  plan.python = std::move(*python);
  plan.environment = {{"PYTHONPATH", path}};
  for (auto& variable : thread_counts(options)) plan.environment.push_back(std::move(variable));
  return plan;
}

}  // namespace samovar::core
