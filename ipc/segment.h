// Segment: a memfd of fixed size, mapped through Boost.Interprocess. One side may write it; the kernel keeps the other from it.
//
// Writable mappings are MADV_DONTFORK (a child would outlive the proof of our death) and MADV_DONTDUMP. Owns the mapping; the
// descriptor is the caller's, to be handed to the peer and closed.
#pragma once

#include <cstddef>
#include <cstdint>

#include <boost/interprocess/mapped_region.hpp>

#include "ipc/memory_policy.h"
#include "ipc/result.h"
#include "ipc/unique_fd.h"

namespace samovar::ipc {

enum class Access { read_only, read_write };

// Whether all pages are mapped at once, which spares the first uses their faults; no for what is sparse.
enum class Populate { yes, no };

// Where new pages of a mapping shall come from, if anywhere: prefer_node(). That the kernel refuses it fails nothing.
struct OnNode {
  int node = kAnyNode;
};

class Segment {
 public:
  // Maps all `bytes` of `fd`. Fails: the kernel refuses, or the memfd is smaller.
  static SystemResult<Segment> map(const UniqueFd& fd, std::uint64_t bytes, Access access, Populate populate = Populate::yes,
                                   OnNode on = {});

  std::byte* data() const { return static_cast<std::byte*>(region_.get_address()); }
  std::uint64_t size() const { return region_.get_size(); }

 private:
  boost::interprocess::mapped_region region_;
};

// A zeroed memfd that can neither shrink nor grow. `name` shows in /proc/PID/maps.
SystemResult<UniqueFd> create_memfd(const char* name, std::uint64_t bytes);

// A second descriptor of a memfd, which can only be mapped read-only: not mapped writable, written or punched by its holder.
SystemResult<UniqueFd> reopen_read_only(const UniqueFd& fd);

// From here on nobody can map it writable or write to it; mappings that exist stay writable.
// Fails with EPERM where a writable mapping is possible all the same: the seal is tried, not assumed.
SystemResult<void> seal_future_write(const UniqueFd& fd);

// From here on no seal can be added: the peer cannot take away our means.
SystemResult<void> seal_seals(const UniqueFd& fd);

}  // namespace samovar::ipc
