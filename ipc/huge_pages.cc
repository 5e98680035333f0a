#include "ipc/huge_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "ipc/layout.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace samovar::ipc {

bool has_huge_pages() {
  std::ifstream size_file("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
  std::ifstream enabled_file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::uint64_t size = 0;
  std::string enabled;
  return size_file >> size && size == kHugePageBytes && sysconf(_SC_PAGESIZE) == static_cast<long>(kPageBytes) &&
         std::getline(enabled_file, enabled) && enabled.find("[never]") == enabled.npos;
}

bool collapse(std::span<std::byte> range) { return madvise(range.data(), range.size(), MADV_COLLAPSE) == 0; }

}  // namespace samovar::ipc
