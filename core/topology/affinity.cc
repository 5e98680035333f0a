#include "core/topology/affinity.h"

#include <sched.h>

#include <algorithm>
#include <climits>

namespace samovar::core {

ipc::SystemResult<void> set_affinity(pid_t pid, const std::vector<int>& cpus) {
  // As the kernel has it: cpu_set_t ends at 1024.
  constexpr std::size_t kBits = sizeof(unsigned long) * CHAR_BIT;
  const auto last = static_cast<std::size_t>(*std::max_element(cpus.begin(), cpus.end()));
  std::vector<unsigned long> mask(last / kBits + 1);
  for (const int cpu : cpus) mask[static_cast<std::size_t>(cpu) / kBits] |= 1ul << (static_cast<std::size_t>(cpu) % kBits);
  if (sched_setaffinity(pid, mask.size() * sizeof mask[0], reinterpret_cast<const cpu_set_t*>(mask.data())) == 0) return {};
  return ipc::system_error("sched_setaffinity");
}

}  // namespace samovar::core
