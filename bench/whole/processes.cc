#include "bench/whole/processes.h"

#include <time.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "ipc/clock.h"

namespace samovar::bench {
namespace {

struct Stat {
  char state = '?';
  pid_t parent = 0;
};

Stat read_stat(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  // "PID (name) S PPID ...": the name may hold anything, parentheses too.
  const std::size_t close = text.rfind(')');
  if (close == std::string::npos || close + 3 >= text.size()) return {};
  return {text[close + 2], static_cast<pid_t>(std::atoi(text.c_str() + close + 4))};
}

}  // namespace

bool wait_until_asleep(pid_t pid, std::chrono::nanoseconds limit) {
  const std::int64_t deadline_ns = ipc::now_ns() + limit.count();
  while (read_stat(pid).state != 'S') {
    if (ipc::now_ns() > deadline_ns) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(20));  // a spinner may need this CPU to get to its sleep
  }
  return true;
}

std::vector<pid_t> descendants() {
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (!std::isdigit(static_cast<unsigned char>(name[0]))) continue;
    const auto pid = static_cast<pid_t>(std::atoi(name.c_str()));
    children.emplace(read_stat(pid).parent, pid);
  }
  std::vector<pid_t> found{getpid()};
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto [begin, end] = children.equal_range(found[i]);
    for (auto it = begin; it != end; ++it) found.push_back(it->second);
  }
  found.erase(found.begin());
  return found;
}

std::int64_t cpu_time_ns(pid_t pid) {
  clockid_t clock;
  timespec time;
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t voluntary_switches(pid_t pid) {
  std::int64_t sum = 0;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(task.path() / "status");
    for (std::string line; std::getline(file, line);) {
      constexpr std::string_view kKey = "voluntary_ctxt_switches:";
      if (line.starts_with(kKey)) sum += std::atoll(line.c_str() + kKey.size());
    }
  }
  return sum;
}

double stolen_seconds() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user, nice, system, idle, iowait, irq, softirq, steal = 0;
  file >> cpu >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  return file ? steal / static_cast<double>(sysconf(_SC_CLK_TCK)) : 0;
}

}  // namespace samovar::bench
