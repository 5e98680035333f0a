#include "core/topology/quota.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <locale>
#include <sstream>

namespace samovar::core {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

double tighter(double a, double b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// A group's path and those above it, up to the mount itself: in a container without a cgroup namespace the path is the host's, and
// what is mounted is the container's own.
std::vector<std::string> upwards(std::string group) {
  std::vector<std::string> groups;
  while (!group.empty() && group != "/") {
    groups.push_back(group);
    group.erase(group.rfind('/'));
  }
  groups.emplace_back();
  return groups;
}

double quota_in(const ReadFile& read, const std::string& mount, const std::string& group, bool unified) {
  double quota = 0;
  for (const std::string& above : upwards(group)) {
    const std::string folder = mount + above;
    const std::string text = unified ? read(folder + "/cpu.max") : read(folder + "/cpu.cfs_quota_us") + " " + read(folder + "/cpu.cfs_period_us");
    quota = tighter(quota, quota_of(text));
  }
  return quota;
}

}  // namespace

double cpu_quota() { return cpu_quota(read_file); }

double cpu_quota(const ReadFile& read) {
  double quota = 0;
  std::istringstream lines(read("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {  // "4:cpu,cpuacct:/path" in version 1, "0::/path" in version 2
    const std::size_t controllers = line.find(':');
    const std::size_t path = controllers == line.npos ? line.npos : line.find(':', controllers + 1);
    if (path == line.npos || path + 1 >= line.size() || line[path + 1] != '/') continue;
    const std::string names = line.substr(controllers + 1, path - controllers - 1);
    const std::string group = line.substr(path + 1);
    if (names.empty()) {
      quota = tighter(quota, quota_in(read, "/sys/fs/cgroup", group, true));
    } else if (("," + names + ",").find(",cpu,") != std::string::npos) {
      const double found = quota_in(read, "/sys/fs/cgroup/cpu", group, false);
      quota = tighter(quota, found != 0 ? found : quota_in(read, "/sys/fs/cgroup/" + names, group, false));
    }
  }
  return quota;
}

double quota_of(std::string_view quota_and_period) {
  std::istringstream text{std::string(quota_and_period)};
  text.imbue(std::locale::classic());
  double quota = 0, period = 0;
  if (!(text >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

}  // namespace samovar::core
