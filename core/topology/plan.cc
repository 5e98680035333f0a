#include "core/topology/plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/topology/cores.h"
#include "core/topology/cpu_list.h"
#include "core/topology/plan_notes.h"

namespace samovar::core {
namespace {

bool contains(const std::vector<int>& numbers, int number) { return std::find(numbers.begin(), numbers.end(), number) != numbers.end(); }

bool is_granted(const PlanRequest& request, const Cpu& cpu) {
  return (request.cpus.empty() || contains(request.cpus, cpu.number)) && (request.nodes.empty() || contains(request.nodes, cpu.node));
}

bool is_restricted(const PlanRequest& request) { return !request.cpus.empty() || !request.nodes.empty(); }

// The workers that belong together: those of a NUMA node, or all.
struct Group {
  int node = -1;
  std::size_t cores_in_all = 0;  // with the dispatcher's
  Cores free{};                  // without it, the best first
  std::vector<unsigned> seats{};
};

std::vector<Group> groups_of(const Cores& pool, const Cores& free, const Core* home, bool by_node) {
  std::vector<Group> groups;
  const auto group_of = [&](int node) {
    return std::find_if(groups.begin(), groups.end(), [&](const Group& group) { return !by_node || group.node == node; });
  };
  for (const Core& core : free) {
    if (group_of(core.node) == groups.end()) groups.push_back({.node = core.node});
    group_of(core.node)->free.push_back(core);
  }
  for (const Core& core : pool) {
    if (const auto group = group_of(core.node); group != groups.end()) ++group->cores_in_all;
  }
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) { return a.node < b.node; });
  if (home) std::stable_partition(groups.begin(), groups.end(), [&](const Group& group) { return group.node == home->node; });
  for (Group& group : groups) sort_nearest_first(group.free, home && group.node == home->node ? *home : heart_of(group.free));
  return groups;
}

// Each seat goes where the fewest are for the cores that there are; where it has a core of its own, as long as there is one.
void assign_seats(std::vector<Group>& groups, unsigned workers) {
  for (unsigned seat = 0; seat < workers; ++seat) {
    const auto best = std::min_element(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
      const bool a_full = a.seats.size() >= a.free.size(), b_full = b.seats.size() >= b.free.size();
      if (a_full != b_full) return b_full;
      return (a.seats.size() + 1) * b.cores_in_all < (b.seats.size() + 1) * a.cores_in_all;
    });
    best->seats.push_back(seat);
  }
}

// With more workers than cores the first threads are dealt before the second ones, and then all of them again.
void place_on_cores(const Group& group, int node, std::vector<Place>& seats) {
  if (group.seats.size() <= group.free.size()) {
    for (std::size_t i = 0; i < group.seats.size(); ++i) {
      seats[group.seats[i]] = {group.free[i].cpus, node};
      std::sort(seats[group.seats[i]].cpus.begin(), seats[group.seats[i]].cpus.end());
    }
    return;
  }
  std::vector<Place> deal;
  for (std::size_t thread = 0, before = 1; deal.size() != before; ++thread) {
    before = deal.size();
    for (const Core& core : group.free) {
      if (thread < core.cpus.size()) deal.push_back({{core.cpus[thread]}, node, thread == 0});
    }
  }
  for (std::size_t i = 0; i < group.seats.size(); ++i) seats[group.seats[i]] = deal[i % deal.size()];
}

// What is left of the groups, for workers that come and go: they share it, the kernel moves them about. Where nothing is left, all of it.
std::vector<Place> places_beyond(const std::vector<Group>& groups, bool several_nodes) {
  std::vector<Place> places;
  for (const Group& group : groups) {
    if (group.seats.size() >= group.free.size()) continue;
    const Cores left(group.free.begin() + static_cast<std::ptrdiff_t>(group.seats.size()), group.free.end());
    places.push_back({cpus_for(left, 1), several_nodes ? group.node : -1});
  }
  if (!places.empty()) return places;
  for (const Group& group : groups) places.push_back({cpus_for(group.free, group.free.size() + 1), several_nodes ? group.node : -1});
  return places;
}

