#include "core/supervision/memory_room.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

#include "core/supervision/cgroup.h"

namespace samovar::core {
namespace {

constexpr std::uint64_t kKeptFree = 20;  // one part in so many

// The number at the beginning of `text`, behind blanks; nothing where there is none ("max").
std::optional<std::uint64_t> number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return std::nullopt;
  return value;
}

// The number of the line that begins with `name`.
std::optional<std::uint64_t> number_of(std::string_view lines, std::string_view name) {
  for (std::size_t at = 0; at < lines.size(); at = std::min(lines.find('\n', at), lines.size() - 1) + 1) {
    if (lines.substr(at).starts_with(name)) return number(lines.substr(at + name.size()));
  }
  return std::nullopt;
}

std::optional<MemoryRoom> room_in(const CgroupFolder& folder, const ReadText& read) {
  const bool unified = folder.version == CgroupVersion::v2;
  const auto file = [&](const char* name) { return read(folder.path + "/" + name); };
  const auto in_use = number(file(unified ? "memory.current" : "memory.usage_in_bytes"));
  auto limit = number(file(unified ? "memory.max" : "memory.limit_in_bytes"));
  // Beyond memory.high nobody is killed, but everybody is made slow.
  if (const auto high = unified ? number(file("memory.high")) : std::nullopt) limit = std::min(limit.value_or(*high), *high);
  if (!limit || !in_use) return std::nullopt;
  const std::uint64_t droppable = number_of(file("memory.stat"), unified ? "inactive_file " : "total_inactive_file ").value_or(0);
  const std::uint64_t held = *in_use - std::min(*in_use, droppable);
  return MemoryRoom{.available = *limit - std::min(*limit, held), .total = *limit};
}

}  // namespace

MemoryRoom memory_room(const ReadText& read) {
  MemoryRoom least;
  const auto keep = [&](const MemoryRoom& room) {
    if (room.available < least.available) least = room;
  };
  const std::string machine = read("/proc/meminfo");
  const auto available = number_of(machine, "MemAvailable:");
  const auto total = number_of(machine, "MemTotal:");
  if (available && total) keep({.available = *available * 1024, .total = *total * 1024});

  for (CgroupFolder folder : memory_cgroups(read("/proc/self/cgroup"))) {
    constexpr std::string_view kMount = "/sys/fs/cgroup";
    while (folder.path.size() > kMount.size()) {  // the limits of those above hold, too
      if (const auto room = room_in(folder, read)) keep(*room);
      folder.path.erase(folder.path.rfind('/'));
    }
    if (const auto room = room_in(folder, read)) keep(*room);
  }
  return least;
}

MemoryRoom memory_room() {
  return memory_room([](const std::string& path) {
    std::ifstream file(path);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  });
}

std::uint32_t workers_that_fit(const MemoryRoom& room, std::uint64_t worker_bytes) {
  const std::uint64_t kept = room.total == UINT64_MAX ? 0 : room.total / kKeptFree;
  const std::uint64_t free = room.available - std::min(room.available, kept);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(free / std::max<std::uint64_t>(worker_bytes, 1), UINT32_MAX));
}

}  // namespace samovar::core
