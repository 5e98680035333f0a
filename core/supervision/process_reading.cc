#include "core/supervision/process_reading.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

namespace samovar::core {
namespace {

std::string read_line(pid_t pid, const char* name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::optional<ProcessReading> read_process(pid_t pid) {
  // "4711 (any text, with brackets even) S 1 ...": utime and stime are the fields 14 and 15.
  const std::string stat = read_line(pid, "stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return std::nullopt;
  ProcessReading reading{.state = stat[name_end + 2]};

  if (std::istringstream schedstat(read_line(pid, "schedstat")); schedstat >> reading.cpu_ns >> reading.ready_ns) return reading;
  // A kernel without CONFIG_SCHED_INFO: whole ticks, of all threads.
  std::istringstream fields(stat.substr(name_end + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  std::int64_t user_ticks = 0;
  std::int64_t system_ticks = 0;
  fields >> user_ticks >> system_ticks;
  reading.cpu_ns = (user_ticks + system_ticks) * (1'000'000'000 / sysconf(_SC_CLK_TCK));
  reading.ready_ns = 0;
  return reading;
}

}  // namespace samovar::core
