// Huge pages: one entry of a page table for 2 MiB instead of 512. Reading or writing megabytes takes a third to a half less time
// where the entries of small pages do not fit into the TLB, least of all in a virtual machine, which looks each up in two tables.
//
// Memory of a memfd gets none by itself (shmem_enabled is "never" nearly everywhere), so it is asked for. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace samovar::ipc {

inline constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20;

// Whether the system has such, and its administrator allows them (/sys/kernel/mm/transparent_hugepage/enabled is not "never").
bool has_huge_pages();

// Puts the small pages of `range` together, and fills what is missing among them. False, with errno, where not all of it could be had
// (Linux before 6.1, no memory in one piece): what is there serves as before. Requires: whole huge pages, each with a small one present.
bool collapse(std::span<std::byte> range);

}  // namespace samovar::ipc
