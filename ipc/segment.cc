#include "ipc/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "ipc/huge_pages.h"
#include "ipc/layout.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace samovar::ipc {
namespace {

namespace bip = boost::interprocess;

// What mapped_region asks of a thing to be mapped.
class Mappable {
 public:
  Mappable(int fd, bip::mode_t mode) : fd_(fd), mode_(mode) {}
  bip::mapping_handle_t get_mapping_handle() const { return bip::ipcdetail::mapping_handle_from_file_handle(fd_); }
  bip::mode_t get_mode() const { return mode_; }

 private:
  int fd_;
  bip::mode_t mode_;
};

// Address space that begins where a huge page does, for whoever maps over it; null where there is none. Huge pages of the file lie at
// multiples of their size, and are mapped as such where those of the mapping do, too.
std::byte* reserve_for_huge_pages(std::uint64_t bytes) {
  const std::uint64_t room = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  void* reserved = mmap(nullptr, room + kHugePageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(reserved);
  const std::uint64_t before = -reinterpret_cast<std::uintptr_t>(reserved) % kHugePageBytes;
  if (before != 0) munmap(begin, before);
  munmap(begin + before + room, kHugePageBytes - before);
  return begin + before;
}

}  // namespace

SystemResult<Segment> Segment::map(const UniqueFd& fd, std::uint64_t bytes, Access access, Populate populate, OnNode on) {
  struct stat status;
  if (fstat(fd.get(), &status) != 0) return system_error("fstat of a segment");
  if (static_cast<std::uint64_t>(status.st_size) < bytes) {
    errno = EINVAL;  // pages past the end would be a SIGBUS
    return system_error("segment smaller than announced");
  }
  Segment segment;
  const bool writable = access == Access::read_write;
  std::byte* const at = bytes >= kHugePageBytes ? reserve_for_huge_pages(bytes) : nullptr;
  try {
    segment.region_ = bip::mapped_region(Mappable(fd.get(), writable ? bip::read_write : bip::read_only), writable ? bip::read_write : bip::read_only,
                                         0, bytes, at, at != nullptr ? MAP_FIXED : bip::default_map_options);
  } catch (const bip::interprocess_exception& error) {
    if (at != nullptr) munmap(at, bytes);
    errno = error.get_native_error();
    return system_error("mmap of a segment");
  }
  if (writable) {
    if (madvise(segment.data(), bytes, MADV_DONTFORK) != 0) return system_error("madvise(MADV_DONTFORK)");
    if (madvise(segment.data(), bytes, MADV_DONTDUMP) != 0) return system_error("madvise(MADV_DONTDUMP)");
  }
  (void)prefer_node({segment.data(), static_cast<std::size_t>(bytes)}, on.node);  // before the first touch, which follows
  // Kernels before 5.14 do not know it, and then the first calls fault.
  if (populate == Populate::yes) madvise(segment.data(), bytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  return segment;
}

SystemResult<UniqueFd> create_memfd(const char* name, std::uint64_t bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return system_error(std::string("memfd_create(") + name + ")");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return system_error(std::string("ftruncate of ") + name);
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) return system_error(std::string("sealing the size of ") + name);
  return fd;
}

SystemResult<UniqueFd> reopen_read_only(const UniqueFd& fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  UniqueFd reopened(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!reopened) return system_error("open of " + path + " (an arena, read-only; is /proc mounted?)");
  void* mapping = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, reopened.get(), 0);
  if (mapping == MAP_FAILED) return reopened;
  munmap(mapping, kPageBytes);
  errno = EPERM;
  return system_error("an arena that was opened read-only could be mapped writable");
}

SystemResult<void> seal_future_write(const UniqueFd& fd) {
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) return system_error("F_SEAL_FUTURE_WRITE (needs Linux 5.1)");
  void* mapping = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapping == MAP_FAILED) return {};
  munmap(mapping, kPageBytes);
  errno = EPERM;
  return system_error("F_SEAL_FUTURE_WRITE does not hold: a sealed memfd could be mapped writable");
}

SystemResult<void> seal_seals(const UniqueFd& fd) {
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL) != 0) return system_error("F_SEAL_SEAL");
  return {};
}

}  // namespace samovar::ipc
