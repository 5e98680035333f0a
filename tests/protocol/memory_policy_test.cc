// Where pages come to lie. This machine may have one node only: then what the kernel was told is looked at.
#include "ipc/memory_policy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ipc/channel.h"
#include "ipc/layout.h"
#include "ipc/segment.h"

namespace samovar::ipc {
namespace {

constexpr std::uint64_t kBytes = 16 * kPageBytes;
constexpr int kNoSuchNode = 1023;

// The policy that the mapping at `address` has for this thread: "default", "prefer:0".
std::string policy_at(const void* address) {
  std::ifstream maps("/proc/thread-self/numa_maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t at = 0;
    char policy[64] = "";
    if (std::sscanf(line.c_str(), "%" SCNxPTR " %63s", &at, policy) == 2 && at == reinterpret_cast<std::uintptr_t>(address)) return policy;
  }
  return "";
}

Segment map(const UniqueFd& fd, Access access, OnNode on) { return std::move(Segment::map(fd, kBytes, access, Populate::yes, on).value()); }

// Whether this kernel can bind at all, and lets us.
bool can_bind() {
  const UniqueFd fd = std::move(create_memfd("samovar-test", kBytes).value());
  const Segment segment = std::move(Segment::map(fd, kBytes, Access::read_write, Populate::no).value());
  return prefer_node({segment.data(), kBytes}, 0).has_value();
}

class MemoryPolicy : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_bind()) GTEST_SKIP() << "mbind is refused here";
  }
};

TEST_F(MemoryPolicy, of_a_segment_is_its_node_and_holds_for_those_who_map_it_read_only) {
  const UniqueFd fd = std::move(create_memfd("samovar-test", kBytes).value());
  const Segment reader = map(fd, Access::read_only, {0});
  EXPECT_EQ(policy_at(reader.data()), "prefer:0");
  const Segment writer = map(fd, Access::read_write, {});
  EXPECT_EQ(policy_at(writer.data()), "prefer:0") << "it is the file's";
  EXPECT_EQ(nodes_of_pages(0, {reader.data(), kBytes}).value(), std::vector<int>(kBytes / kPageBytes, 0));
  EXPECT_EQ(node_of_page(writer.data() + kPageBytes).value(), 0);
}

TEST_F(MemoryPolicy, of_a_channel_is_that_of_all_its_parts) {
  const auto channel = HostEnd::create({.memory_node = 0}).value();
  EXPECT_EQ(policy_at(channel->host_memory()), "prefer:0");
  EXPECT_EQ(policy_at(channel->worker_memory()), "prefer:0");
  EXPECT_EQ(policy_at(channel->response_arena().data()), "prefer:0");
  EXPECT_EQ(channel->hello().memory_node, 0);
}

TEST_F(MemoryPolicy, of_a_thread_is_that_of_what_it_touches_and_of_threads_it_starts) {
  std::thread([] {
    ASSERT_TRUE(prefer_node_for_this_thread(0));
    std::thread([] {
      void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ASSERT_NE(pages, MAP_FAILED);
      std::memset(pages, 1, kBytes);
      EXPECT_EQ(policy_at(pages), "prefer:0");
      munmap(pages, kBytes);
    }).join();
  }).join();
}

TEST(MemoryPolicyOfNoNode, makes_no_difference) {
  const auto channel = HostEnd::create({}).value();
  const std::string policy = policy_at(channel->host_memory());
  EXPECT_TRUE(policy == "default" || policy.empty()) << policy;
  EXPECT_TRUE(prefer_node({channel->host_memory(), kPageBytes}, kAnyNode));
  EXPECT_TRUE(prefer_node_for_this_thread(kAnyNode));
}

TEST(MemoryPolicyRefused, is_an_error_that_names_the_node_and_no_failure_of_a_channel) {
  alignas(kPageBytes) static std::byte page[kPageBytes];
  for (const int node : {kNoSuchNode, 1024, 1'000'000, -2}) {
    const auto refused = prefer_node(page, node);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().to_string().find("mbind(MPOL_PREFERRED, node " + std::to_string(node) + ")"), std::string::npos);
    EXPECT_FALSE(prefer_node_for_this_thread(node));
  }
  EXPECT_TRUE(HostEnd::create({.memory_node = kNoSuchNode}));
}

TEST(PagesOfAProcess, are_on_no_node_until_they_are_touched) {
  void* pages = mmap(nullptr, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  std::memset(pages, 1, kPageBytes);
  const auto nodes = nodes_of_pages(0, {static_cast<std::byte*>(pages), 2 * kPageBytes});
  munmap(pages, 2 * kPageBytes);
  if (!nodes) GTEST_SKIP() << nodes.error().to_string();
  EXPECT_GE(nodes->at(0), 0);
  EXPECT_EQ(nodes->at(1), -ENOENT);
}

TEST(NodeOfThisThread, is_one_that_there_is) { EXPECT_GE(node_of_this_thread(), 0); }

}  // namespace
}  // namespace samovar::ipc
