// Plan: which CPUs the dispatcher and each worker run on, and why. A pure function of a machine and of what was asked for.
//
// What always holds: (1) A pinned dispatcher has a core that no worker is placed on, where the pool has two cores. (2) Two places are
// on one core only where there are more workers than cores; a core's second thread is used last, and who is kept there does not
// poll. (3) spinners_max is never more than the cores that the pool may use, nor than the CPU quota; where it is 1, no worker polls.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/options.h>

#include "core/topology/machine.h"

namespace samovar::core {

struct PlanRequest {
  unsigned workers = 0;  // 0: one for each core, as far as the quota goes
  samovar::Dispatcher dispatcher = samovar::Dispatcher::automatic;
  Pinning pinning = Pinning::automatic;
  std::vector<int> cpus{};         // that workers and dispatcher may use; empty: all
  std::vector<int> nodes{};        // likewise, all CPUs of these
  std::vector<int> worker_cpus{};  // outranks pinning, cpus and nodes
  int dispatcher_cpu = -1;         // likewise
  bool one_thread_each = true;     // workers compute with one thread; where not, pinning to a core is nothing automatic
};

// What `options` ask for; but for one_thread_each, which the environment may know better.
PlanRequest plan_request(const Options& options);

// Where one worker runs.
struct Place {
  std::vector<int> cpus{};  // in order; none: wherever the kernel likes
  int node = -1;            // where its memory should be; -1: no preference
  bool polls = true;        // while it waits; not on the second thread of a core whose first is somebody's
  friend bool operator==(const Place&, const Place&) = default;
};

struct Plan {
  std::vector<Place> seats{};    // of the base workers
  std::vector<Place> further{};  // of workers beyond them, by turns; never empty

  unsigned workers = 0;                                         // resolved: never automatic, never 0
  samovar::Dispatcher dispatcher = samovar::Dispatcher::caller;
  Pinning pinning = Pinning::none;

  int dispatcher_cpu = -1;       // of a pinned one; else -1
  std::vector<int> nodes{};      // those of the CPUs the pool may use, in order; empty: unknown
  unsigned cores = 1;            // that the pool may use; the threads of one count once
  unsigned spinners_max = 1;     // while so many workers are busy, nobody polls for their replies
  std::string asked_by{};        // the option by which somebody asked for these places; empty: nobody did
  std::vector<std::string> notes{};  // what is worth knowing about it, each a sentence without its full stop
};

// Requires: misfit() finds nothing; `machine` has a CPU.
Plan plan_placement(const Machine& machine, const PlanRequest& request);

// The place of the worker in this seat; beyond the base ones, too.
const Place& place_of(const Plan& plan, unsigned seat);

// Whether the worker in this seat polls while it waits for calls. Where only one can run, it would keep its caller from that.
bool may_poll(const Plan& plan, unsigned seat);

// An option that this machine cannot grant, and the rest of a message that names it.
struct Misfit {
  std::string_view option;
  std::string message;
};

std::optional<Misfit> misfit(const Machine& machine, const PlanRequest& request);

}  // namespace samovar::core
