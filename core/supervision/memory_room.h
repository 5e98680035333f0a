// MemoryRoom: how much memory a further worker could still take: of the machine, and of each memory cgroup that this process is in.
//
// Threads: any; each reading is made anew. It costs a few files of /proc and /sys (some 50 us), so it is made where a worker is
// wanted, not at each look.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace samovar::core {

struct MemoryRoom {
  std::uint64_t available = UINT64_MAX;  // bytes; where nothing can be read, all there is
  std::uint64_t total = UINT64_MAX;      // of the machine or the cgroup that leaves the least
};

// The text of a file, empty where there is none.
using ReadText = std::function<std::string(const std::string& path)>;

// The least that any of them leaves: MemAvailable of /proc/meminfo; of this process's memory cgroup and those above it the limit less
// what is in use, but for file pages that the kernel would drop. Pure but for `read`.
MemoryRoom memory_room(const ReadText& read);

// The same, of this machine.
MemoryRoom memory_room();

// How many workers of so many bytes find room, when a twentieth of all is kept free. `worker_bytes` 0: as many as one likes.
std::uint32_t workers_that_fit(const MemoryRoom& room, std::uint64_t worker_bytes);

}  // namespace samovar::core
