// Affinity: which CPUs a process may run on.
#pragma once

#include <sys/types.h>

#include <vector>

#include "ipc/result.h"

namespace samovar::core {

// Of the process's main thread, and of those that it starts from now on. Requires: `cpus` is not empty.
ipc::SystemResult<void> set_affinity(pid_t pid, const std::vector<int>& cpus);

}  // namespace samovar::core
