#include "core/topology/machine.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/topology/cpu_list.h"

namespace samovar::core {
namespace {

Machine synthetic(const std::string& description, std::string_view cut = {}) {
  auto machine = synthetic_machine(description, cut);
  EXPECT_TRUE(machine) << machine.error();
  return machine ? std::move(*machine) : Machine{};
}

TEST(SyntheticMachine, has_its_parts_where_hwloc_says) {
  const Machine machine = synthetic("package:1 numa:2 l3:2 core:2 pu:2");
  ASSERT_EQ(machine.cpus.size(), 16u);
  EXPECT_EQ(machine.cpus[0], (Cpu{.number = 0, .core = 0, .thread = 0, .cache = 0, .node = 0, .package = 0}));
  EXPECT_EQ(machine.cpus[1], (Cpu{.number = 1, .core = 0, .thread = 1, .cache = 0, .node = 0, .package = 0}));
  EXPECT_EQ(machine.cpus[7], (Cpu{.number = 7, .core = 3, .thread = 1, .cache = 1, .node = 0, .package = 0}));
  EXPECT_EQ(machine.cpus[15], (Cpu{.number = 15, .core = 7, .thread = 1, .cache = 3, .node = 1, .package = 0}));
  ASSERT_EQ(machine.nodes.size(), 2u);
  EXPECT_EQ(machine.nodes[1].number, 1);
  EXPECT_GT(machine.nodes[1].bytes, 0u);
  EXPECT_EQ(count_cores(machine), 8u);
  EXPECT_EQ(count_nodes(machine), 2u);
  EXPECT_EQ(count_packages(machine), 1u);
  EXPECT_EQ(machine.quota, 0);
}

TEST(SyntheticMachine, without_caches_or_cores_says_so) {
  EXPECT_EQ(synthetic("numa:2 core:8 pu:2").cpus[31].cache, -1);
  const Machine bare = synthetic("pu:4");
  EXPECT_EQ(count_cores(bare), 4u);
  EXPECT_EQ(bare.cpus[3].thread, 0);
  EXPECT_EQ(bare.cpus[3].node, 0);
}

TEST(SyntheticMachine, knows_the_last_cache_that_data_takes) {
  EXPECT_EQ(synthetic("l2:2 l1i:1 core:2 pu:1").cpus[3].cache, 1) << "no L3: two cores share an L2";
}

TEST(SyntheticMachine, numbers_cpus_as_its_kernel_does) {
  const Machine machine = synthetic("core:2 pu:2(indexes=0,2,1,3)");
  EXPECT_EQ(machine.cpus[1], (Cpu{.number = 1, .core = 1, .thread = 0, .cache = -1, .node = 0}));
  EXPECT_EQ(machine.cpus[2], (Cpu{.number = 2, .core = 0, .thread = 1, .cache = -1, .node = 0}));
}

TEST(SyntheticMachine, of_two_memories_at_a_cpu_counts_the_ordinary_one) {
  const Machine machine = synthetic("package:2 [numa(indexes=0,1)] [numa] core:2 pu:1");
  EXPECT_EQ(machine.nodes.size(), 4u);
  EXPECT_EQ(count_nodes(machine), 2u);
}

TEST(SyntheticMachine, has_only_the_cpus_of_its_cut) {
  const Machine machine = synthetic("numa:2 core:4 pu:1", "1-2,6");
  ASSERT_EQ(machine.cpus.size(), 3u);
  EXPECT_EQ(machine.cpus[2], (Cpu{.number = 6, .core = 6, .thread = 0, .cache = -1, .node = 1}));
}

TEST(SyntheticMachine, that_makes_no_sense_is_refused_with_what_was_said) {
  EXPECT_NE(synthetic_machine("samovar:2").error().find("\"samovar:2\""), std::string::npos);
  EXPECT_NE(synthetic_machine("").error().find("\"\""), std::string::npos);
  EXPECT_NE(synthetic_machine("core:2 pu:1", "2-1").error().find("\"2-1\""), std::string::npos);
  EXPECT_NE(synthetic_machine("core:2 pu:1", "7").error().find("none of the CPUs 7"), std::string::npos);
}

TEST(ThisMachine, has_a_cpu_and_a_core) {
  const Machine machine = this_machine();
  ASSERT_FALSE(machine.cpus.empty());
  EXPECT_GE(count_cores(machine), 1u);
  EXPECT_LE(count_cores(machine), machine.cpus.size());
}

TEST(CpuLists, are_written_as_the_kernel_does) {
  EXPECT_EQ(format_cpus({}), "");
  EXPECT_EQ(format_cpus({3}), "3");
  EXPECT_EQ(format_cpus({0, 1}), "0,1");
  EXPECT_EQ(format_cpus({0, 1, 2, 5, 7, 8, 9}), "0-2,5,7-9");
  EXPECT_EQ(format_cpus({3, 2, 1}), "3,2,1") << "in the order given";
}

TEST(CpuLists, are_read_in_order_and_each_once) {
  EXPECT_EQ(parse_cpus("8,0-2,2"), (std::vector<int>{0, 1, 2, 8}));
  EXPECT_EQ(parse_cpus("5"), std::vector<int>{5});
}

TEST(CpuLists, that_are_none_are_refused) {
  for (const char* wrong : {"", "a", "1-", "-1", "2-1", "1,", ",1", "1 ,2", "0-99999999", "99999999999", "1-2-3", "0x1"}) {
    EXPECT_FALSE(parse_cpus(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace samovar::core
