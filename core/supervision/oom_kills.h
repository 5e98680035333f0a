// OOM kills: whether the kernel's out-of-memory killer was at work, for the words about a worker that died of SIGKILL.
//
// The kernel counts such kills and does not say of whom. A worker died so if the count has risen since its start by more than other
// workers account for. Counted are those of this process's memory cgroup, which its workers inherit; without one, the system's.
// Threads: the supervisor's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace samovar::core {

class OomKills {
 public:
  using Read = std::function<std::uint64_t()>;  // the kernel's count

  explicit OomKills(Read read);
  OomKills();

  // To be kept with a worker that is about to start.
  std::uint64_t unexplained() const { return read_() - explained_; }

  // Whether the SIGKILL of a worker that started when unexplained() was `before` is one of them. Each is that of one worker.
  bool explain(std::uint64_t before);

 private:
  Read read_;
  std::uint64_t explained_ = 0;
};

// The files that may have the count of this process's cgroup, best first, by what /proc/self/cgroup says. Pure.
std::vector<std::string> oom_count_files(std::string_view proc_self_cgroup);

// The number behind `name` in lines like "oom_kill 3". Pure.
std::optional<std::uint64_t> count_in(std::string_view lines, std::string_view name);

}  // namespace samovar::core
