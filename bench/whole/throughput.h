// Question: how many calls a second does one worker serve when there is always a next one?
// submit() and poll() with a chosen prefetch, beside the bare ring with the same handler, in turn.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/whole/contestant.h"

namespace samovar {
class Pool;
}

namespace samovar::bench {

// Something that serves calls as fast as they come.
class Flow {
 public:
  virtual ~Flow() = default;
  virtual Outcome serve(std::size_t calls) = 0;  // Blocks. Fails: an answer was wrong or none came.
  virtual void park() {}
};

// Calls per second, a round each.
struct FlowEntry {
  Flow* flow = nullptr;
  std::vector<double> per_second;
  std::string error;

  double best() const;  // of the rounds: the machine when nobody else used it
};

void interleave_flows(std::span<FlowEntry> entries, std::size_t calls_per_round, const Rounds& rounds);

double median_ratio(const FlowEntry& a, const FlowEntry& b);  // of pairs of rounds

// `window` calls submitted and not yet answered. `worker`: the process of the pool's only worker.
std::unique_ptr<Flow> make_pool_flow(Pool& pool, pid_t worker, std::size_t payload_bytes, std::size_t window);

}  // namespace samovar::bench
