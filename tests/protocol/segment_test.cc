// The kernel's side of "one writer per page": every way round the seals is tried, here and in another process.
#include "ipc/segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "ipc/channel.h"
#include "ipc/huge_pages.h"

namespace samovar::ipc {
namespace {

constexpr std::uint64_t kBytes = 8192;

// Runs `body` in a forked child and returns its exit status (or 1000 + signal).
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// Every way to write to the file behind `fd`. Returns the number of the first that succeeds, or 0.
int ways_to_write(int fd) {
  if (void* at = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); at != MAP_FAILED) return 1;
  void* read_only = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0);
  if (read_only == MAP_FAILED) return 2;
  if (mprotect(read_only, kBytes, PROT_READ | PROT_WRITE) == 0) return 3;
  munmap(read_only, kBytes);
  if (pwrite(fd, "x", 1, 0) >= 0) return 4;
  if (int again = open(proc_path(fd).c_str(), O_RDWR); again >= 0) {  // opening is allowed; nothing follows from it
    if (mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED) return 5;
    if (pwrite(again, "x", 1, 0) >= 0) return 6;
    close(again);
  }
  if (open(proc_path(fd).c_str(), O_WRONLY | O_TRUNC) >= 0) return 7;
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) return 8;
  return 0;
}

bool can_resize(int fd) {
  struct stat status{};
  if (fstat(fd, &status) != 0) return true;
  return ftruncate(fd, status.st_size - 4096) == 0 || ftruncate(fd, status.st_size + 4096) == 0 ||
         fallocate(fd, 0, 0, status.st_size + 4096) == 0;
}

struct Sealed {
  UniqueFd fd = std::move(*create_memfd("test", kBytes));
  Segment mine = std::move(*Segment::map(fd, kBytes, Access::read_write));
  Sealed() {
    EXPECT_TRUE(seal_future_write(fd));
    EXPECT_TRUE(seal_seals(fd));
  }
};

TEST(Segment, is_zeroed_and_of_its_size) {
  const auto fd = create_memfd("test", kBytes);
  ASSERT_TRUE(fd);
  struct stat status;
  ASSERT_EQ(fstat(fd->get(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kBytes));
  EXPECT_NE(fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
  const auto segment = Segment::map(*fd, kBytes, Access::read_only);
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->size(), kBytes);
  for (std::uint64_t i = 0; i < kBytes; ++i) ASSERT_EQ(segment->data()[i], std::byte{0});
}

TEST(Segment, can_neither_shrink_nor_grow) {
  const auto fd = create_memfd("test", kBytes);
  ASSERT_TRUE(fd);
  EXPECT_FALSE(can_resize(fd->get()));
  EXPECT_EQ(in_child([&] { return can_resize(fd->get()); }), 0);
}

TEST(Segment, sealed_by_the_host_cannot_be_written_through_its_descriptor) {
  Sealed sealed;
  EXPECT_EQ(ways_to_write(sealed.fd.get()), 0);
}

TEST(Segment, sealed_by_the_host_cannot_be_written_by_another_process) {
  Sealed sealed;
  EXPECT_EQ(in_child([&] { return ways_to_write(sealed.fd.get()); }), 0);
  EXPECT_EQ(sealed.mine.data()[0], std::byte{0});
}

TEST(Segment, the_host_itself_still_writes_and_the_reader_sees_it) {
  Sealed sealed;
  const auto theirs = Segment::map(sealed.fd, kBytes, Access::read_only);
  ASSERT_TRUE(theirs);
  sealed.mine.data()[5000] = std::byte{42};
  EXPECT_EQ(theirs->data()[5000], std::byte{42});
}

TEST(Segment, a_reader_that_writes_dies_of_it) {
  Sealed sealed;
  const auto theirs = Segment::map(sealed.fd, kBytes, Access::read_only);
  ASSERT_TRUE(theirs);
  EXPECT_EQ(in_child([&] {
              signal(SIGSEGV, SIG_DFL);  // AddressSanitizer's handler would exit instead
              *const_cast<volatile std::byte*>(theirs->data()) = std::byte{1};
              return 0;
            }),
            1000 + SIGSEGV);
}

TEST(Segment, a_sealed_memfd_takes_no_further_seal) {
  Sealed sealed;
  EXPECT_EQ(fcntl(sealed.fd.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(Segment, an_unsealed_memfd_is_writable_so_the_tests_above_prove_something) {
  const auto fd = create_memfd("test", kBytes);
  ASSERT_TRUE(fd);
  EXPECT_EQ(in_child([&] { return ways_to_write(fd->get()); }), 1);
}

TEST(Segment, smaller_than_announced_is_refused) {
  const auto fd = create_memfd("test", kBytes);
  ASSERT_TRUE(fd);
  const auto segment = Segment::map(*fd, kBytes + 4096, Access::read_only);
  ASSERT_FALSE(segment);
  EXPECT_EQ(segment.error().error, EINVAL);
}

// Pages of address space.
std::uint64_t address_space() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages;
}

TEST(Segment, of_megabytes_begins_where_a_huge_page_does_and_takes_no_more_room) {
  const std::uint64_t bytes = 2 * kHugePageBytes + 4096;
  const auto fd = create_memfd("test", bytes);
  ASSERT_TRUE(fd);
  const std::uint64_t before = address_space();
  for (const Access access : {Access::read_only, Access::read_write}) {
    const auto segment = Segment::map(*fd, bytes, access, Populate::no);
    ASSERT_TRUE(segment);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(segment->data()) % kHugePageBytes, 0u);
    EXPECT_EQ(segment->size(), bytes);
    EXPECT_LE(address_space() - before, bytes / 4096 + 64) << "and what the heap has grown by";
  }
  const UniqueFd read_only = std::move(reopen_read_only(*fd).value());
  const auto refused = Segment::map(read_only, bytes, Access::read_write, Populate::no);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error, EACCES);
  EXPECT_LE(address_space() - before, 64u);
}

TEST(Segment, of_a_bad_descriptor_is_an_error_with_a_reason) {
  const auto segment = Segment::map(UniqueFd(), kBytes, Access::read_only);
  ASSERT_FALSE(segment);
  EXPECT_EQ(segment.error().error, EBADF);
  EXPECT_NE(segment.error().to_string().find("Bad file descriptor"), std::string::npos);
}

TEST(Segment, seal_future_write_notices_where_the_seal_cannot_be_set) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));  // without MFD_ALLOW_SEALING
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  EXPECT_FALSE(seal_future_write(fd));
  EXPECT_FALSE(seal_seals(fd));
}

