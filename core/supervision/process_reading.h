// Reads what /proc says of a process, for Health.
#pragma once

#include <sys/types.h>

#include <optional>

#include "core/supervision/health.h"

namespace samovar::core {

// Nothing where there is no such process, or no /proc.
std::optional<ProcessReading> read_process(pid_t pid);

}  // namespace samovar::core
