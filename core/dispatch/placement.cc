#include "core/dispatch/placement.h"

#include <algorithm>
#include <cstddef>

namespace samovar::core {
namespace {

// `is_near(load)` is constant where nobody asks for a node, and costs nothing then.
template <typename IsNear>
int choose(std::span<const WorkerLoad> loads, IsNear&& is_near) {
  int best = -1;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    const WorkerLoad& load = loads[i];
    if (!load.available || load.in_flight >= load.credit) continue;
    if (best >= 0) {
      const WorkerLoad& other = loads[static_cast<std::size_t>(best)];
      if (load.in_flight > other.in_flight) continue;
      if (load.in_flight == other.in_flight) {
        const bool near = is_near(load);
        const bool other_near = is_near(other);
        if (near != other_near ? other_near : load.last_used < other.last_used) continue;
      }
    }
    best = static_cast<int>(i);
  }
  return best;
}

}  // namespace

std::uint32_t credit(std::uint32_t prefetch, std::int64_t mean_service_ns) {
  if (prefetch != 0) return prefetch;
  if (mean_service_ns <= 0) return 1;
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(kPrefetchNs / mean_service_ns, 1, kPrefetchMax));
}

int choose_worker(std::span<const WorkerLoad> loads) {
  return choose(loads, [](const WorkerLoad&) { return false; });
}

int choose_worker_near(std::span<const WorkerLoad> loads, int node) {
  return choose(loads, [node](const WorkerLoad& load) { return load.node == node; });
}

}  // namespace samovar::core
