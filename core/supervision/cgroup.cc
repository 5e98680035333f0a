#include "core/supervision/cgroup.h"

#include <sstream>
#include <utility>

namespace samovar::core {

std::vector<CgroupFolder> memory_cgroups(std::string_view proc_self_cgroup) {
  std::vector<CgroupFolder> first, second;
  std::istringstream lines{std::string(proc_self_cgroup)};
  for (std::string line; std::getline(lines, line);) {  // "4:memory,x:/path" in version 1, "0::/path" in version 2
    const std::size_t controllers = line.find(':');
    const std::size_t path = controllers == line.npos ? line.npos : line.find(':', controllers + 1);
    if (path == line.npos) continue;
    const std::string names = "," + line.substr(controllers + 1, path - controllers - 1) + ",";
    const std::string group = line.substr(path + 1) == "/" ? "" : line.substr(path + 1);
    const bool unified = names == ",,";
    if (!unified && names.find(",memory,") == names.npos) continue;
    const CgroupVersion version = unified ? CgroupVersion::v2 : CgroupVersion::v1;
    const std::string mount = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    first.push_back({mount + group, version});
    // In a container without a cgroup namespace the path is the host's, and what is mounted is the container's own.
    if (!group.empty()) second.push_back({mount, version});
  }
  first.insert(first.end(), std::make_move_iterator(second.begin()), std::make_move_iterator(second.end()));
  return first;
}

}  // namespace samovar::core