void place_as_told(Plan& plan, const Machine& machine, const std::vector<int>& worker_cpus) {
  const bool several_nodes = count_nodes(machine) > 1;
  const auto place = [&](std::size_t seat) {
    const int number = worker_cpus[seat % worker_cpus.size()];
    const auto cpu = std::find_if(machine.cpus.begin(), machine.cpus.end(), [&](const Cpu& one) { return one.number == number; });
    return Place{.cpus = {number}, .node = several_nodes && cpu != machine.cpus.end() ? cpu->node : -1};
  };
  for (std::size_t seat = 0; seat < plan.workers; ++seat) plan.seats.push_back(place(seat));
  for (std::size_t i = 0; i < worker_cpus.size(); ++i) plan.further.push_back(place(plan.workers + i));
}

// Without a node of its own, a group's place still has one where all of its CPUs do.
int common_node(const Cores& cores) {
  const int node = cores.front().node;
  return std::all_of(cores.begin(), cores.end(), [&](const Core& core) { return core.node == node; }) ? node : -1;
}

void place_groups(Plan& plan, std::vector<Group> groups, bool several_nodes, bool restricted) {
  assign_seats(groups, plan.workers);
  plan.seats.resize(plan.workers);
  for (const Group& group : groups) {
    const int node = several_nodes && plan.pinning != Pinning::none ? group.node : -1;
    if (plan.pinning == Pinning::core) {
      place_on_cores(group, node, plan.seats);
      continue;
    }
    Place shared{{}, node};
    if (plan.pinning == Pinning::node || restricted) shared.cpus = cpus_for(group.free, group.seats.size());
    if (several_nodes && restricted) shared.node = common_node(group.free);
    for (const unsigned seat : group.seats) plan.seats[seat] = shared;
    plan.further.push_back(std::move(shared));
  }
  if (plan.pinning == Pinning::core) plan.further = places_beyond(groups, several_nodes);
}

Pinning choose_pinning(const Plan& plan, const PlanRequest& request, const Cores& free) {
  if (!request.worker_cpus.empty()) return Pinning::core;
  if (request.pinning != Pinning::automatic) return request.pinning;
  const bool pinned = plan.dispatcher == samovar::Dispatcher::pinned;
  if (pinned && request.one_thread_each && plan.workers + 2 <= plan.spinners_max && plan.workers < free.size()) return Pinning::core;
  std::set<int> nodes;
  for (const Core& core : free) nodes.insert(core.node);
  return nodes.size() > 1 ? Pinning::node : Pinning::none;
}

// On a core of nobody else's, near the workers.
int choose_dispatcher_cpu(const PlanRequest& request, const Cores& all, const Cores& pool) {
  if (request.dispatcher_cpu >= 0) return request.dispatcher_cpu;
  if (request.worker_cpus.empty()) return heart_of(pool).cpus.front();
  Cores others;
  std::copy_if(pool.begin(), pool.end(), std::back_inserter(others), [&](const Core& core) {
    return std::none_of(core.cpus.begin(), core.cpus.end(), [&](int cpu) { return contains(request.worker_cpus, cpu); });
  });
  if (others.empty()) return heart_of(pool).cpus.front();
  sort_nearest_first(others, *core_with(all, request.worker_cpus.front()));
  return others.front().cpus.front();
}

std::string asked_by(const Plan& plan, const PlanRequest& request) {
  if (!request.worker_cpus.empty()) return "worker_cpus";
  if (!request.cpus.empty()) return "cpus";
  if (!request.nodes.empty()) return "nodes";
  return request.pinning != Pinning::automatic && plan.pinning != Pinning::none ? "pinning" : "";
}

}  // namespace

PlanRequest plan_request(const Options& options) {
  return {.workers = options.workers,
          .dispatcher = options.dispatcher,
          .pinning = options.pinning,
          .cpus = options.cpus,
          .nodes = options.nodes,
          .worker_cpus = options.worker_cpus,
          .dispatcher_cpu = options.dispatcher_cpu,
          .one_thread_each = options.worker_threads == 1};
}

