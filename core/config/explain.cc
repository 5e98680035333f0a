#include "core/config/explain.h"

#include <utility>

#include "core/config/option_value.h"
#include "core/config/origins.h"
#include "core/options.h"
#include "core/supervision/launch_plan.h"
#include "core/topology/machine.h"

namespace samovar::core {

Result<Explanation> explain(const Options& options) {
  Options complete = options;
  if (complete.module.empty()) complete.module = "named by the program";
  Result<Options> resolved = resolve(std::move(complete), usable_cpus());
  if (!resolved) return tl::unexpected(std::move(resolved.error()));
  resolved->module = options.module;
  if (const Result<LaunchPlan> plan = plan_launch(options)) resolved->python = plan->argv.front();

  Explanation explanation;
  for (const OptionRow& row : option_table()) {
    const Origin origin = origin_of(options, row);
    explanation.options.push_back({.name = std::string(row.name),
                                   .type = std::string(type_name(row)),
                                   .range = format_range(row),
                                   .value = format_value(options, row),
                                   .in_force = format_value(*resolved, row),
                                   .from = origin.to_string(),
                                   .is_default = origin.from == Origin::From::defaults,
                                   .variable = environment_name(row),
                                   .doc = std::string(row.doc),
                                   .default_means = std::string(row.default_means)});
  }
  if (!options.origins) return explanation;
  explanation.profile = options.origins->profile;
  for (const Note& note : options.origins->notes) {
    if (note.level >= LogLevel::warning) explanation.warnings.push_back(note.line);
  }
  return explanation;
}

}  // namespace samovar::core
