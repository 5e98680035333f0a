// The plan over machines that are not here. The rules that must hold on any machine are tried over many random ones, at the end.
#include "core/topology/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>

#include "core/topology/cores.h"
#include "core/topology/cpu_list.h"

namespace samovar::core {
namespace {

using Kind = samovar::Dispatcher;

constexpr const char* kTwoNodes = "numa:2 l3:1 core:8 pu:2";
constexpr const char* kFourNodes = "package:2 numa:2 l3:1 core:4 pu:1";

Machine machine_of(const std::string& description, std::string_view cut = {}) {
  auto machine = synthetic_machine(description, cut);
  EXPECT_TRUE(machine) << description << ": " << machine.error();
  return machine ? std::move(*machine) : Machine{};
}

Plan plan(const Machine& machine, const PlanRequest& request) {
  const auto wrong = misfit(machine, request);
  EXPECT_FALSE(wrong) << wrong->message;
  return plan_placement(machine, request);
}

Plan plan(const std::string& description, const PlanRequest& request) { return plan(machine_of(description), request); }

// "4,5|12,13": the CPUs of each seat.
std::string seats(const Plan& plan) {
  std::string text;
  for (const Place& place : plan.seats) text += (&place == plan.seats.data() ? "" : "|") + format_cpus(place.cpus);
  return text;
}

std::map<int, int> workers_by_node(const Plan& plan) {
  std::map<int, int> count;
  for (const Place& place : plan.seats) ++count[place.node];
  return count;
}

bool notes(const Plan& plan, std::string_view what) {
  return std::any_of(plan.notes.begin(), plan.notes.end(), [&](const std::string& note) { return note.find(what) != note.npos; });
}

std::string all_notes(const Plan& plan) {
  std::string text;
  for (const std::string& note : plan.notes) text += "- " + note + "\n";
  return text;
}

// --- one node ---------------------------------------------------------------------------------------------------------------

TEST(Plan, on_one_core_is_honest) {
  const Plan one = plan("core:1 pu:1", {});
  EXPECT_EQ(one.workers, 1u);
  EXPECT_EQ(one.dispatcher, Kind::caller);
  EXPECT_EQ(one.dispatcher_cpu, -1);
  EXPECT_EQ(one.pinning, Pinning::none);
  EXPECT_EQ(one.spinners_max, 1u);
  EXPECT_EQ(seats(one), "") << "wherever the kernel likes";
  EXPECT_TRUE(notes(one, "take turns")) << all_notes(one);
}

TEST(Plan, of_a_pinned_dispatcher_on_one_core_says_what_that_costs) {
  const Plan one = plan("core:1 pu:1", {.workers = 2, .dispatcher = Kind::pinned, .pinning = Pinning::core});
  EXPECT_EQ(one.dispatcher_cpu, 0);
  EXPECT_EQ(seats(one), "0|0");
  EXPECT_TRUE(notes(one, "the pinned dispatcher shares its core with 2 workers")) << all_notes(one);
}

TEST(Plan, two_threads_of_one_core_are_one_core) {
  const Plan one = plan("core:1 pu:2", {});
  EXPECT_EQ(one.cores, 1u);
  EXPECT_EQ(one.workers, 1u);
  EXPECT_EQ(one.spinners_max, 1u);
}

TEST(Plan, on_two_cores_leaves_the_workers_to_the_kernel_and_says_what_is_left) {
  const Plan both = plan("core:2 pu:1", {});
  EXPECT_EQ(both.workers, 2u);
  EXPECT_EQ(both.dispatcher, Kind::caller);
  EXPECT_EQ(seats(both), "|");
  EXPECT_TRUE(notes(both, "no core is left for the threads that call")) << all_notes(both);

  const Plan one = plan("core:2 pu:1", {.workers = 1});
  EXPECT_EQ(one.dispatcher, Kind::caller);
  EXPECT_TRUE(notes(one, "one core is left for the threads that call")) << all_notes(one);
}

TEST(Plan, on_two_cores_keeps_what_is_pinned_apart) {
  const Plan two = plan("core:2 pu:1", {.workers = 1, .dispatcher = Kind::pinned, .pinning = Pinning::core});
  EXPECT_EQ(two.dispatcher_cpu, 1);
  EXPECT_EQ(seats(two), "0");
  EXPECT_EQ(two.spinners_max, 2u);
}

TEST(Plan, pins_where_a_core_is_left_for_who_calls) {
  const Plan four = plan("core:4 pu:1", {.workers = 2});
  EXPECT_EQ(four.dispatcher, Kind::pinned);
  EXPECT_EQ(four.pinning, Pinning::core);
  EXPECT_EQ(four.dispatcher_cpu, 3);
  EXPECT_EQ(seats(four), "2|1") << "nearest first; CPU 0 is left";
  EXPECT_EQ(plan("core:4 pu:1", {.workers = 3}).pinning, Pinning::none);
  EXPECT_EQ(plan("core:4 pu:1", {.workers = 3, .dispatcher = Kind::pinned}).pinning, Pinning::none) << "none is left";
  EXPECT_EQ(plan("core:8 pu:1", {.workers = 2, .dispatcher = Kind::caller}).pinning, Pinning::none);
}

TEST(Plan, does_not_keep_workers_of_several_threads_on_a_core) {
  EXPECT_EQ(plan("core:8 pu:1", {.workers = 2, .one_thread_each = false}).pinning, Pinning::none);
  const Plan told = plan("core:8 pu:1", {.workers = 2, .pinning = Pinning::core, .one_thread_each = false});
  EXPECT_EQ(told.pinning, Pinning::core);
  EXPECT_TRUE(notes(told, "several threads")) << all_notes(told);
}

TEST(Plan, puts_the_dispatcher_where_most_share_a_cache_with_it) {
  const Machine machine = machine_of("l3:3 core:4 pu:1", "0-3,4-5,8");  // of three caches 4, 2 and 1 cores are ours
  const Plan near = plan(machine, {.workers = 4});
  EXPECT_EQ(near.dispatcher_cpu, 3);
  EXPECT_EQ(seats(near), "2|1|0|4");
  EXPECT_TRUE(notes(near, "1 worker on the dispatcher's node without a cache in common")) << all_notes(near);
}

TEST(Plan, without_a_shared_cache_takes_the_nearest_numbers) {
  EXPECT_EQ(seats(plan("core:8 pu:1", {.workers = 3})), "6|5|4");
  EXPECT_EQ(seats(plan("core:8 l2:1 pu:1", {.workers = 3})), "6|5|4") << "each core has a cache for itself";
}

TEST(Plan, of_more_workers_than_cores_takes_first_threads_first) {
  const Plan many = plan("core:2 pu:2", {.workers = 5, .pinning = Pinning::core});
  EXPECT_EQ(seats(many), "2|0|3|1|2");
  EXPECT_TRUE(notes(many, "second threads of cores are used")) << all_notes(many);
  EXPECT_TRUE(notes(many, "5 workers on 2 cores")) << all_notes(many);
}

TEST(Plan, of_200_workers_on_2_cores_lets_them_take_turns) {
  const Plan many = plan("core:2 pu:1", {.workers = 200});
  EXPECT_EQ(many.seats.size(), 200u);
  EXPECT_EQ(many.dispatcher, Kind::caller);
  EXPECT_EQ(many.spinners_max, 2u);
  EXPECT_TRUE(notes(many, "200 workers on 2 cores")) << all_notes(many);
}

TEST(Plan, a_worker_has_all_threads_of_its_core_and_nobody_beside_it) {
  const Plan smt = plan("core:4 pu:2", {.workers = 2});
  EXPECT_EQ(smt.dispatcher_cpu, 6);
  EXPECT_EQ(seats(smt), "4,5|2,3");
  EXPECT_TRUE(notes(smt, "no other worker is on them")) << all_notes(smt);
}

TEST(Plan, second_threads_do_not_count_where_the_kernel_chooses) {
  const Plan smt = plan("core:4 pu:2", {});
  EXPECT_EQ(smt.workers, 4u);
  EXPECT_EQ(smt.spinners_max, 4u);
  EXPECT_TRUE(notes(smt, "of which one counts")) << all_notes(smt);
}

TEST(Plan, overflow_workers_share_what_is_left) {
  const Plan six = plan("core:6 pu:2", {.workers = 2});
  EXPECT_EQ(six.dispatcher_cpu, 10);
  EXPECT_EQ(seats(six), "8,9|6,7");
  EXPECT_EQ(place_of(six, 1).cpus, (std::vector<int>{6, 7}));
  for (const unsigned seat : {2u, 3u, 100u}) EXPECT_EQ(place_of(six, seat).cpus, (std::vector<int>{0, 2, 4}));
  const Plan full = plan("core:3 pu:1", {.workers = 2, .dispatcher = Kind::pinned, .pinning = Pinning::core});
  EXPECT_EQ(place_of(full, 2).cpus, (std::vector<int>{0, 1})) << "nothing is left: with the others, not with the dispatcher";
  EXPECT_EQ(place_of(plan("core:2 pu:1", {}), 7).cpus, std::vector<int>{});
}

// --- several nodes ----------------------------------------------------------------------------------------------------------

TEST(Plan, has_a_group_of_workers_for_each_node) {
  const Plan two = plan(kTwoNodes, {.workers = 6});
  EXPECT_EQ(two.dispatcher_cpu, 30) << "the first thread of the last core";
  EXPECT_EQ(two.pinning, Pinning::core);
  EXPECT_EQ(workers_by_node(two), (std::map<int, int>{{0, 3}, {1, 3}}));
  EXPECT_EQ(seats(two), "28,29|14,15|26,27|12,13|24,25|10,11") << "the dispatcher's node first";
  EXPECT_EQ(two.nodes, (std::vector<int>{0, 1}));
  EXPECT_EQ(place_of(two, 0).node, 1);
  EXPECT_TRUE(notes(two, "3 workers on another node than the dispatcher")) << all_notes(two);
  EXPECT_TRUE(notes(two, "nodes = [1]")) << all_notes(two);
}

TEST(Plan, a_single_worker_is_beside_its_dispatcher) {
  const Plan two = plan(kTwoNodes, {.workers = 1});
  EXPECT_EQ(two.dispatcher_cpu, 30);
  EXPECT_EQ(seats(two), "28,29");
}

TEST(Plan, without_a_pinned_dispatcher_gives_each_worker_a_node) {
  const Plan two = plan(kTwoNodes, {});
  EXPECT_EQ(two.workers, 16u);
  EXPECT_EQ(two.dispatcher, Kind::caller);
  EXPECT_EQ(two.pinning, Pinning::node);
  EXPECT_EQ(workers_by_node(two), (std::map<int, int>{{0, 8}, {1, 8}}));
  EXPECT_EQ(format_cpus(place_of(two, 0).cpus), "0,2,4,6,8,10,12,14");
  EXPECT_EQ(place_of(two, 0).node, 0);
  EXPECT_EQ(place_of(two, 1).node, 1);
  EXPECT_EQ(place_of(two, 16).node, 0) << "overflow workers take turns";
  EXPECT_EQ(place_of(two, 17).node, 1);
  EXPECT_TRUE(notes(two, "second threads of cores are left empty")) << all_notes(two);
}

TEST(Plan, of_more_workers_than_a_nodes_cores_uses_its_second_threads) {
  const Plan two = plan(kTwoNodes, {.workers = 20});
  EXPECT_EQ(format_cpus(place_of(two, 0).cpus), "0-15");
  EXPECT_TRUE(notes(two, "second threads of cores are used")) << all_notes(two);
}

TEST(Plan, fills_the_dispatchers_node_only_as_long_as_a_core_is_free_there) {
  const Plan two = plan("numa:2 core:8 pu:1", {.workers = 15, .dispatcher = Kind::pinned, .pinning = Pinning::core});
  EXPECT_EQ(workers_by_node(two), (std::map<int, int>{{0, 8}, {1, 7}}));
  std::set<std::vector<int>> places;
  for (const Place& place : two.seats) places.insert(place.cpus);
  EXPECT_EQ(places.size(), 15u);
  EXPECT_EQ(places.count({two.dispatcher_cpu}), 0u);
}

TEST(Plan, spreads_over_four_nodes) {
  const Plan four = plan(kFourNodes, {.workers = 8, .dispatcher = Kind::pinned});
  EXPECT_EQ(workers_by_node(four), (std::map<int, int>{{0, 2}, {1, 2}, {2, 2}, {3, 2}}));
  EXPECT_EQ(four.dispatcher_cpu, 15);
}

TEST(Plan, gives_unequal_nodes_unequal_shares) {
  const Machine machine = machine_of("numa:2 core:8 pu:1", "0-7,8-9");
  EXPECT_EQ(workers_by_node(plan(machine, {.workers = 5, .dispatcher = Kind::caller})), (std::map<int, int>{{0, 4}, {1, 1}}));
  EXPECT_EQ(workers_by_node(plan(machine, {})), (std::map<int, int>{{0, 8}, {1, 2}}));
}

TEST(Plan, keeps_to_the_nodes_it_was_given) {
  const Plan one = plan(kTwoNodes, {.workers = 2, .nodes = {0}});
  EXPECT_EQ(one.dispatcher_cpu, 14);
  EXPECT_EQ(seats(one), "12,13|10,11");
  EXPECT_EQ(one.nodes, std::vector<int>{0});
  EXPECT_EQ(one.cores, 8u);
  EXPECT_EQ(one.asked_by, "nodes");
  const Plan roaming = plan(kTwoNodes, {.nodes = {1}});
  EXPECT_EQ(roaming.workers, 8u);
  EXPECT_EQ(roaming.pinning, Pinning::none);
  EXPECT_EQ(format_cpus(place_of(roaming, 0).cpus), "16,18,20,22,24,26,28,30") << "without pinning, but within the node";
  EXPECT_EQ(place_of(roaming, 0).node, 1) << "its memory is there, too";
}

TEST(Plan, where_one_node_is_all_prefers_none) {
  EXPECT_EQ(place_of(plan("core:8 pu:1", {.workers = 2}), 0).node, -1);
  EXPECT_EQ(place_of(plan(kTwoNodes, {.pinning = Pinning::none}), 0), Place{}) << "nor where nothing is pinned";
}

TEST(Plan, places_nobody_on_a_node_without_cpus) {
  Machine machine = machine_of("core:4 pu:1");
  machine.nodes.push_back({.number = 2, .bytes = std::uint64_t{1} << 38});  // CXL memory
  const Plan near = plan(machine, {.workers = 2});
  EXPECT_EQ(near.nodes, std::vector<int>{0});
  EXPECT_EQ(near.pinning, Pinning::core);
  EXPECT_TRUE(notes(near, "node 2 has memory and no CPU")) << all_notes(near);
}

// --- what was asked for -----------------------------------------------------------------------------------------------------

TEST(Plan, keeps_to_the_cpus_it_was_given) {
  const Plan cut = plan("core:8 pu:1", {.workers = 2, .cpus = {1, 3, 5, 7}});
  EXPECT_EQ(cut.dispatcher_cpu, 7);
  EXPECT_EQ(seats(cut), "5|3");
  EXPECT_EQ(cut.asked_by, "cpus");
  const Plan roaming = plan("core:8 pu:1", {.cpus = {4, 5}});
  EXPECT_EQ(roaming.workers, 2u);
  EXPECT_EQ(seats(roaming), "4,5|4,5");
  EXPECT_EQ(place_of(roaming, 9).cpus, (std::vector<int>{4, 5}));
}

TEST(Plan, a_cgroup_cut_is_all_there_is) {
  const Plan cut = plan(machine_of(kTwoNodes, "0-5,8"), {});
  EXPECT_EQ(cut.cores, 4u) << "three of two threads, one of one";
  EXPECT_EQ(cut.workers, 4u);
  EXPECT_EQ(cut.nodes, std::vector<int>{0});
  EXPECT_EQ(cut.pinning, Pinning::none) << "one node is left";
}

TEST(Plan, never_polls_more_than_the_quota_grants) {
  Machine machine = machine_of("core:64 pu:1");
  machine.quota = 2.5;
  const Plan limited = plan(machine, {});
  EXPECT_EQ(limited.workers, 2u);
  EXPECT_EQ(limited.spinners_max, 2u);
  EXPECT_EQ(limited.dispatcher, Kind::caller);
  EXPECT_TRUE(notes(limited, "CPU quota is 2.5 of 64 cores")) << all_notes(limited);
  machine.quota = 0.5;
  EXPECT_EQ(plan(machine, {}).workers, 1u);
  EXPECT_TRUE(notes(plan(machine, {}), "waits sleep")) << all_notes(plan(machine, {}));
  machine.quota = 200;
  EXPECT_EQ(plan(machine, {}).workers, 64u);
}

TEST(Plan, lets_nobody_poll_beside_whom_it_would_slow) {
  const Plan one = plan("core:1 pu:1", {}), two = plan("core:2 pu:2", {.workers = 4, .pinning = Pinning::core});
  EXPECT_FALSE(may_poll(one, 0)) << "it would keep its caller from running";
  EXPECT_TRUE(may_poll(two, 0));
  EXPECT_TRUE(may_poll(two, 1));
  EXPECT_FALSE(may_poll(two, 2)) << "on a second thread";
  EXPECT_FALSE(may_poll(two, 3));
  Machine limited = machine_of("core:8 pu:1");
  limited.quota = 1;
  EXPECT_FALSE(may_poll(plan(limited, {}), 0));
}

TEST(Plan, explicit_cpus_win) {
  const Plan told = plan(kTwoNodes, {.workers = 3, .dispatcher = Kind::pinned, .pinning = Pinning::node, .nodes = {0}, .worker_cpus = {16, 2}});
  EXPECT_EQ(seats(told), "16|2|16");
  EXPECT_EQ(place_of(told, 0).node, 1);
  EXPECT_EQ(place_of(told, 3).cpus, std::vector<int>{2}) << "further workers go on where the others ended";
  EXPECT_EQ(told.asked_by, "worker_cpus");
  EXPECT_EQ(told.dispatcher_cpu, 14) << "in node 0, on no worker's core";
  EXPECT_EQ(plan("core:4 pu:1", {.workers = 1, .dispatcher_cpu = 0}).dispatcher_cpu, 0);
  EXPECT_EQ(seats(plan("core:4 pu:1", {.workers = 1, .dispatcher_cpu = 0})), "1") << "nearest to it";
  EXPECT_EQ(plan("core:4 pu:1", {.workers = 1, .dispatcher = Kind::caller, .dispatcher_cpu = 0}).dispatcher_cpu, -1);
  EXPECT_EQ(plan("core:4 pu:1", {.workers = 1, .pinning = Pinning::core}).asked_by, "pinning");
  EXPECT_EQ(plan("core:4 pu:1", {.workers = 1}).asked_by, "") << "nobody asked";
}

TEST(Misfit, names_what_there_is) {
  const Machine machine = machine_of("numa:2 core:4 pu:1", "1-3,5");
  const auto message = [&](const PlanRequest& request) {
    const auto wrong = misfit(machine, request);
    return wrong ? std::string(wrong->option) + "> " + wrong->message : "(fits)";
  };
  EXPECT_EQ(message({.cpus = {1, 4}}), "cpus> cpus names CPU 4; this process may use 1-3,5");
  EXPECT_EQ(message({.worker_cpus = {-1}}), "worker_cpus> worker_cpus names CPU -1; this process may use 1-3,5");
  EXPECT_EQ(message({.dispatcher_cpu = 0}), "dispatcher_cpu> dispatcher_cpu = 0; this process may use 1-3,5");
  EXPECT_EQ(message({.nodes = {3}}), "nodes> nodes names node 3, which this process does not see; it may use CPUs of nodes 0,1");
  EXPECT_EQ(message({.cpus = {1}, .nodes = {1}}), "cpus> cpus = 1 and nodes = 1 have no CPU in common");
  EXPECT_EQ(message({.cpus = {1, 5}, .nodes = {0, 1}, .worker_cpus = {5}, .dispatcher_cpu = 3}), "(fits)");
  Machine cut = machine_of("numa:2 core:4 pu:1", "0");
  EXPECT_NE(misfit(cut, {.nodes = {1}})->message.find("node 1, which has no CPU that this process may use"), std::string::npos);
}

// --- the rules, on any machine ----------------------------------------------------------------------------------------------

class AnyMachine : public testing::TestWithParam<unsigned> {
 protected:
  unsigned up_to(unsigned max) { return std::uniform_int_distribution<unsigned>(0, max)(random_); }