Plan plan_placement(const Machine& machine, const PlanRequest& request) {
  std::vector<Cpu> granted;
  std::copy_if(machine.cpus.begin(), machine.cpus.end(), std::back_inserter(granted), [&](const Cpu& cpu) { return is_granted(request, cpu); });
  const Cores all = cores_of(machine.cpus), pool = cores_of(granted);

  Plan plan;
  plan.cores = static_cast<unsigned>(pool.size());
  plan.spinners_max = plan.cores;
  if (machine.quota > 0 && machine.quota < plan.cores) plan.spinners_max = std::max(1u, static_cast<unsigned>(machine.quota));
  plan.workers = request.workers > 0 ? request.workers : plan.spinners_max;
  plan.dispatcher = request.dispatcher;
  if (plan.dispatcher == samovar::Dispatcher::automatic) {
    plan.dispatcher = plan.workers + 2 <= plan.spinners_max ? samovar::Dispatcher::pinned : samovar::Dispatcher::caller;
  }
  std::set<int> nodes;
  for (const Cpu& cpu : granted) {
    if (cpu.node >= 0) nodes.insert(cpu.node);
  }
  plan.nodes.assign(nodes.begin(), nodes.end());

  if (plan.dispatcher == samovar::Dispatcher::pinned) plan.dispatcher_cpu = choose_dispatcher_cpu(request, all, pool);
  const Core* home = plan.dispatcher_cpu >= 0 ? core_with(all, plan.dispatcher_cpu) : nullptr;
  Cores free = pool;
  if (home && free.size() > 1) std::erase_if(free, [&](const Core& core) { return core.number == home->number; });

  plan.pinning = choose_pinning(plan, request, free);
  plan.asked_by = asked_by(plan, request);
  if (!request.worker_cpus.empty()) {
    place_as_told(plan, machine, request.worker_cpus);
  } else {
    place_groups(plan, groups_of(pool, free, home, plan.pinning != Pinning::none), count_nodes(machine) > 1, is_restricted(request));
  }
  plan.notes = notes_on(plan, machine, request);
  return plan;
}

const Place& place_of(const Plan& plan, unsigned seat) {
  if (seat < plan.seats.size()) return plan.seats[seat];
  return plan.further[(seat - plan.seats.size()) % plan.further.size()];
}

bool may_poll(const Plan& plan, unsigned seat) { return plan.spinners_max > 1 && place_of(plan, seat).polls; }

std::optional<Misfit> misfit(const Machine& machine, const PlanRequest& request) {
  std::vector<int> usable;
  std::set<int> with_cpus;
  for (const Cpu& cpu : machine.cpus) {
    usable.push_back(cpu.number);
    if (cpu.node >= 0) with_cpus.insert(cpu.node);
  }
  const std::string may_use = "; this process may use " + format_cpus(usable);
  struct Named {
    std::string_view option;
    const std::vector<int>& cpus;
  };
  for (const Named& named : {Named{"worker_cpus", request.worker_cpus}, Named{"cpus", request.cpus}}) {
    for (const int cpu : named.cpus) {
      if (!contains(usable, cpu)) return Misfit{named.option, std::string(named.option) + " names CPU " + std::to_string(cpu) + may_use};
    }
  }
  if (request.dispatcher_cpu >= 0 && !contains(usable, request.dispatcher_cpu)) {
    return Misfit{"dispatcher_cpu", "dispatcher_cpu = " + std::to_string(request.dispatcher_cpu) + may_use};
  }
  const std::string nodes = format_cpus({with_cpus.begin(), with_cpus.end()});
  for (const int node : request.nodes) {
    if (with_cpus.count(node) != 0) continue;
    const bool exists = std::any_of(machine.nodes.begin(), machine.nodes.end(), [&](const Node& one) { return one.number == node; });
    return Misfit{"nodes", "nodes names node " + std::to_string(node) + (exists ? ", which has no CPU that this process may use" : ", which this process does not see") +
                               "; it may use CPUs of " + (with_cpus.size() == 1 ? "node " : "nodes ") + nodes};
  }
  if (std::none_of(machine.cpus.begin(), machine.cpus.end(), [&](const Cpu& cpu) { return is_granted(request, cpu); })) {
    return Misfit{"cpus", "cpus = " + format_cpus(request.cpus) + " and nodes = " + format_cpus(request.nodes) + " have no CPU in common"};
  }
  return std::nullopt;
}

}  // namespace samovar::core
