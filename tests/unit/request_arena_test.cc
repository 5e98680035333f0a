// The request arena's regions: a block comes from its thread's node while that has room, and one limit holds for all.
#include "core/arenas/request_arena.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace samovar::core {
namespace {

constexpr std::uint64_t kBytes = 4 * ipc::kChunkBytes;

RequestArena::Owner arena_on(std::vector<int> nodes) {
  return std::move(RequestArena::create("samovar-test", kBytes, std::move(nodes)).value());
}

detail::Block block(RequestArena& arena, std::uint64_t bytes, int node) { return arena.allocate(bytes, node).value(); }

TEST(RequestArena, has_one_region_that_is_bound_nowhere_where_no_node_is_named) {
  const auto arena = arena_on({});
  EXPECT_FALSE(arena->is_spread());
  EXPECT_FALSE(arena->unbound());
  EXPECT_EQ(arena->bytes_mapped(), kBytes);
  EXPECT_EQ(arena->node_at(block(*arena, 1, 3).offset()), ipc::kAnyNode);
}

TEST(RequestArena, takes_a_block_from_the_region_of_its_node) {
  const auto arena = arena_on({-1, 0});  // two regions on any machine
  EXPECT_TRUE(arena->is_spread());
  EXPECT_FALSE(arena->unbound());
  EXPECT_EQ(arena->bytes_mapped(), 2 * kBytes);
  EXPECT_EQ(arena->bytes_total(), kBytes);
  const auto on_any = block(*arena, 5000, -1);
  const auto on_first = block(*arena, 5000, 0);
  EXPECT_LT(on_any.offset(), kBytes);
  EXPECT_GE(on_first.offset(), kBytes);
  EXPECT_EQ(arena->node_at(on_first.offset()), 0);
  EXPECT_EQ(arena->bytes_in_use(), 4u * ipc::kPageBytes);
}

TEST(RequestArena, serves_a_thread_on_a_node_without_workers_from_the_first_region) {
  const auto arena = arena_on({-1, 0});
  EXPECT_LT(block(*arena, 1, 700).offset(), kBytes);
}

TEST(RequestArena, keeps_what_is_written_to_blocks_of_both_regions_apart) {
  const auto arena = arena_on({-1, 0});
  const auto a = block(*arena, kBytes / 2, -1);
  const auto b = block(*arena, kBytes / 2, 0);
  std::memset(arena->at(a.offset()), 1, kBytes / 2);
  std::memset(arena->at(b.offset()), 2, kBytes / 2);
  EXPECT_EQ(arena->at(a.offset())[kBytes / 2 - 1], std::byte{1});
  EXPECT_EQ(arena->at(b.offset())[0], std::byte{2});
  EXPECT_EQ(arena->bytes_backed(), kBytes);
}

TEST(RequestArena, gives_a_block_as_large_as_the_limit_on_any_node) {
  const auto arena = arena_on({-1, 0});
  for (const int node : {-1, 0}) EXPECT_EQ(block(*arena, kBytes, node).offset() / kBytes, node == 0 ? 1u : 0u);
  const auto too_large = arena->allocate(kBytes + 1, 0);
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error().code, Code::payload_too_large);
}

TEST(RequestArena, has_one_limit_for_all_regions_together) {
  const auto arena = arena_on({-1, 0});
  auto a = block(*arena, kBytes - ipc::kPageBytes, -1);
  const auto b = block(*arena, 1, 0);
  EXPECT_EQ(arena->bytes_in_use(), kBytes);
  for (const std::uint64_t bytes : {0, 1}) {
    const auto refused = arena->allocate(bytes, 0);
    ASSERT_FALSE(refused) << "the region of node 0 is nearly empty, but the limit is reached";
    EXPECT_EQ(refused.error().code, Code::resource_exhausted);
    EXPECT_NE(refused.error().message.find("the longest free block has 0"), std::string::npos) << refused.error().message;
  }
  a.reset();
  EXPECT_EQ(arena->bytes_in_use(), ipc::kPageBytes);
  EXPECT_TRUE(arena->allocate(kBytes - ipc::kPageBytes, 0));
}

TEST(RequestArena, takes_from_another_region_what_its_own_is_too_divided_for) {
  const auto arena = arena_on({-1, 0});
  std::vector<detail::Block> blocks;
  for (std::uint64_t at = 0; at < kBytes; at += ipc::kPageBytes) blocks.push_back(block(*arena, 1, 0));
  for (std::size_t i = 0; i < blocks.size(); i += 2) blocks[i].reset();
  const auto two_pages = block(*arena, 2 * ipc::kPageBytes, 0);
  EXPECT_LT(two_pages.offset(), kBytes) << "there is no two pages' span in its own region";
}

TEST(RequestArena, gives_the_memory_of_all_regions_back) {
  const auto arena = arena_on({-1, 0});
  for (const int node : {-1, 0}) block(*arena, kBytes, node).reset();
  EXPECT_EQ(arena->bytes_backed(), 2 * kBytes);
  for (int period = 0; arena->trim() && period < 5; ++period) {
  }
  EXPECT_EQ(arena->bytes_backed(), 0u);
  EXPECT_EQ(arena->bytes_in_use(), 0u);
  EXPECT_EQ(block(*arena, kBytes, 0).offset(), kBytes) << "and it can be had again";
}

TEST(RequestArena, works_unbound_where_there_is_no_such_node_and_says_so) {
  const auto arena = arena_on({0, 1023});
  ASSERT_TRUE(arena->unbound());
  EXPECT_NE(arena->unbound()->to_string().find("mbind(MPOL_PREFERRED, node 1023)"), std::string::npos) << arena->unbound()->to_string();
  const auto there = block(*arena, kBytes, 1023);
  std::memset(arena->at(there.offset()), 1, kBytes);
  EXPECT_EQ(there.offset(), kBytes);
}

}  // namespace
}  // namespace samovar::core
