// Memory policy: on which NUMA node pages come to lie. System calls of Linux alone; there is no libnuma in this.
//
// A node is preferred, never demanded: where it has no memory left, pages come from another one. A policy that demands would make
// a full node a failure, or a SIGBUS. `node` is the kernel's number; kAnyNode asks for nothing and makes no system call.
// Threads: any.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ipc/result.h"

namespace samovar::ipc {

inline constexpr int kAnyNode = -1;

// From here on untouched pages of `range` come from `node`. Of a mapped memfd this is the policy of the file: it holds for whoever
// touches the page first, in whichever process, and for fallocate().
// Requires: `range` begins on a page. Fails: EPERM (seccomp, as containers have it), ENOSYS, EINVAL (there is no such node).
SystemResult<void> prefer_node(std::span<const std::byte> range, int node);

// The same for what this thread touches first, and for threads and processes that it starts, where a range has no policy of its own.
SystemResult<void> prefer_node_for_this_thread(int node);

// Likewise, from all of `nodes` by turns: of pages that processes on different nodes will share. Empty: nothing.
SystemResult<void> spread_over_nodes_for_this_thread(std::span<const int> nodes);

// The node of the CPU that this thread runs on, or kAnyNode. It may be elsewhere at once. Costs no system call.
int node_of_this_thread();

// Where the pages of `range` in process `pid` (0: this one) lie: a node for each, or a negative errno, ENOENT where there is none yet.
// Pages that the process has not touched itself count as none. Requires: `range` begins on a page.
SystemResult<std::vector<int>> nodes_of_pages(int pid, std::span<const std::byte> range);

// The node that the page of `address` of this process lies on. Touches it.
SystemResult<int> node_of_page(const std::byte* address);

}  // namespace samovar::ipc