  Machine any_machine() {
    Machine machine;
    int number = 0, core = 0, cache = 0;
    const unsigned nodes = 1 + up_to(3), threads = 1 + up_to(3) / 2;
    const bool caches = up_to(3) > 0;
    for (unsigned node = 0; node < nodes; ++node) {
      machine.nodes.push_back({.number = static_cast<int>(node) * 2});
      const unsigned cores = up_to(3) == 0 && node > 0 ? 0 : 1 + up_to(11), per_cache = 1 + up_to(5);
      for (unsigned i = 0; i < cores; ++i, ++core) {
        if (i % per_cache == 0) ++cache;
        for (unsigned thread = 0; thread < threads; ++thread) {
          machine.cpus.push_back({.number = number++, .core = core, .thread = static_cast<int>(thread), .cache = caches ? cache : -1,
                                  .node = static_cast<int>(node) * 2, .package = static_cast<int>(node / 2)});
        }
      }
    }
    if (up_to(2) == 0) {  // a cpuset takes some away
      std::vector<Cpu> left;
      std::copy_if(machine.cpus.begin(), machine.cpus.end(), std::back_inserter(left), [&](const Cpu&) { return up_to(3) > 0; });
      if (!left.empty()) machine.cpus = left;
    }
    if (up_to(5) == 0) machine.quota = 0.5 + up_to(20) / 2.0;
    return machine;
  }

