// Processes: what /proc tells of this process and of others. For tests that look for what is left behind.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace samovar::test {

// A process that has not ended; a zombie has.
bool is_alive(pid_t pid);

// 'R', 'S', 'T' (stopped), 'Z' and so on, as in proc(5); '\0' where there is no such process.
char state_of(pid_t pid);

// Children that have not been reaped, of any thread of the process.
std::vector<pid_t> children_of(pid_t pid);

// The workers of a host's pools: its children, and those of its nurseries in their place. Those that died are among them until
// they are reaped.
std::vector<pid_t> workers_of(pid_t host);
std::vector<pid_t> nurseries_of(pid_t host);

std::vector<pid_t> group_members(pid_t group);  // alive

std::vector<std::string> open_descriptors();  // "7 anon_inode:[eventpoll]", of this process, in order
std::size_t thread_count();                   // of this process
std::uint64_t resident_bytes(pid_t pid);
std::uint64_t resident_shared_bytes(pid_t pid);  // of memfds and other shared memory
double cpu_seconds(pid_t pid);  // user and system time of all its threads

// What a pool may not leave behind. Two of them are equal where it has not.
struct Footprint {
  std::vector<std::string> descriptors;
  std::vector<pid_t> children;
  std::size_t threads = 0;

  static Footprint now();
  friend bool operator==(const Footprint&, const Footprint&) = default;
  std::string to_string() const;
};

}  // namespace samovar::test
