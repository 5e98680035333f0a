#include "core/supervision/oom_kills.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <utility>

#include "core/supervision/cgroup.h"

namespace samovar::core {
namespace {

constexpr std::string_view kCount = "oom_kill";

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The file is looked for once: a process that is moved to another cgroup later counts there no more.
OomKills::Read read_kernel() {
  std::vector<std::string> files = oom_count_files(read_file("/proc/self/cgroup"));
  files.emplace_back("/proc/vmstat");
  for (std::string& path : files) {
    if (!count_in(read_file(path), kCount)) continue;
    return [path = std::move(path)] { return count_in(read_file(path), kCount).value_or(0); };
  }
  return [] { return std::uint64_t{0}; };
}

}  // namespace

OomKills::OomKills(Read read) : read_(std::move(read)) {}

OomKills::OomKills() : OomKills(read_kernel()) {}

bool OomKills::explain(std::uint64_t before) {
  if (unexplained() <= before) return false;
  ++explained_;
  return true;
}

std::vector<std::string> oom_count_files(std::string_view proc_self_cgroup) {
  std::vector<std::string> files;
  for (const CgroupFolder& folder : memory_cgroups(proc_self_cgroup)) {
    files.push_back(folder.path + (folder.version == CgroupVersion::v2 ? "/memory.events" : "/memory.oom_control"));
  }
  return files;
}

std::optional<std::uint64_t> count_in(std::string_view lines, std::string_view name) {
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string_view line = lines.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') continue;
    std::uint64_t count = 0;
    const char* begin = line.data() + name.size() + 1;
    if (std::from_chars(begin, line.data() + line.size(), count).ec == std::errc()) return count;
  }
  return std::nullopt;
}

}  // namespace samovar::core
