#include <samovar/inspect.h>

#include <utility>

#include "core/config/option_value.h"
#include "core/config/origins.h"
#include "core/options.h"
#include "core/supervision/launch_plan.h"
#include "core/supervision/thread_counts.h"
#include "core/topology/machine.h"

namespace samovar {

Result<Explanation> explain(const Options& options) {
  Options complete = options;
  if (complete.module.empty()) complete.module = "named by the program";
  const bool one_thread_each = core::compute_with_one_thread(complete);
  Result<core::Resolved> resolved = core::resolve(std::move(complete), core::this_machine(), one_thread_each);
  if (!resolved) return tl::unexpected(std::move(resolved.error()));
  Options& in_force = resolved->options;
  in_force.module = options.module;
  if (const Result<core::LaunchPlan> plan = core::plan_launch(options)) in_force.python = plan->python;

  Explanation explanation;
  for (const core::OptionRow& row : core::option_table()) {
    const core::Origin origin = core::origin_of(options, row);
    explanation.options.push_back({.name = std::string(row.name),
                                   .type = std::string(core::type_name(row)),
                                   .range = core::format_range(row),
                                   .value = core::format_value(options, row),
                                   .in_force = core::format_value(in_force, row),
                                   .from = origin.to_string(),
                                   .is_default = origin.from == core::Origin::From::defaults,
                                   .variable = core::environment_name(row),
                                   .doc = std::string(row.doc),
                                   .default_means = std::string(row.default_means)});
  }
  if (!options.origins) return explanation;
  explanation.profile = options.origins->profile;
  for (const core::Note& note : options.origins->notes) {
    if (note.level >= LogLevel::warning) explanation.warnings.push_back(note.line);
  }
  return explanation;
}

Result<WorkerCommand> worker_command(const Options& options) {
  Result<core::LaunchPlan> plan = core::plan_launch(options);
  if (!plan) return tl::unexpected(std::move(plan.error()));
  return WorkerCommand{.argv = plan->argv("samovar.worker"), .environment = std::move(plan->environment)};
}

}  // namespace samovar
