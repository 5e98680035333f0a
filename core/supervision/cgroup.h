// Cgroup: the folders in which the kernel keeps the books of this process's memory. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace samovar::core {

enum class CgroupVersion : std::uint8_t { v1, v2 };

struct CgroupFolder {
  std::string path;  // "/sys/fs/cgroup/a/b"
  CgroupVersion version = CgroupVersion::v2;

  bool operator==(const CgroupFolder&) const = default;
};

// The folders of this process's memory cgroup, best first, by what /proc/self/cgroup says. Some of them may not exist.
std::vector<CgroupFolder> memory_cgroups(std::string_view proc_self_cgroup);

}  // namespace samovar::core