  PlanRequest any_request(const Machine& machine) {
    PlanRequest request{.workers = up_to(1) == 0 ? 0 : 1 + up_to(40),
                        .dispatcher = static_cast<Kind>(up_to(3)),
                        .pinning = static_cast<Pinning>(up_to(3)),
                        .one_thread_each = up_to(3) > 0};
    if (up_to(3) == 0) {
      for (const Cpu& cpu : machine.cpus) {
        if (up_to(1) == 0) request.cpus.push_back(cpu.number);
      }
    }
    if (up_to(5) == 0) request.nodes = {machine.cpus[up_to(static_cast<unsigned>(machine.cpus.size()) - 1)].node};
    if (up_to(9) == 0) request.dispatcher_cpu = machine.cpus[up_to(static_cast<unsigned>(machine.cpus.size()) - 1)].number;
    if (misfit(machine, request)) request.cpus.clear();
    return request;
  }

  std::mt19937 random_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Seeds, AnyMachine, testing::Range(0u, 20u));

TEST_P(AnyMachine, keeps_the_rules) {
  for (int round = 0; round < 100 && !HasFailure(); ++round) {
    const Machine machine = any_machine();
    const PlanRequest request = any_request(machine);
    const Plan made = plan(machine, request);
    const Cores cores = cores_of(machine.cpus);
    std::vector<int> pool;
    for (const Cpu& cpu : machine.cpus) {
      const auto in = [](const std::vector<int>& list, int one) { return list.empty() || std::count(list.begin(), list.end(), one) > 0; };
      if (in(request.cpus, cpu.number) && in(request.nodes, cpu.node)) pool.push_back(cpu.number);
    }
    const auto cpu_of = [&](int number) {
      return *std::find_if(machine.cpus.begin(), machine.cpus.end(), [&](const Cpu& cpu) { return cpu.number == number; });
    };
    SCOPED_TRACE("round " + std::to_string(round) + ": " + std::to_string(made.workers) + " workers on " + format_cpus(pool) + ", dispatcher " +
                 std::to_string(made.dispatcher_cpu) + ", pinning " + std::string(to_string(made.pinning)) + ": " + seats(made));

    EXPECT_NE(made.dispatcher, Kind::automatic);
    EXPECT_NE(made.pinning, Pinning::automatic);
    EXPECT_EQ(made.seats.size(), made.workers);
    EXPECT_GE(made.workers, 1u);
    EXPECT_FALSE(made.further.empty());
    EXPECT_GE(made.spinners_max, 1u);
    EXPECT_LE(made.spinners_max, made.cores) << "never more spinners than cores";
    EXPECT_LE(made.spinners_max, machine.quota > 0 ? std::max(1.0, machine.quota) : made.cores);
    EXPECT_EQ(made.dispatcher_cpu >= 0, made.dispatcher == Kind::pinned);
    if (request.dispatcher_cpu >= 0 && made.dispatcher_cpu >= 0) {
      EXPECT_EQ(made.dispatcher_cpu, request.dispatcher_cpu);
    }

    std::map<int, std::set<int>> polled;  // CPUs of each core on which workers poll for good
    for (unsigned seat = 0; seat < made.workers; ++seat) {
      const Place& place = place_of(made, seat);
      EXPECT_TRUE(made.spinners_max > 1 || !may_poll(made, seat));
      if (made.pinning == Pinning::core && may_poll(made, seat)) polled[cpu_of(place.cpus.front()).core].insert(place.cpus.front());
    }
    for (const auto& [core, cpus] : polled) EXPECT_EQ(cpus.size(), 1u) << "two poll on threads of core " << core;

    std::map<int, int> on_core;  // workers that are kept on one core
    std::map<int, std::size_t> on_node;
    bool on_second_threads = false;
    for (unsigned seat = 0; seat < made.workers + 5; ++seat) {
      const Place& place = place_of(made, seat);
      EXPECT_TRUE(std::is_sorted(place.cpus.begin(), place.cpus.end()));
      EXPECT_EQ(place.cpus.empty(), made.pinning == Pinning::none && request.cpus.empty() && request.nodes.empty());
      std::set<int> of_cores;
      for (const int cpu : place.cpus) {
        EXPECT_TRUE(std::count(pool.begin(), pool.end(), cpu)) << "CPU " << cpu << " is not the pool's";
        EXPECT_TRUE(place.node < 0 || cpu_of(cpu).node == place.node) << "a worker's CPUs are where its memory is";
        if (made.dispatcher_cpu >= 0 && made.cores > 1) {
          EXPECT_NE(cpu_of(cpu).core, cpu_of(made.dispatcher_cpu).core) << "the dispatcher's core is its own";
        }
        of_cores.insert(cpu_of(cpu).core);
        if (seat < made.workers && core_with(cores, cpu)->cpus.front() != cpu) on_second_threads = true;
      }
      if (seat >= made.workers) continue;
      ++on_node[place.node];
      if (made.pinning == Pinning::core) {
        EXPECT_EQ(of_cores.size(), 1u);
        ++on_core[*of_cores.begin()];
      }
    }

    std::set<int> own;  // cores that workers may have for themselves
    for (const int cpu : pool) {
      if (made.dispatcher_cpu < 0 || cpu_of(cpu).core != cpu_of(made.dispatcher_cpu).core) own.insert(cpu_of(cpu).core);
    }
    for (const auto& [core, workers] : on_core) {
      EXPECT_TRUE(workers == 1 || made.workers > own.size()) << workers << " on core " << core << " while others are empty";
    }
    if (made.pinning != Pinning::none && on_node.size() > 1 && made.workers <= own.size()) {
      // Balanced: who has more for its cores than another has no core too many.
      std::map<int, std::size_t> free;
      for (const int core : own) {
        const auto cpu = std::find_if(machine.cpus.begin(), machine.cpus.end(), [&](const Cpu& one) { return one.core == core; });
        ++free[cpu->node];
      }
      for (const auto& [node, workers] : on_node) EXPECT_LE(workers, free[node]) << "node " << node;
    }
    if (made.pinning == Pinning::node && made.workers <= own.size() && made.nodes.size() == 1 && pool.size() == machine.cpus.size()) {
      EXPECT_FALSE(on_second_threads) << "second threads are used last";
    }
  }
}

TEST_P(AnyMachine, gives_seats_the_same_places_each_time) {
  const Machine machine = any_machine();
  const PlanRequest request = any_request(machine);
  const Plan first = plan(machine, request), second = plan(machine, request);
  EXPECT_EQ(first.seats, second.seats);
  EXPECT_EQ(first.notes, second.notes);
}

}  // namespace
}  // namespace samovar::core
