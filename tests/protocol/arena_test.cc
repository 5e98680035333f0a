// Arenas over real memfds: pages that come and go, descriptors that cannot write, releases that never wait.
#include "ipc/arena.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ipc/huge_pages.h"
#include "ipc/release_ring.h"

namespace samovar::ipc {
namespace {

constexpr std::uint64_t kBytes = 64 * kChunkBytes;  // 4 MiB

Arena arena_of(std::uint64_t bytes = kBytes) { return std::move(Arena::map(std::move(create_memfd("samovar-test", bytes).value()), bytes).value()); }

// What the kernel has allocated for it.
std::uint64_t allocated_bytes(const Arena& arena) {
  struct stat status{};
  EXPECT_EQ(fstat(arena.fd(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// Whether there will be more to give back.
bool trim(Arena& arena, std::uint32_t pages_max = 1024) {
  const bool more = arena.end_period();
  while (const auto span = arena.take_stale(pages_max)) {
    EXPECT_LE(span->count, std::max(pages_max, kChunkPages));
    arena.punch(*span);
    arena.return_punched(*span);
  }
  return more;
}

TEST(Arena, costs_nothing_until_a_block_is_taken) {
  Arena arena = arena_of();
  EXPECT_EQ(allocated_bytes(arena), 0u);
  const auto block = arena.allocate(1);
  ASSERT_TRUE(block && *block);
  EXPECT_EQ(allocated_bytes(arena), kChunkBytes);
  EXPECT_EQ(arena.bytes_backed(), kChunkBytes);
  EXPECT_EQ(arena.bytes_in_use(), kPageBytes);
}

TEST(Arena, has_all_pages_of_a_block_before_it_is_written) {
  Arena arena = arena_of();
  ASSERT_TRUE(*arena.allocate(3 * kPageBytes));  // so that the next one begins inside of a chunk
  const std::uint64_t bytes = 5 * kChunkBytes + 1;
  const std::uint64_t offset = **arena.allocate(bytes);
  EXPECT_EQ(allocated_bytes(arena), arena.bytes_backed());
  std::memset(arena.at(offset), 1, bytes);
  EXPECT_EQ(allocated_bytes(arena), arena.bytes_backed()) << "writing needed no more";
}

// How much of the mapping that begins at `memory` lies in huge pages, as this process has it mapped.
std::uint64_t huge_bytes(const std::byte* memory) {
  std::ifstream smaps("/proc/self/smaps");
  char wanted[32];
  std::snprintf(wanted, sizeof wanted, "%lx-", reinterpret_cast<unsigned long>(memory));
  std::string line;
  while (std::getline(smaps, line) && !line.starts_with(wanted)) {
  }
  unsigned long kib = 0;
  while (std::getline(smaps, line) && std::sscanf(line.c_str(), "ShmemPmdMapped: %lu", &kib) != 1) {
  }
  return kib << 10;
}

// Whether this system puts pages of a memfd together when it is asked to.
bool system_collapses() {
  const UniqueFd fd = std::move(create_memfd("samovar-test", kHugePageBytes).value());
  const Segment segment = std::move(Segment::map(fd, kHugePageBytes, Access::read_write).value());
  return has_huge_pages() && collapse({segment.data(), static_cast<std::size_t>(kHugePageBytes)});
}

TEST(Arena, has_whole_huge_pages_of_a_block_where_the_system_gives_them) {
  Arena arena = arena_of(5 * kHugePageBytes);
  ASSERT_TRUE(*arena.allocate(kChunkBytes));  // so that the next one begins inside of a huge page
  const std::uint64_t bytes = 3 * kHugePageBytes + kPageBytes;
  const std::uint64_t offset = **arena.allocate(bytes);
  EXPECT_EQ(allocated_bytes(arena), arena.bytes_backed()) << "not a byte more for it";
  std::memset(arena.at(offset), 1, bytes);
  EXPECT_EQ(huge_bytes(arena.memory().data()), system_collapses() ? 2 * kHugePageBytes : 0);

  ASSERT_TRUE(arena.free(offset));
  while (trim(arena)) {
  }
  EXPECT_EQ(allocated_bytes(arena), kChunkBytes) << "they go back like others";
}

TEST(Arena, in_a_part_of_a_file_has_huge_pages_where_the_file_has_them) {
  const std::uint64_t at = 3 * kChunkBytes;  // a region behind one of odd size
  const std::uint64_t bytes = 2 * kHugePageBytes;
  UniqueFd fd = std::move(create_memfd("samovar-test", at + bytes).value());
  const Segment segment = std::move(Segment::map(fd, at + bytes, Access::read_write, Populate::no).value());
  Arena arena(std::move(fd), {segment.data() + at, static_cast<std::size_t>(bytes)}, at);
  ASSERT_EQ(**arena.allocate(bytes), 0u);
  EXPECT_EQ(allocated_bytes(arena), bytes);
  std::memset(arena.at(0), 1, bytes);
  EXPECT_EQ(huge_bytes(segment.data()), system_collapses() ? kHugePageBytes : 0);
}

TEST(Arena, gives_free_chunks_back_and_only_those) {
  Arena arena = arena_of();
  const std::uint64_t low = **arena.allocate(10 * kChunkBytes);
  const std::uint64_t middle = **arena.allocate(kPageBytes);
  const std::uint64_t high = **arena.allocate(10 * kChunkBytes);
  std::memset(arena.at(low), 1, 10 * kChunkBytes);
  std::memset(arena.at(middle), 2, kPageBytes);
  std::memset(arena.at(high), 3, 10 * kChunkBytes);
  ASSERT_TRUE(arena.free(low));
  ASSERT_TRUE(arena.free(high));

  while (trim(arena)) {
  }

  EXPECT_EQ(arena.bytes_backed(), kChunkBytes) << "the one that the block in use shares with the freed one behind it";
  EXPECT_EQ(allocated_bytes(arena), arena.bytes_backed());
  EXPECT_TRUE(std::all_of(arena.at(middle), arena.at(middle) + kPageBytes, [](std::byte b) { return b == std::byte{2}; }));
  EXPECT_EQ(**arena.allocate(10 * kChunkBytes), low) << "and it can be had again";
  EXPECT_EQ(*arena.at(low), std::byte{0});
}

TEST(Arena, keeps_what_the_last_two_periods_used) {
  Arena arena = arena_of();
  const auto use = [&](std::uint64_t bytes) { ASSERT_TRUE(arena.free(**arena.allocate(bytes))); };
  for (int period = 0; period < 5; ++period) {
    use(20 * kChunkBytes);
    EXPECT_TRUE(trim(arena));
    EXPECT_EQ(allocated_bytes(arena), 20 * kChunkBytes) << "steady traffic does not fault";
  }
  for (int period = 0; period < 2; ++period) {
    EXPECT_EQ(allocated_bytes(arena), 20 * kChunkBytes);
    use(5 * kChunkBytes);
    EXPECT_TRUE(trim(arena));
  }
  EXPECT_EQ(allocated_bytes(arena), 5 * kChunkBytes);
  while (trim(arena)) {
  }
  EXPECT_EQ(allocated_bytes(arena), 0u);
}

TEST(Arena, gives_nothing_back_that_is_in_use_again) {
  Arena arena = arena_of();
  const std::uint64_t offset = **arena.allocate(30 * kChunkBytes);
  ASSERT_TRUE(arena.free(offset));
  for (int period = 0; period < 2; ++period) EXPECT_TRUE(arena.end_period());
  EXPECT_FALSE(arena.end_period()) << "all of it is stale now";
  ASSERT_EQ(**arena.allocate(kPageBytes), offset);  // before anybody has taken it
  std::memset(arena.at(offset), 5, kPageBytes);
  while (const auto span = arena.take_stale(1024)) {
    EXPECT_GE(span->first, offset / kPageBytes + 1);
    arena.punch(*span);
    arena.return_punched(*span);
  }
  EXPECT_EQ(*arena.at(offset), std::byte{5});
}

TEST(Arena, a_block_held_for_long_is_kept_for_two_periods_when_it_is_freed) {
  Arena arena = arena_of();
  const std::uint64_t offset = **arena.allocate(10 * kChunkBytes);
  for (int period = 0; period < 5; ++period) EXPECT_FALSE(trim(arena));
  ASSERT_TRUE(arena.free(offset));
  EXPECT_TRUE(trim(arena));
  EXPECT_TRUE(trim(arena));
  EXPECT_EQ(arena.bytes_backed(), 10 * kChunkBytes);
  EXPECT_FALSE(trim(arena, 3));
  EXPECT_EQ(arena.bytes_backed(), 0u);
}

TEST(ChunkSet, agrees_with_a_model) {
  std::mt19937 random(5);
  ChunkSet set(300);
  std::vector<bool> model(300);
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t first = random() % 301, end = first + random() % (301 - first);
    const bool add = random() % 2 == 0;
    add ? set.insert(first, end) : set.erase(first, end);
    std::fill(model.begin() + static_cast<std::ptrdiff_t>(first), model.begin() + static_cast<std::ptrdiff_t>(end), add);
    const std::uint64_t from = random() % 301, to = from + random() % (301 - from);
    const auto begin = model.begin() + static_cast<std::ptrdiff_t>(from), stop = model.begin() + static_cast<std::ptrdiff_t>(to);
    ASSERT_EQ(set.contains_all(from, to), std::find(begin, stop, false) == stop);
    ASSERT_EQ(set.next(from, to), static_cast<std::uint64_t>(std::find(begin, stop, true) - model.begin()));
    ASSERT_EQ(set.size(), static_cast<std::uint64_t>(std::count(model.begin(), model.end(), true)));
  }
}

TEST(Arena, refuses_blocks_that_a_peer_made_up) {
  Arena arena = arena_of();
  const std::uint64_t offset = **arena.allocate(3 * kPageBytes);
  for (std::uint64_t wrong : {offset + 1, offset + kPageBytes, offset + 3 * kPageBytes, kBytes, kBytes + kPageBytes, UINT64_MAX}) {
    EXPECT_FALSE(arena.free(wrong)) << wrong;
  }
  EXPECT_TRUE(arena.free(offset));
  EXPECT_FALSE(arena.free(offset));
}

TEST(Arena, is_as_large_as_it_says) {
  Arena arena = arena_of();
  EXPECT_FALSE(*arena.allocate(kBytes + 1));
  EXPECT_FALSE(*arena.allocate(UINT64_MAX));
  const auto all = arena.allocate(kBytes);
  ASSERT_TRUE(*all);
  std::memset(arena.at(**all), 0xff, kBytes);
  EXPECT_FALSE(*arena.allocate(1));
}

TEST(Arena, reads_of_a_peer_stay_inside) {
  const std::vector<std::byte> memory(1000);
  EXPECT_EQ(block_at(memory, {0, 1000})->size(), 1000u);
  EXPECT_EQ(block_at(memory, {1000, 0})->size(), 0u);
  for (const BlockReference& wrong : {BlockReference{1, 1000}, {1001, 0}, {0, 1001}, {UINT64_MAX, 2}, {2, UINT64_MAX}, {500, UINT64_MAX - 400}}) {
    EXPECT_FALSE(block_at(memory, wrong)) << wrong.offset << " " << wrong.size;
  }
}

TEST(Arena, opened_read_only_cannot_be_written_by_its_holder) {
  const UniqueFd fd = std::move(create_memfd("samovar-test", kBytes).value());
  const UniqueFd reader = std::move(reopen_read_only(fd).value());
  const char byte = 1;
  EXPECT_EQ(pwrite(reader.get(), &byte, 1, 0), -1);
  EXPECT_EQ(fallocate(reader.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPageBytes), -1);
  EXPECT_EQ(ftruncate(reader.get(), 0), -1);
  EXPECT_EQ(mmap(nullptr, kPageBytes, PROT_WRITE, MAP_SHARED, reader.get(), 0), MAP_FAILED);
  void* mapped = mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, reader.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(mprotect(mapped, kPageBytes, PROT_READ | PROT_WRITE), -1);
  munmap(mapped, kPageBytes);
  EXPECT_EQ(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPageBytes), 0) << "the owner still can";
}

// --- releases ---------------------------------------------------------------------------------------------------------------

TEST(ReleaseRing, carries_every_number_once_and_in_order_round_and_round) {
  std::vector<ReleaseEntry> ring(kReleaseEntries);
  auto* memory = reinterpret_cast<std::byte*>(ring.data());
  std::atomic<std::uint64_t> count{0};
  ReleaseWriter writer(memory, count);
  ReleaseReader reader(memory, count);
  std::mt19937 random(3);
  std::uint64_t written = 0, read = 0;
  while (read < 5 * kReleaseEntries) {
    EXPECT_EQ(reader.has_news(), written != read);
    for (std::uint64_t n = random() % (kReleaseEntries - (written - read) + 1); n > 0; --n) writer.push(written++ * 7);
    ASSERT_EQ(reader.look(), written - read);
    for (std::uint64_t n = random() % (written - read + 1); n > 0; --n) {
      ASSERT_EQ(reader.front(), read++ * 7);
      reader.pop();
    }
  }
}

TEST(ReleaseRing, tells_of_a_count_that_cannot_be) {
  std::vector<ReleaseEntry> ring(kReleaseEntries);
  std::atomic<std::uint64_t> count{kReleaseEntries + 1};
  EXPECT_GT(ReleaseReader(reinterpret_cast<std::byte*>(ring.data()), count).look(), kReleaseEntries);
  count = UINT64_MAX;  // runs backwards
  EXPECT_GT(ReleaseReader(reinterpret_cast<std::byte*>(ring.data()), count).look(), kReleaseEntries);
}

}  // namespace
}  // namespace samovar::ipc
