#include "tests/support/processes.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace samovar::test {
namespace {

namespace fs = std::filesystem;

std::optional<pid_t> to_number(const std::string& name) {
  pid_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

// The fields of /proc/PID/stat behind the name, which may itself hold spaces: [0] is the state, [1] the parent.
std::vector<std::string> stat_fields(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return {};
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

template <typename Wanted>
std::vector<pid_t> processes_where(Wanted&& wanted) {
  std::vector<pid_t> found;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::optional<pid_t> pid = to_number(entry.path().filename().string());
    if (!pid) continue;
    const std::vector<std::string> fields = stat_fields(*pid);  // empty: it has ended meanwhile
    if (fields.size() > 2 && wanted(fields)) found.push_back(*pid);
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool is_nursery(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
  const std::string line((std::istreambuf_iterator<char>(file)), {});
  return line.find("samovar.nursery") != line.npos;
}

}  // namespace

char state_of(pid_t pid) {
  const std::vector<std::string> fields = stat_fields(pid);
  return fields.empty() ? '\0' : fields[0][0];
}

bool is_alive(pid_t pid) {
  const char state = state_of(pid);
  return state != '\0' && state != 'Z' && state != 'X';
}

std::vector<pid_t> children_of(pid_t pid) {
  return processes_where([&](const auto& fields) { return fields[1] == std::to_string(pid); });
}

std::vector<pid_t> nurseries_of(pid_t host) {
  std::vector<pid_t> nurseries = children_of(host);
  std::erase_if(nurseries, [](pid_t pid) { return !is_nursery(pid); });
  return nurseries;
}

std::vector<pid_t> workers_of(pid_t host) {
  std::vector<pid_t> workers;
  for (const pid_t child : children_of(host)) {
    const std::vector<pid_t> found = is_nursery(child) ? children_of(child) : std::vector{child};
    workers.insert(workers.end(), found.begin(), found.end());
  }
  return workers;
}

std::vector<pid_t> group_members(pid_t group) {
  return processes_where([&](const auto& fields) { return fields[0] != "Z" && fields[2] == std::to_string(group); });
}

std::vector<std::string> open_descriptors() {
  std::vector<std::string> open;
  std::vector<pid_t> numbers;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc/self/fd")) {
    numbers.push_back(*to_number(entry.path().filename().string()));
  }
  std::sort(numbers.begin(), numbers.end());
  for (pid_t number : numbers) {
    std::error_code gone;  // the one that listed the folder
    const fs::path target = fs::read_symlink("/proc/self/fd/" + std::to_string(number), gone);
    if (!gone) open.push_back(std::to_string(number) + " " + target.string());
  }
  return open;
}

std::size_t thread_count() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator()));
}

std::uint64_t resident_bytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::uint64_t resident_shared_bytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssShmem:")) return std::stoull(line.substr(9)) * 1024;
  }
  return 0;
}

double cpu_seconds(pid_t pid) {
  clockid_t clock;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

Footprint Footprint::now() { return {open_descriptors(), children_of(getpid()), thread_count()}; }

std::string Footprint::to_string() const {
  std::string text = std::to_string(threads) + " threads; children:";
  for (pid_t child : children) text += " " + std::to_string(child);
  text += "; descriptors:";
  for (const std::string& descriptor : descriptors) text += "\n  " + descriptor;
  return text;
}

}  // namespace samovar::test
