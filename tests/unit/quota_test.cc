#include "core/topology/quota.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace samovar::core {
namespace {

double quota(const std::map<std::string, std::string>& files) {
  return cpu_quota([&](const std::string& path) {
    const auto found = files.find(path);
    return found == files.end() ? std::string() : found->second;
  });
}

TEST(Quota, is_read_from_both_kinds_of_files) {
  EXPECT_EQ(quota_of("150000 100000\n"), 1.5);
  EXPECT_EQ(quota_of("200000\n 100000\n"), 2);
  EXPECT_EQ(quota_of("max 100000\n"), 0);
  EXPECT_EQ(quota_of("-1\n 100000\n"), 0);
  EXPECT_EQ(quota_of("100000 0"), 0);
  EXPECT_EQ(quota_of(""), 0);
  EXPECT_EQ(quota_of("tea 100000"), 0);
}

TEST(Quota, is_that_of_the_group_in_version_2) {
  EXPECT_EQ(quota({{"/proc/self/cgroup", "0::/shop/tea\n"}, {"/sys/fs/cgroup/shop/tea/cpu.max", "250000 100000\n"}}), 2.5);
}

TEST(Quota, is_the_least_of_the_groups_above) {
  EXPECT_EQ(quota({{"/proc/self/cgroup", "0::/shop/tea\n"},
                   {"/sys/fs/cgroup/shop/tea/cpu.max", "800000 100000\n"},
                   {"/sys/fs/cgroup/shop/cpu.max", "300000 100000\n"},
                   {"/sys/fs/cgroup/cpu.max", "max 100000\n"}}),
            3);
}

TEST(Quota, of_version_1_has_two_files) {
  EXPECT_EQ(quota({{"/proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/tea\n0::/\n"},
                   {"/sys/fs/cgroup/cpu/tea/cpu.cfs_quota_us", "50000\n"},
                   {"/sys/fs/cgroup/cpu/tea/cpu.cfs_period_us", "100000\n"}}),
            0.5);
}

TEST(Quota, of_version_1_may_be_mounted_by_the_controllers_full_name) {
  EXPECT_EQ(quota({{"/proc/self/cgroup", "3:cpu,cpuacct:/tea\n"},
                   {"/sys/fs/cgroup/cpu,cpuacct/tea/cpu.cfs_quota_us", "50000\n"},
                   {"/sys/fs/cgroup/cpu,cpuacct/tea/cpu.cfs_period_us", "50000\n"}}),
            1);
}

TEST(Quota, in_a_container_that_sees_its_hosts_path_is_found_at_the_mount) {
  EXPECT_EQ(quota({{"/proc/self/cgroup", "0::/docker/0123\n"}, {"/sys/fs/cgroup/cpu.max", "100000 100000\n"}}), 1);
}

TEST(Quota, is_none_where_nothing_says_so) {
  EXPECT_EQ(quota({}), 0);
  EXPECT_EQ(quota({{"/proc/self/cgroup", "nonsense\n0::\n:\n0::relative\n"}}), 0);
  EXPECT_EQ(quota({{"/proc/self/cgroup", "2:cpuset:/tea\n"}, {"/sys/fs/cgroup/cpuset/tea/cpu.max", "1 1\n"}}), 0) << "another controller";
}

}  // namespace
}  // namespace samovar::core
