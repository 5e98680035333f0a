#include "ipc/memory_policy.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <string>

#include "ipc/layout.h"

namespace samovar::ipc {
namespace {

constexpr int kNodesMax = 1024;  // as many as Linux can be built for
constexpr int kWordBits = std::numeric_limits<unsigned long>::digits;
constexpr unsigned long kMaskBits = kNodesMax + 1;  // what the kernel is told: it looks at one bit less

using NodeMask = std::array<unsigned long, kNodesMax / kWordBits>;

// False: there can be no such nodes.
bool mask_of(std::span<const int> nodes, NodeMask& mask) {
  mask.fill(0);
  for (const int node : nodes) {
    if (node < 0 || node >= kNodesMax) {
      errno = EINVAL;
      return false;
    }
    mask[static_cast<std::size_t>(node / kWordBits)] |= 1ul << (node % kWordBits);
  }
  return true;
}

std::string of_node(int node) { return "(MPOL_PREFERRED, node " + std::to_string(node) + ")"; }

}  // namespace

SystemResult<void> prefer_node(std::span<const std::byte> range, int node) {
  if (node == kAnyNode) return {};
  NodeMask mask;
  if (!mask_of({&node, 1}, mask) || syscall(SYS_mbind, range.data(), range.size(), MPOL_PREFERRED, mask.data(), kMaskBits, 0) != 0) {
    return system_error("mbind" + of_node(node));
  }
  return {};
}

SystemResult<void> prefer_node_for_this_thread(int node) {
  if (node == kAnyNode) return {};
  NodeMask mask;
  if (!mask_of({&node, 1}, mask) || syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.data(), kMaskBits) != 0) {
    return system_error("set_mempolicy" + of_node(node));
  }
  return {};
}

SystemResult<void> spread_over_nodes_for_this_thread(std::span<const int> nodes) {
  if (nodes.empty()) return {};
  NodeMask mask;
  if (!mask_of(nodes, mask) || syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, mask.data(), kMaskBits) != 0) {
    return system_error("set_mempolicy(MPOL_INTERLEAVE)");
  }
  return {};
}

int node_of_this_thread() {
  unsigned cpu = 0;
  unsigned node = 0;
  return getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : kAnyNode;  // through the vDSO
}

SystemResult<std::vector<int>> nodes_of_pages(int pid, std::span<const std::byte> range) {
  std::vector<const std::byte*> pages;
  for (std::size_t at = 0; at < range.size(); at += kPageBytes) pages.push_back(range.data() + at);
  std::vector<int> nodes(pages.size(), -ENOENT);
  // Without a list of nodes it moves nothing and only tells.
  if (syscall(SYS_move_pages, pid, pages.size(), pages.data(), nullptr, nodes.data(), 0) != 0) return system_error("move_pages");
  return nodes;
}

SystemResult<int> node_of_page(const std::byte* address) {
  int node = kAnyNode;
  if (syscall(SYS_get_mempolicy, &node, nullptr, 0, address, MPOL_F_NODE | MPOL_F_ADDR) != 0) return system_error("get_mempolicy");
  return node;
}

}  // namespace samovar::ipc