// The VmFlags line of the mapping at `address`: "dc" is dont-copy (fork), "dd" dont-dump.
std::string vm_flags(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  char wanted[32];
  std::snprintf(wanted, sizeof wanted, "%lx-", reinterpret_cast<unsigned long>(address));
  std::string line;
  bool here = false;
  while (std::getline(smaps, line)) {
    if (line.find('-') != std::string::npos && line.find(':') > line.find(' ')) here = line.starts_with(wanted);
    if (here && line.starts_with("VmFlags:")) return line;
  }
  return "not mapped";
}

TEST(Segment, writable_mappings_are_neither_copied_to_children_nor_dumped) {
  const auto fd = create_memfd("test", kBytes);
  const auto writable = Segment::map(*fd, kBytes, Access::read_write);
  const auto read_only = Segment::map(*fd, kBytes, Access::read_only);
  ASSERT_TRUE(writable && read_only);
  EXPECT_NE(vm_flags(writable->data()).find(" dc"), std::string::npos) << vm_flags(writable->data());
  EXPECT_NE(vm_flags(writable->data()).find(" dd"), std::string::npos) << vm_flags(writable->data());
  // In the child the pages are simply not there.
  const int of_writable = in_child([&] {
    unsigned char resident[2];
    return mincore(writable->data(), kBytes, resident) == -1 && errno == ENOMEM ? 0 : 1;
  });
  EXPECT_EQ(of_writable, 0);
  const int of_read_only = in_child([&] {
    unsigned char resident[2];
    return mincore(read_only->data(), kBytes, resident) == 0 ? 0 : 1;
  });
  EXPECT_EQ(of_read_only, 0);
}

// --- what a channel hands over -------------------------------------------------------------------------------------------

TEST(Segment, of_a_channel_the_worker_can_write_its_own_and_not_the_hosts) {
  auto channel = HostEnd::create({.lane_bytes = 4096, .payload_bytes_max = 512});
  ASSERT_TRUE(channel);
  const std::vector<int> fds = (*channel)->fds_for_worker(-1);
  EXPECT_EQ(in_child([&] { return ways_to_write(fds[kFdHostSegment]); }), 0);
  EXPECT_EQ(in_child([&] { return can_resize(fds[kFdHostSegment]); }), 0);
  EXPECT_EQ(in_child([&] { return ways_to_write(fds[kFdWorkerSegment]); }), 1);
  EXPECT_EQ(in_child([&] { return can_resize(fds[kFdWorkerSegment]); }), 0) << "the host would die of SIGBUS";
  EXPECT_EQ(in_child([&] { return fcntl(fds[kFdWorkerSegment], F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0; }), 0);
  EXPECT_EQ(in_child([&] { return ways_to_write(fds[kFdResponseArena]); }), 1);
  EXPECT_EQ(in_child([&] { return can_resize(fds[kFdResponseArena]); }), 0);
}

TEST(Segment, of_a_channel_the_host_maps_the_workers_read_only) {
  auto channel = HostEnd::create({.lane_bytes = 4096, .payload_bytes_max = 512});
  ASSERT_TRUE(channel);
  EXPECT_EQ(vm_flags((*channel)->worker_memory()).find(" wr"), std::string::npos);
  EXPECT_NE(vm_flags((*channel)->host_memory()).find(" wr"), std::string::npos);
}

TEST(Segment, of_a_channel_the_descriptors_are_closed_once_handed_over) {
  auto channel = HostEnd::create({.lane_bytes = 4096, .payload_bytes_max = 512});
  ASSERT_TRUE(channel);
  const std::vector<int> fds = (*channel)->fds_for_worker(-1);
  (*channel)->close_segment_fds();
  EXPECT_EQ(fcntl(fds[kFdHostSegment], F_GETFD), -1);
  EXPECT_EQ(fcntl(fds[kFdWorkerSegment], F_GETFD), -1);
  EXPECT_EQ(fcntl(fds[kFdResponseArena], F_GETFD), -1);
  EXPECT_GE(fcntl(fds[kFdEvent], F_GETFD), 0);
}

}  // namespace
}  // namespace samovar::ipc
