#include "tools/cli/topology_drawing.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "core/topology/cores.h"
#include "core/topology/cpu_list.h"
#include "tools/cli/text.h"

namespace samovar::cli {
namespace {

using core::Core;
using core::Cores;

constexpr std::size_t kCoresInRow = 8;
constexpr std::size_t kSeatsTold = 16;

std::string plural(std::size_t count, const std::string& what) { return std::to_string(count) + " " + what + (count == 1 ? "" : "s"); }

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

// Who is on each CPU: "D", "w0", "w0 w4" where they are kept on that core, "*" where workers move about.
std::map<int, std::string> marks(const core::Machine& machine, const core::Plan& plan) {
  const Cores cores = core::cores_of(machine.cpus);
  std::map<int, std::string> marks;
  const auto mark = [&](int cpu, const std::string& who) {
    std::string& text = marks[cpu];
    text += (text.empty() ? "" : " ") + who;
  };
  if (plan.dispatcher_cpu >= 0) mark(plan.dispatcher_cpu, "D");
  for (std::size_t seat = 0; seat < plan.seats.size(); ++seat) {
    const std::vector<int>& cpus = plan.seats[seat].cpus;
    const Core* core = cpus.empty() ? nullptr : core_with(cores, cpus.front());
    const bool on_one_core = core && std::all_of(cpus.begin(), cpus.end(), [&](int cpu) {
      return std::find(core->cpus.begin(), core->cpus.end(), cpu) != core->cpus.end();
    });
    if (!on_one_core) continue;
    for (const int cpu : cpus) mark(cpu, "w" + std::to_string(seat));
  }
  for (const core::Place& place : plan.seats) {
    for (const int cpu : place.cpus) marks.emplace(cpu, "*");
  }
  for (const Core& core : cores) {  // a thread beside somebody's is not free
    const bool taken = std::any_of(core.cpus.begin(), core.cpus.end(), [&](int cpu) { return marks.count(cpu) != 0; });
    for (const int cpu : core.cpus) marks.emplace(cpu, taken ? "-" : ".");
  }
  return marks;
}

void draw_row(const Cores& cores, std::size_t first, const std::map<int, std::string>& marks, std::string& text) {
  const std::size_t end = std::min(first + kCoresInRow, cores.size());
  std::size_t threads = 0, number_width = 1, mark_width = 1;
  for (std::size_t i = first; i < end; ++i) {
    threads = std::max(threads, cores[i].cpus.size());
    for (const int cpu : cores[i].cpus) {
      number_width = std::max(number_width, std::to_string(cpu).size());
      mark_width = std::max(mark_width, marks.at(cpu).size());
    }
  }
  const std::size_t width = std::max(number_width + 1 + mark_width, std::string("core ").size() + std::to_string(cores[end - 1].number).size()) + 3;
  for (std::size_t thread = 0; thread <= threads; ++thread) {
    std::string line = "      ";
    for (std::size_t i = first; i < end; ++i) {
      std::string cell;
      if (thread == 0) {
        cell = "core " + std::to_string(cores[i].number);
      } else if (thread <= cores[i].cpus.size()) {
        const int cpu = cores[i].cpus[thread - 1];
        const std::string number = std::to_string(cpu);
        cell = std::string(number_width - number.size(), ' ') + number + " " + marks.at(cpu);
      }
      line += padded(cell, width);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
}

std::string seats_text(const std::vector<std::size_t>& seats) {
  std::string text;
  for (std::size_t i = 0; i < seats.size() && i < kSeatsTold; ++i) text += (text.empty() ? "w" : " w") + std::to_string(seats[i]);
  return seats.size() > kSeatsTold ? text + " ... (" + std::to_string(seats.size()) + ")" : text;
}

std::string place_text(const core::Place& place) {
  if (place.cpus.empty()) return "wherever the kernel likes";
  return (place.cpus.size() == 1 ? "CPU " : "CPUs ") + core::format_cpus(place.cpus) +
         (place.node >= 0 ? ", memory of node " + std::to_string(place.node) : "");
}

nlohmann::ordered_json json_of(const core::Place& place) { return {{"cpus", place.cpus}, {"node", place.node}}; }

}  // namespace

std::string draw_machine(const core::Machine& machine, const core::Plan& plan) {
  std::string text = "machine: " + plural(machine.cpus.size(), "CPU") + " on " + plural(count_cores(machine), "core") + ", " +
                     plural(count_nodes(machine), "NUMA node") + " in " + plural(count_packages(machine), "package") +
                     (machine.cpu_model.empty() ? "" : ", " + machine.cpu_model) + "\n";
  const std::map<int, std::string> who = marks(machine, plan);
  std::map<std::pair<int, int>, std::map<int, std::vector<core::Cpu>>> parts;  // package and node, cache
  for (const core::Cpu& cpu : machine.cpus) parts[{cpu.package, cpu.node}][cpu.cache].push_back(cpu);
  int package = -1;
  for (const auto& [where, caches] : parts) {
    if (where.first != package) text += "package " + std::to_string(package = where.first) + "\n";
    const auto node = std::find_if(machine.nodes.begin(), machine.nodes.end(), [&](const core::Node& one) { return one.number == where.second; });
    text += "  node " + (where.second >= 0 ? std::to_string(where.second) : "unknown") +
            (node != machine.nodes.end() && node->bytes > 0 ? ", " + human_bytes(static_cast<double>(node->bytes)) : "") + "\n";
    for (const auto& [cache, cpus] : caches) {
      const Cores cores = core::cores_of(cpus);
      if (cache >= 0) text += cores.size() == 1 ? "    a cache for one core\n" : "    a cache that " + plural(cores.size(), "core") + " share\n";
      for (std::size_t first = 0; first < cores.size(); first += kCoresInRow) draw_row(cores, first, who, text);
    }
  }
  std::set<int> with_cpus;
  for (const core::Cpu& cpu : machine.cpus) with_cpus.insert(cpu.node);
  for (const core::Node& node : machine.nodes) {
    if (with_cpus.count(node.number) == 0) {
      text += "node " + std::to_string(node.number) + (node.bytes > 0 ? ", " + human_bytes(static_cast<double>(node.bytes)) : "") + ", without CPUs\n";
    }
  }
  return text;
}

std::string tell_plan(const core::Plan& plan) {
  std::string text = "plan\n  dispatcher  " + std::string(to_string(plan.dispatcher)) +
                     (plan.dispatcher_cpu >= 0 ? ", CPU " + std::to_string(plan.dispatcher_cpu) : "") + "\n  workers     " +
                     std::to_string(plan.workers) + ", pinning " + std::string(to_string(plan.pinning)) + "\n";
  std::vector<std::pair<core::Place, std::vector<std::size_t>>> places;  // who is where, in the order of seats
  for (std::size_t seat = 0; seat < plan.seats.size(); ++seat) {
    const auto same = std::find_if(places.begin(), places.end(), [&](const auto& place) { return place.first == plan.seats[seat]; });
    if (same == places.end()) {
      places.push_back({plan.seats[seat], {seat}});
    } else {
      same->second.push_back(seat);
    }
  }
  for (const auto& [place, seats] : places) text += "    " + seats_text(seats) + ": " + place_text(place) + "\n";
  text += "  polling     " + (plan.spinners_max > 1 ? "those who call poll while fewer than " + std::to_string(plan.spinners_max) + " workers are busy"
                                                    : std::string("by nobody for long: waits sleep")) + "\n";
  if (!plan.notes.empty()) text += "\nnotes\n";
  for (const std::string& note : plan.notes) text += "  - " + note + "\n";
  return text;
}

std::string json_of(const core::Machine& machine, const core::Plan& plan) {
  using nlohmann::ordered_json;
  ordered_json cpus = ordered_json::array(), nodes = ordered_json::array(), seats = ordered_json::array(), further = ordered_json::array();
  for (const core::Cpu& cpu : machine.cpus) {
    cpus.push_back({{"cpu", cpu.number}, {"core", cpu.core}, {"thread", cpu.thread}, {"cache", cpu.cache}, {"node", cpu.node}, {"package", cpu.package}});
  }
  for (const core::Node& node : machine.nodes) nodes.push_back({{"node", node.number}, {"bytes", node.bytes}});
  for (const core::Place& place : plan.seats) seats.push_back(json_of(place));
  for (const core::Place& place : plan.further) further.push_back(json_of(place));
  const ordered_json document{
      {"machine", {{"cpu_model", machine.cpu_model}, {"cores", count_cores(machine)}, {"quota", machine.quota}, {"nodes", nodes}, {"cpus", cpus}}},
      {"plan",
       {{"dispatcher", to_string(plan.dispatcher)},
        {"dispatcher_cpu", plan.dispatcher_cpu},
        {"workers", plan.workers},
        {"pinning", to_string(plan.pinning)},
        {"seats", seats},
        {"further", further},
        {"nodes", plan.nodes},
        {"cores", plan.cores},
        {"spinners_max", plan.spinners_max}}},
      {"notes", plan.notes}};
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace samovar::cli
