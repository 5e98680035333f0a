// When a block that Python may still view is free.
#include "ipc/viewed_blocks.h"

#include <gtest/gtest.h>

#include <vector>

namespace samovar::ipc {
namespace {

using GivenBack = ViewedBlocks::GivenBack;

std::vector<std::uint64_t> settled(ViewedBlocks& blocks) {
  std::vector<std::uint64_t> freed;
  blocks.settle([&](std::uint64_t offset) { freed.push_back(offset); });
  return freed;
}

TEST(ViewedBlocks, one_that_was_never_sent_is_free_when_its_view_dies) {
  ViewedBlocks blocks;
  blocks.add(4096, 100);
  EXPECT_TRUE(settled(blocks).empty());
  blocks.view_died(4096);
  EXPECT_EQ(settled(blocks), std::vector<std::uint64_t>{4096});
  EXPECT_TRUE(blocks.empty());
}

TEST(ViewedBlocks, one_that_was_sent_is_the_hosts_once_its_view_has_died) {
  ViewedBlocks blocks;
  blocks.add(4096, 100);
  blocks.send(4096);
  blocks.view_died(4096);
  EXPECT_TRUE(settled(blocks).empty());
  EXPECT_EQ(blocks.give_back(4096), GivenBack::free);
}

TEST(ViewedBlocks, one_that_was_sent_and_is_forgotten_is_the_hosts_at_once) {
  ViewedBlocks blocks;
  blocks.add(4096, 100);
  blocks.add(8192, 100);
  blocks.send(4096);
  blocks.forget(4096);
  EXPECT_EQ(blocks.at(4096), nullptr);
  EXPECT_NE(blocks.at(8192), nullptr);
  EXPECT_EQ(blocks.give_back(4096), GivenBack::free);
}

TEST(ViewedBlocks, one_that_the_host_gives_back_first_stays_until_its_view_dies) {
  ViewedBlocks blocks;
  blocks.add(4096, 100);
  blocks.send(4096);
  EXPECT_EQ(blocks.give_back(4096), GivenBack::viewed);
  EXPECT_FALSE(blocks.at(4096)->is_sent) << "and may be sent again";
  blocks.view_died(4096);
  EXPECT_EQ(settled(blocks), std::vector<std::uint64_t>{4096});
}

TEST(ViewedBlocks, one_that_was_not_sent_cannot_be_given_back) {
  ViewedBlocks blocks;
  blocks.add(4096, 100);
  EXPECT_EQ(blocks.give_back(4096), GivenBack::never_sent);
  EXPECT_EQ(blocks.give_back(8192), GivenBack::free) << "one that is none of these";
}

TEST(ViewedBlocks, each_byte_belongs_to_its_block) {
  ViewedBlocks blocks;
  for (const std::uint64_t offset : {8192, 0, 4096, 16384}) blocks.add(offset, 100);
  EXPECT_EQ(blocks.at(0)->offset, 0u);
  EXPECT_EQ(blocks.at(4195)->offset, 4096u);
  EXPECT_EQ(blocks.at(4196), nullptr);
  EXPECT_EQ(blocks.at(16383), nullptr);
  EXPECT_EQ(blocks.at(16384)->offset, 16384u);
  for (const std::uint64_t offset : {4096, 16384, 0, 8192}) blocks.view_died(offset);
  EXPECT_EQ(settled(blocks), (std::vector<std::uint64_t>{4096, 16384, 0, 8192}));
  EXPECT_EQ(blocks.at(4096), nullptr);
}

}  // namespace
}  // namespace samovar::ipc
