// layout.h, in numbers written out by hand: whoever changes one changes the protocol.
#include "ipc/layout.h"

#include <gtest/gtest.h>

namespace samovar::ipc {
namespace {

TEST(Layout, pages_are_4096_bytes_with_each_word_where_protocol_md_says) {
  EXPECT_EQ(sizeof(HostPage), 4096u);
  EXPECT_EQ(offsetof(HostPage, doorbell), 0u);
  EXPECT_EQ(offsetof(HostPage, asleep), 4u);
  EXPECT_EQ(offsetof(HostPage, stop), 8u);
  EXPECT_EQ(offsetof(HostPage, responses_consumed), 64u);
  EXPECT_EQ(offsetof(HostPage, blocks_released), 128u);
  EXPECT_EQ(sizeof(WorkerPage), 4096u);
  EXPECT_EQ(offsetof(WorkerPage, asleep), 0u);
  EXPECT_EQ(offsetof(WorkerPage, awaits_block), 4u);
  EXPECT_EQ(offsetof(WorkerPage, requests_consumed), 64u);
  EXPECT_EQ(offsetof(WorkerPage, started), 72u);
  EXPECT_EQ(offsetof(WorkerPage, blocks_released), 128u);
}

TEST(Layout, commit_word_bits) {
  EXPECT_EQ(kCommitValid, 0x8000'0000'0000'0000u);
  EXPECT_EQ(kCommitWrap, 0x4000'0000'0000'0000u);
  EXPECT_EQ(kCommitRevoked, 0x2000'0000'0000'0000u);
  EXPECT_EQ(kCommitSizeMask, 0x0000'0000'ffff'ffffu);
  EXPECT_EQ(kCommitWordBytes, 8u);
}

TEST(Layout, message_sizes_and_the_granules_they_take) {
  struct {
    std::uint32_t payload, message, advance;
  } const cases[] = {{0, 48, 64},     {1, 56, 64},     {8, 56, 64},     {9, 64, 128},    {64, 112, 128},  {72, 120, 128},
                     {73, 128, 192},  {136, 184, 192}, {137, 192, 256}, {1024, 1072, 1088}, {4096, 4144, 4160}};
  for (const auto& c : cases) {
    EXPECT_EQ(message_bytes(c.payload), c.message) << c.payload;
    EXPECT_EQ(record_advance(message_bytes(c.payload)), c.advance) << c.payload;
  }
}

TEST(Layout, a_segment_is_a_page_a_lane_and_a_release_ring_and_the_hosts_a_lane_more) {
  EXPECT_EQ(worker_segment_bytes(4096), 8192u + 32768);
  EXPECT_EQ(worker_segment_bytes(65536), 69632u + 32768);
  EXPECT_EQ(worker_segment_bytes(1u << 30), (std::uint64_t{1} << 30) + 4096 + 32768);
  EXPECT_EQ(release_ring_at(65536), 69632u);
  EXPECT_EQ(note_lane_at(65536), 69632u + 32768);
  EXPECT_EQ(host_segment_bytes(65536), 69632u + 32768 + 65536);
}

TEST(Layout, the_hash_is_of_facts_and_not_of_the_build) {
  static_assert(layout_hash() == layout_hash());
  EXPECT_NE(layout_hash(), 0u);
  EXPECT_NE(layout_hash(), wire::kSchemaHash);
}

}  // namespace
}  // namespace samovar::ipc
