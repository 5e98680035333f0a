// samovar config: the options that a pool would start with, and where each comes from.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include <samovar/inspect.h>

#include "tools/cli/commands.h"
#include "tools/cli/configured.h"
#include "tools/cli/failure.h"

namespace samovar::cli {
namespace {

constexpr const char* kFooter =
    "Without --explain it prints a file that has the same effect; lines with # are defaults.\n"
    "Exit status: 0 all is well, 1 something in the file, a profile or a SAMOVAR_* variable is wrong, 2 wrong usage.\n"
    "A program's own settings are not known here: they rank over the file and below the environment.";

struct ConfigCommand {
  Configured source;
  bool explain = false;
  bool json = false;
  bool check = false;
};

// "2 (of 0)": what is in force, and what it was made from.
std::string value_of(const ExplainedOption& option) {
  return option.in_force == option.value ? option.value : option.in_force + " (of " + option.value + ")";
}

void print_columns(const std::vector<ExplainedOption>& options) {
  struct Row {
    std::string name, value, from, doc;
  };
  std::vector<Row> rows;
  std::size_t widths[3] = {};
  for (const ExplainedOption& option : options) {
    std::string doc = option.doc;
    if (!option.default_means.empty()) doc += "; default: " + option.default_means;
    rows.push_back({option.name, value_of(option), option.from, std::move(doc)});
    widths[0] = std::max(widths[0], rows.back().name.size());
    widths[1] = std::max(widths[1], rows.back().value.size());
    widths[2] = std::max(widths[2], rows.back().from.size());
  }
  const auto width = [&](int column, std::size_t most) { return static_cast<int>(std::min(widths[column], most)); };
  for (const Row& row : rows) {
    std::printf("%-*s  %-*s  %-*s  %s\n", width(0, 40), row.name.c_str(), width(1, 48), row.value.c_str(), width(2, 48),
                row.from.c_str(), row.doc.c_str());
  }
}

void print_json(const Explanation& explanation, const Configured& source) {
  const auto parsed = [](const std::string& toml) {  // what format_value() writes is JSON, too
    return nlohmann::ordered_json::parse(toml, nullptr, false);
  };
  nlohmann::ordered_json options = nlohmann::ordered_json::array();
  for (const ExplainedOption& option : explanation.options) {
    options.push_back({{"name", option.name},
                       {"value", parsed(option.value)},
                       {"in_force", parsed(option.in_force)},
                       {"from", option.from},
                       {"default", option.is_default},
                       {"type", option.type},
                       {"range", option.range},
                       {"variable", option.variable},
                       {"doc", option.doc},
                       {"default_means", option.default_means}});
  }
  const nlohmann::ordered_json document{{"file", file_of(source)},
                                        {"profile", explanation.profile},
                                        {"pool", source.pool},
                                        {"options", options},
                                        {"warnings", explanation.warnings}};
  std::printf("%s\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void print_toml(const Explanation& explanation) {
  std::size_t width = 0;
  for (const ExplainedOption& option : explanation.options) {
    if (!option.is_default) width = std::max(width, option.name.size() + option.value.size());
  }
  for (const ExplainedOption& option : explanation.options) {
    const int padding = static_cast<int>(std::min<std::size_t>(width, 60));
    const std::string line = option.name + " = " + option.value;
    if (option.is_default) {
      std::printf("#%s\n", line.c_str());
    } else {
      std::printf("%-*s  # %s\n", padding + 3, line.c_str(), option.from.c_str());
    }
  }
}

int run_config(const ConfigCommand& command) {
  const Result<Options> options = load(command.source, {});
  if (!options) return report("config", options.error());
  const Result<Explanation> explanation = explain(*options);
  if (!explanation) return report("config", explanation.error());
  for (const std::string& warning : explanation->warnings) std::fprintf(stderr, "samovar config: warning: %s\n", warning.c_str());
  if (command.check) {
    const std::string file = file_of(command.source);
    std::printf("%s: ok\n", file.empty() ? "no file" : file.c_str());
  } else if (command.json) {
    print_json(*explanation, command.source);
  } else if (command.explain) {
    print_columns(explanation->options);
  } else {
    print_toml(*explanation);
  }
  return kSucceeded;
}

}  // namespace

void add_config(CLI::App& app, int& exit_status) {
  auto command = std::make_shared<ConfigCommand>();
  CLI::App* config = app.add_subcommand("config", "Print the options of a pool: from a file, a profile and the environment");
  config->footer(kFooter);
  add_configured(*config, "-f,--file", command->source);
  CLI::Option* explain = config->add_flag("--explain", command->explain, "Print each value, where it comes from and what it means");
  CLI::Option* check = config->add_flag("--check", command->check, "Print nothing but what is wrong");
  config->add_flag("--json", command->json, "As --explain, as JSON")->excludes(check);
  explain->excludes(check);
  config->callback([command, &exit_status] { exit_status = run_config(*command); });
}

}  // namespace samovar::cli
