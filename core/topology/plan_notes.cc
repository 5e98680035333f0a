#include "core/topology/plan_notes.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>

#include "core/topology/cores.h"

namespace samovar::core {
namespace {

std::string plural(std::size_t count, const std::string& what) { return std::to_string(count) + " " + what + (count == 1 ? "" : "s"); }

std::string decimal(double number) {
  char digits[32];
  return {digits, std::to_chars(std::begin(digits), std::end(digits), number).ptr};
}

std::set<int> cores_under(const Place& place, const Cores& cores) {
  std::set<int> numbers;
  for (const int cpu : place.cpus) {
    if (const Core* core = core_with(cores, cpu)) numbers.insert(core->number);
  }
  return numbers;
}

class Notes {
 public:
  Notes(const Plan& plan, const Machine& machine, const PlanRequest& request)
      : plan_(plan), machine_(machine), request_(request), cores_(cores_of(machine.cpus)), home_(core_with(cores_, plan.dispatcher_cpu)) {}

  std::vector<std::string> all() {
    on_what_is_left();
    on_the_dispatchers_core();
    on_second_threads();
    on_nodes();
    on_caches();
    on_threads_of_workers();
    return std::move(notes_);
  }

 private:
  void add(std::string note) { notes_.push_back(std::move(note)); }

  void on_what_is_left() {
    if (machine_.quota > 0 && machine_.quota < plan_.cores) {
      add("the cgroup's CPU quota is " + decimal(machine_.quota) + " of " + plural(plan_.cores, "core") + ": " +
          (plan_.spinners_max == 1 ? std::string("waits sleep instead of polling") : "workers and polling are planned for " + std::to_string(plan_.spinners_max)) +
          ", and a burst that uses it up is stopped for the rest of its period");
    }
    const std::size_t dispatchers = home_ ? 1 : 0, needed = plan_.workers + dispatchers;
    if (cores_.size() == 1) {
      add("one core: those who call and " + plural(plan_.workers, "worker") + " take turns on it, and a call costs two switches of the kernel instead of some cache lines");
    } else if (needed > plan_.spinners_max) {
      add(plural(plan_.workers, "worker") + (home_ ? " and a pinned dispatcher" : "") + " on " +
          (plan_.spinners_max < plan_.cores ? "that quota" : plural(plan_.cores, "core")) + ": where all are busy they take turns");
    } else if (needed == cores_.size()) {
      add("no core is left for the threads that call: while all workers are busy, these share a core with one of them");
    } else if (needed + 1 == cores_.size()) {
      add("one core is left for the threads that call, and for whatever else the service does");
    }
  }

  void on_the_dispatchers_core() {
    if (!home_) return;
    const auto sharing = std::count_if(plan_.seats.begin(), plan_.seats.end(),
                                       [&](const Place& place) { return cores_under(place, cores_).count(home_->number) != 0; });
    if (sharing > 0) {
      add("the pinned dispatcher shares its core with " + plural(static_cast<std::size_t>(sharing), "worker") + "; dispatcher = \"caller\" is faster so");
    }
  }

  void on_second_threads() {
    std::set<int> seconds;
    for (const Core& core : cores_) seconds.insert(core.cpus.begin() + 1, core.cpus.end());
    if (seconds.empty()) return;
    const bool anywhere = plan_.seats.front().cpus.empty();
    std::set<int> shared, seen;  // cores on which two workers are placed for good
    for (const Place& place : plan_.seats) {
      const std::set<int> cores = cores_under(place, cores_);
      if (cores.size() == 1 && !seen.insert(*cores.begin()).second) shared.insert(*cores.begin());
    }
    const bool roam_on_seconds = std::any_of(plan_.seats.begin(), plan_.seats.end(), [&](const Place& place) {
      return cores_under(place, cores_).size() > 1 &&
             std::any_of(place.cpus.begin(), place.cpus.end(), [&](int cpu) { return seconds.count(cpu) != 0; });
    });
    if (anywhere) {
      add("cores have several threads, of which one counts; the kernel mostly keeps workers on cores of their own as long as there are idle ones");
    } else if (!shared.empty() || roam_on_seconds) {
      add("there are more workers than cores, so that second threads of cores are used, too: two that are busy on one core slow each other");
    } else if (plan_.pinning == Pinning::core && request_.worker_cpus.empty()) {
      const bool alone = home_ && home_->cpus.size() > 1;
      add(std::string("a worker has all threads of its core, and no other worker is on them") +
          (alone ? "; beside the dispatcher nobody is on its core" : ""));
    } else {
      add("second threads of cores are left empty: two that poll on one core slow each other");
    }
  }

  void on_nodes() {
    std::set<int> with_cpus;
    for (const Cpu& cpu : machine_.cpus) with_cpus.insert(cpu.node);
    for (const Node& node : machine_.nodes) {
      if (with_cpus.count(node.number) == 0) {
        add("node " + std::to_string(node.number) + " has memory and no CPU that this process may use: no worker is placed there");
      }
    }
    if (with_cpus.size() < 2) return;
    if (home_) {
      const auto far = std::count_if(plan_.seats.begin(), plan_.seats.end(), [&](const Place& place) { return place.node >= 0 && place.node != home_->node; });
      if (far > 0) {
        add(plural(static_cast<std::size_t>(far), "worker") + " on another node than the dispatcher: a call there costs several times one within a node; nodes = [" +
            std::to_string(home_->node) + "] keeps the pool on one");
      }
    } else if (plan_.nodes.size() > 1) {
      add("a call from one node to a worker of another costs several times one within a node; nodes = [" + std::to_string(plan_.nodes.front()) + "] keeps the pool on one");
    }
  }

  void on_caches() {
    if (!home_ || home_->cache < 0) return;
    const auto far = std::count_if(plan_.seats.begin(), plan_.seats.end(), [&](const Place& place) {
      const Core* core = place.cpus.empty() ? nullptr : core_with(cores_, place.cpus.front());
      return plan_.pinning == Pinning::core && core && core->node == home_->node && core->cache != home_->cache;
    });
    if (far > 0) {
      add(plural(static_cast<std::size_t>(far), "worker") + " on the dispatcher's node without a cache in common with it: a call there costs more");
    }
  }

  void on_threads_of_workers() {
    if (plan_.pinning != Pinning::core || request_.one_thread_each) return;
    add("workers may compute with several threads, and each is kept on one core: pinning = \"node\" leaves them more");
  }

  const Plan& plan_;
  const Machine& machine_;
  const PlanRequest& request_;
  const Cores cores_;
  const Core* const home_;  // the pinned dispatcher's; else null
  std::vector<std::string> notes_;
};

}  // namespace

std::vector<std::string> notes_on(const Plan& plan, const Machine& machine, const PlanRequest& request) {
  return Notes(plan, machine, request).all();
}

}  // namespace samovar::core
