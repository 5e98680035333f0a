// The CPU quota of a cgroup: how many CPUs' worth of time it grants, whatever the affinity says. A container with two CPUs' worth on a
// machine of 64 sees 64.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace samovar::core {

// The text of a file; empty where it cannot be read.
using ReadFile = std::function<std::string(const std::string& path)>;

// CPUs at a time: the least that this process's cgroup or one above it grants; 0: no quota. Both versions of cgroups.
double cpu_quota();
double cpu_quota(const ReadFile& read);

// Of "200000 100000" (cpu.max) or of the two files of version 1. 0: no quota, "max" or -1, or what cannot be read.
double quota_of(std::string_view quota_and_period);

}  // namespace samovar::core
