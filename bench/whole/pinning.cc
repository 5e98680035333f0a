#include "bench/whole/pinning.h"

#include <vector>

namespace samovar::bench {

Made<Placement> choose_placement() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < 2; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  if (cpus.size() < 2) {
    return tl::unexpected(std::string("this process may use one CPU only; a host and a worker that spin need two"));
  }
  return Placement{cpus[0], cpus[1]};
}

PinnedHere::PinnedHere(int cpu) {
  CPU_ZERO(&before_);
  sched_getaffinity(0, sizeof before_, &before_);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

PinnedHere::~PinnedHere() { sched_setaffinity(0, sizeof before_, &before_); }

}  // namespace samovar::bench
