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

// Of "4711 (any text, with brackets even) S 1 ...", as numbered in proc(5).
constexpr int kState = 3;
constexpr int kUserTime = 14;
constexpr int kExitCode = 52;

std::istringstream fields_from(int field, const std::string& stat) {
  const std::size_t name_end = stat.rfind(')');
  std::istringstream fields(name_end == std::string::npos ? "" : stat.substr(name_end + 1));
  std::string skipped;
  for (int at = kState; at < field; ++at) fields >> skipped;
  return fields;
}

}  // namespace

std::optional<ProcessReading> read_process(pid_t pid) {
  const std::string stat = read_line(pid, "stat");
  char state;
  if (!(fields_from(kState, stat) >> state)) return std::nullopt;
  ProcessReading reading{.state = state};

  if (std::istringstream schedstat(read_line(pid, "schedstat")); schedstat >> reading.cpu_ns >> reading.ready_ns) return reading;
  // A kernel without CONFIG_SCHED_INFO: whole ticks, of all threads.
  std::istringstream fields = fields_from(kUserTime, stat);
  std::int64_t user_ticks = 0;
  std::int64_t system_ticks = 0;
  fields >> user_ticks >> system_ticks;
  reading.cpu_ns = (user_ticks + system_ticks) * (1'000'000'000 / sysconf(_SC_CLK_TCK));
  reading.ready_ns = 0;
  return reading;
}

MemoryReading read_memory(pid_t pid) {
  MemoryReading reading;
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string name; file >> name;) {
    std::uint64_t kibibytes = 0;
    if (name == "Rss:" && file >> kibibytes) reading.resident = kibibytes * 1024;
    else if (name == "Pss:" && file >> kibibytes) reading.proportional = kibibytes * 1024;
    else if ((name == "Private_Clean:" || name == "Private_Dirty:") && file >> kibibytes) reading.unshared += kibibytes * 1024;
  }
  return reading;
}

std::optional<int> read_wait_status(pid_t pid) {
  const std::string stat = read_line(pid, "stat");
  char state;
  int status;
  if (!(fields_from(kState, stat) >> state) || state != 'Z' || !(fields_from(kExitCode, stat) >> status)) return std::nullopt;
  return status;
}

}  // namespace samovar::core
