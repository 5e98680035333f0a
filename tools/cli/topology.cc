// samovar topology: this machine, or one that is described, and who would run where on it.
#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/supervision/thread_counts.h"
#include "core/topology/cpu_list.h"
#include "core/topology/machine.h"
#include "core/topology/plan.h"
#include "tools/cli/commands.h"
#include "tools/cli/configured.h"
#include "tools/cli/failure.h"
#include "tools/cli/topology_drawing.h"

namespace samovar::cli {
namespace {

constexpr const char* kFooter =
    "In the drawing the CPUs of a core stand below each other: D dispatcher, w0 w1 workers that are kept there, * workers that move about\n"
    "on CPUs so marked, . free, - a second thread that is left empty.\n"
    "The plan is that of a pool with these options: a file's and the environment's count, and what stands here outranks them.\n"
    "A synthetic machine is described as hwloc(7) says, the outermost first: \"package:2 numa:2 l3:2 core:4 pu:2\".";

struct TopologyCommand {
  Configured source;
  std::string synthetic;
  double quota = 0;
  std::string cpus, nodes, dispatcher, pinning;
  int workers = -1;
  bool json = false;
};

int misused(const std::string& what) { return report_usage("topology", what, {}); }

// By name, as the options have them.
template <typename T>
bool choose(const std::string& name, std::initializer_list<T> all, T& choice) {
  const auto found = std::find_if(all.begin(), all.end(), [&](T one) { return to_string(one) == name; });
  if (found != all.end()) choice = *found;
  return name.empty() || found != all.end();
}

int run_topology(const TopologyCommand& command) {
  const Result<Options> options = load(command.source, {});
  if (!options) return report("topology", options.error());
  core::Machine machine;
  if (command.synthetic.empty()) {
    machine = core::this_machine();
  } else {
    auto described = core::synthetic_machine(command.synthetic);
    if (!described) return misused("--synthetic: " + described.error());
    machine = std::move(*described);
  }
  if (command.quota > 0) machine.quota = command.quota;

  core::PlanRequest request = core::plan_request(*options);
  request.one_thread_each = core::compute_with_one_thread(*options);
  if (command.workers >= 0) request.workers = static_cast<unsigned>(command.workers);
  struct List {
    std::string name;
    const std::string& text;
    std::vector<int>& list;
  };
  for (const List& given : {List{"--cpus", command.cpus, request.cpus}, List{"--nodes", command.nodes, request.nodes}}) {
    if (given.text.empty()) continue;
    auto parsed = core::parse_cpus(given.text);
    if (!parsed) return misused(given.name + ": " + parsed.error());
    given.list = std::move(*parsed);
  }
  if (!choose(command.dispatcher, {Dispatcher::automatic, Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}, request.dispatcher)) {
    return misused("--dispatcher is auto, caller, manual or pinned");
  }
  if (!choose(command.pinning, {Pinning::automatic, Pinning::none, Pinning::core, Pinning::node}, request.pinning)) {
    return misused("--pinning is auto, none, core or node");
  }
  if (const auto wrong = core::misfit(machine, request)) {
    return report("topology", {.category = Category::configuration, .code = Code::invalid_option, .message = wrong->message, .context = {}});
  }
  const core::Plan plan = core::plan_placement(machine, request);
  const std::string text = command.json ? json_of(machine, plan) : draw_machine(machine, plan) + "\n" + tell_plan(plan);
  std::fputs(text.c_str(), stdout);
  return kSucceeded;
}

}  // namespace

void add_topology(CLI::App& app, int& exit_status) {
  auto command = std::make_shared<TopologyCommand>();
  CLI::App* topology = app.add_subcommand("topology", "Draw the machine, and who would run where on it");
  topology->footer(kFooter);
  add_configured(*topology, "--config", command->source);
  topology->add_option("--workers", command->workers, "Workers; 0: one for each core")->option_text("N")->check(CLI::Range(0, 1024));
  topology->add_option("--dispatcher", command->dispatcher, "auto, caller, manual or pinned")->option_text("KIND");
  topology->add_option("--pinning", command->pinning, "auto, none, core or node")->option_text("KIND");
  topology->add_option("--cpus", command->cpus, "The only CPUs that the pool may use: 0-5,8")->option_text("LIST");
  topology->add_option("--nodes", command->nodes, "The only NUMA nodes that it may use")->option_text("LIST");
  topology->add_option("--synthetic", command->synthetic, "Another machine than this: \"numa:2 core:8 pu:2\"")->option_text("MACHINE");
  topology->add_option("--quota", command->quota, "CPUs at a time that a cgroup would grant")->option_text("CPUS")->check(CLI::PositiveNumber);
  topology->add_flag("--json", command->json, "Print JSON");
  topology->callback([command, &exit_status] { exit_status = run_topology(*command); });
}

}  // namespace samovar::cli
