#include "python_ext/native/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "ipc/clock.h"
#include "ipc/huge_pages.h"
#include "ipc/layout.h"

namespace samovar::python {
namespace {

constexpr std::uintptr_t kHugeBytes = ipc::kHugePageBytes;
constexpr std::size_t kPages = kHugeBytes / ipc::kPageBytes;
constexpr std::size_t kPresentMin = kPages / 8 * 7;
constexpr std::uintptr_t kMappingBytesMin = 2 * kHugeBytes;  // a light module has few of them, and forks in no time
constexpr std::uintptr_t kStepBytes = 16 * kHugeBytes;  // each system call waits for all CPUs once; the time is looked at between two

struct Range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;

  std::uintptr_t size() const { return end - begin; }
};

// Private memory that belongs to no file, the longest mapping first.
std::vector<Range> anonymous_mappings() {
  std::vector<Range> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    Range range;
    std::array<char, 5> mode{};
    unsigned long long inode = 0;
    int name_at = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %*x %*s %llu %n", &range.begin, &range.end, mode.data(), &inode, &name_at) != 4) continue;
    const std::string name = line.substr(static_cast<std::size_t>(name_at));
    const bool is_anonymous = inode == 0 && (name.empty() || name == "[heap]" || name.starts_with("[anon"));
    if (is_anonymous && range.size() >= kMappingBytesMin && std::strcmp(mode.data(), "rw-p") == 0) found.push_back(range);
  }
  std::sort(found.begin(), found.end(), [](const Range& a, const Range& b) { return a.size() > b.size(); });
  return found;
}

// Whether the 2 MiB at `at` are mostly in memory: holes would be filled.
bool is_dense(std::uintptr_t at) {
  std::array<unsigned char, kPages> pages;
  if (mincore(reinterpret_cast<void*>(at), kHugeBytes, pages.data()) != 0) return false;
  return static_cast<std::size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; })) >= kPresentMin;
}

// The next stretch of dense memory in [from, end), no longer than a step; empty: there is none.
Range next_dense(std::uintptr_t from, std::uintptr_t end) {
  Range range{from, from};
  for (std::uintptr_t at = from; at + kHugeBytes <= end && range.size() < kStepBytes; at += kHugeBytes) {
    if (is_dense(at)) {
      if (range.size() == 0) range.begin = at;
      range.end = at + kHugeBytes;
    } else if (range.size() > 0) {
      break;
    }
  }
  return range;
}

std::uint64_t collapse_until(std::int64_t deadline_ns) {
  std::uint64_t collapsed = 0;
  for (const Range& mapping : anonymous_mappings()) {
    std::uintptr_t from = (mapping.begin + kHugeBytes - 1) / kHugeBytes * kHugeBytes;
    for (Range range = next_dense(from, mapping.end); range.size() > 0; range = next_dense(range.end, mapping.end)) {
      if (ipc::now_ns() >= deadline_ns) return collapsed;
      if (ipc::collapse({reinterpret_cast<std::byte*>(range.begin), range.size()})) {
        collapsed += range.size();
      } else if (errno == ENOMEM || errno == EBUSY) {  // there is no memory for them
        return collapsed;
      }
    }
  }
  return collapsed;
}

}  // namespace

PyObject* collapse_pages(PyObject*, PyObject* seconds) {
  const double allowed = PyFloat_AsDouble(seconds);
  if (allowed == -1.0 && PyErr_Occurred() != nullptr) return nullptr;
  try {
    const std::int64_t deadline_ns = ipc::in(static_cast<std::int64_t>(allowed * 1e9));
    return PyLong_FromUnsignedLongLong(ipc::has_huge_pages() ? collapse_until(deadline_ns) : 0);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

}  // namespace samovar::python
