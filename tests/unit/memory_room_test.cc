#include "core/supervision/memory_room.h"

#include <gtest/gtest.h>

#include <map>

namespace samovar::core {
namespace {

using Files = std::map<std::string, std::string>;

constexpr std::uint64_t kKib = 1024;
constexpr const char* kMachine = "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n";

MemoryRoom room_of(const Files& files) {
  return memory_room([&](const std::string& path) {
    const auto found = files.find(path);
    return found == files.end() ? std::string() : found->second;
  });
}

TEST(MemoryRoom, is_what_the_machine_has_available_where_no_cgroup_limits_it) {
  const MemoryRoom room = room_of({{"/proc/meminfo", kMachine}, {"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "max\n"},
                                   {"/sys/fs/cgroup/a/memory.current", "4096\n"}});
  EXPECT_EQ(room.available, 8'000'000 * kKib);
  EXPECT_EQ(room.total, 16'000'000 * kKib);
}

TEST(MemoryRoom, is_what_the_cgroup_leaves_without_the_pages_that_can_be_dropped) {
  const MemoryRoom room = room_of({{"/proc/meminfo", kMachine},
                                   {"/proc/self/cgroup", "0::/a\n"},
                                   {"/sys/fs/cgroup/a/memory.max", "1000000\n"},
                                   {"/sys/fs/cgroup/a/memory.current", "900000\n"},
                                   {"/sys/fs/cgroup/a/memory.stat", "anon 700000\ninactive_file 150000\nactive_file 50000\n"}});
  EXPECT_EQ(room.available, 250'000u);
  EXPECT_EQ(room.total, 1'000'000u);
}

TEST(MemoryRoom, ends_where_the_kernel_begins_to_slow_down) {
  const MemoryRoom room = room_of({{"/proc/self/cgroup", "0::/\n"},
                                   {"/sys/fs/cgroup/memory.max", "max\n"},
                                   {"/sys/fs/cgroup/memory.high", "5000\n"},
                                   {"/sys/fs/cgroup/memory.current", "1000\n"}});
  EXPECT_EQ(room.available, 4'000u);
}

TEST(MemoryRoom, knows_the_limits_above_its_own_cgroup) {
  const MemoryRoom room = room_of({{"/proc/meminfo", kMachine},
                                   {"/proc/self/cgroup", "0::/slice/pod/box\n"},
                                   {"/sys/fs/cgroup/slice/pod/box/memory.max", "9000\n"},
                                   {"/sys/fs/cgroup/slice/pod/box/memory.current", "1000\n"},
                                   {"/sys/fs/cgroup/slice/memory.max", "7000\n"},
                                   {"/sys/fs/cgroup/slice/memory.current", "6000\n"}});
  EXPECT_EQ(room.available, 1'000u);
  EXPECT_EQ(room.total, 7'000u);
}

TEST(MemoryRoom, reads_the_first_version_of_cgroups_too) {
  const MemoryRoom room = room_of({{"/proc/meminfo", kMachine},
                                   {"/proc/self/cgroup", "4:memory:/docker/b\n"},
                                   {"/sys/fs/cgroup/memory/docker/b/memory.limit_in_bytes", "100000\n"},
                                   {"/sys/fs/cgroup/memory/docker/b/memory.usage_in_bytes", "80000\n"},
                                   {"/sys/fs/cgroup/memory/docker/b/memory.stat", "inactive_file 1\ntotal_inactive_file 30000\n"}});
  EXPECT_EQ(room.available, 50'000u);
}

TEST(MemoryRoom, is_none_where_more_is_in_use_than_allowed_and_endless_where_nothing_can_be_read) {
  const Files full{{"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/memory.max", "10\n"}, {"/sys/fs/cgroup/memory.current", "20\n"}};
  EXPECT_EQ(room_of(full).available, 0u);
  EXPECT_EQ(room_of({}).available, UINT64_MAX);
  EXPECT_EQ(workers_that_fit(room_of({}), 1 << 30), UINT32_MAX);
}

TEST(MemoryRoom, is_there_on_this_machine) {
  const MemoryRoom room = memory_room();
  EXPECT_GT(room.available, 0u);
  EXPECT_LE(room.available, room.total);
}

TEST(WorkersThatFit, leave_a_twentieth_of_all_memory_free) {
  EXPECT_EQ(workers_that_fit({.available = 1000, .total = 2000}, 100), 9u);
  EXPECT_EQ(workers_that_fit({.available = 199, .total = 2000}, 100), 0u);
  EXPECT_EQ(workers_that_fit({.available = 50, .total = 2000}, 100), 0u);
  EXPECT_EQ(workers_that_fit({.available = 1000, .total = 2000}, 0), 900u);
}

}  // namespace
}  // namespace samovar::core
