// Reads what /proc says of a process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "core/supervision/health.h"

namespace samovar::core {

// Nothing where there is no such process, or no /proc.
std::optional<ProcessReading> read_process(pid_t pid);

// Bytes of memory that the process has, by how they are counted: see ProcessStats. Zeros where they cannot be read.
struct MemoryReading {
  std::uint64_t resident = 0, proportional = 0, unshared = 0;
};
MemoryReading read_memory(pid_t pid);

// Of a zombie, which somebody else's child may be: its status as of wait(2). 0, too, where this process may not know it.
std::optional<int> read_wait_status(pid_t pid);

}  // namespace samovar::core
