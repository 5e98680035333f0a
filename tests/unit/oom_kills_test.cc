#include "core/supervision/oom_kills.h"

#include <gtest/gtest.h>

namespace samovar::core {
namespace {

using Files = std::vector<std::string>;

TEST(OomKills, explain_the_death_of_a_worker_that_started_before_them) {
  std::uint64_t count = 5;
  OomKills kills([&] { return count; });
  const std::uint64_t before = kills.unexplained();

  EXPECT_FALSE(kills.explain(before)) << "somebody else has killed it";
  ++count;
  EXPECT_TRUE(kills.explain(before));
}

TEST(OomKills, of_former_times_explain_nothing) {
  std::uint64_t count = 5;
  OomKills kills([&] { return count; });
  ++count;

  EXPECT_FALSE(kills.explain(kills.unexplained()));
}

TEST(OomKills, explain_one_death_each) {
  std::uint64_t count = 0;
  OomKills kills([&] { return count; });
  const std::uint64_t first = kills.unexplained(), second = kills.unexplained(), third = kills.unexplained();
  count = 2;

  EXPECT_TRUE(kills.explain(first));
  const std::uint64_t replacement = kills.unexplained();
  EXPECT_TRUE(kills.explain(second));
  EXPECT_FALSE(kills.explain(third));
  EXPECT_FALSE(kills.explain(replacement));
  ++count;
  EXPECT_TRUE(kills.explain(third));
}

TEST(OomCount, is_that_of_the_processs_memory_cgroup) {
  EXPECT_EQ(oom_count_files("12:cpu:/a\n4:memory:/docker/b\n0::/c\n"),
            (Files{"/sys/fs/cgroup/memory/docker/b/memory.oom_control", "/sys/fs/cgroup/c/memory.events",
                   "/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"}));
  EXPECT_EQ(oom_count_files("3:cpu,memory,pids:/\n"), (Files{"/sys/fs/cgroup/memory/memory.oom_control"}));
  EXPECT_EQ(oom_count_files("0::/\n"), (Files{"/sys/fs/cgroup/memory.events"}));
  EXPECT_EQ(oom_count_files(""), Files{});
  EXPECT_EQ(oom_count_files("nonsense\n:\n7:memoryless:/x\n"), Files{});
}

TEST(OomCount, is_read_by_its_whole_name) {
  EXPECT_EQ(count_in("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3u);
  EXPECT_EQ(count_in("low 0\noom 2\noom_kill 18446744073709551615", "oom_kill"), UINT64_MAX);
  EXPECT_EQ(count_in("oom_kill\noom_kill x\n", "oom_kill"), std::nullopt);
  EXPECT_EQ(count_in("", "oom_kill"), std::nullopt);
}

TEST(OomCount, is_found_on_this_machine) {
  OomKills kills;
  EXPECT_FALSE(kills.explain(kills.unexplained()));
}

}  // namespace
}  // namespace samovar::core
