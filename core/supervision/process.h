// Process: one child, started with posix_spawn or forked by a nursery, proven dead by its pidfd.
//
// The child begins with a clean signal mask and dispositions, stdin from /dev/null, stdout and stderr on one pipe, one
// inherited socket, no other descriptor, and a process group of its own. Reaping tolerates a host that ignores SIGCHLD or
// reaps everything itself: then the exit status is unknown, the death is not.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ipc/result.h"
#include "ipc/unique_fd.h"

namespace samovar::core {

inline constexpr int kInheritedSocket = 3;

struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is looked up by the caller: a path
  std::vector<std::pair<std::string, std::string>> environment;  // over the host's own
  int socket = -1;                // becomes kInheritedSocket
  int output = -1;                // becomes stdout and stderr
};

struct ExitStatus {
  std::optional<int> code;    // exit code
  std::optional<int> signal;  // or the signal that killed it; neither: unknown, somebody else has reaped it
  bool out_of_memory = false;  // that signal was the kernel's, which needed its memory

  std::string to_string() const;  // "exited with status 3", "was killed by signal 9 (Killed)", "ended (status unknown)"
};

// Who has forked processes for this one. It knows how they ended, and keeps a dead one unreaped, its number its own, until bury().
class Parent {
 public:
  virtual ~Parent() = default;

  // Of the child `number`, which has ended. Unknown where nobody says so. Blocks for a moment at most.
  virtual ExitStatus exit_status(std::uint64_t number, pid_t pid) = 0;

  virtual bool is_alive() const = 0;  // else its dead children have been reaped by somebody, or will be
  virtual void bury(std::uint64_t number) = 0;
};

class Process {
 public:
  Process() = default;
  static ipc::SystemResult<Process> spawn(const SpawnOptions& options);
  static Process adopt(std::shared_ptr<Parent> parent, std::uint64_t number, pid_t pid, ipc::UniqueFd pidfd);

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  explicit operator bool() const { return static_cast<bool>(pidfd_); }

  void signal(int signal) const;        // this process; never another one that got its number
  void signal_group(int signal) const;  // and its children that stayed in its group. Requires: not yet buried

  void await_end() const;  // blocks

  // How it ended. It stays to be buried. Requires: the pidfd polls readable. Blocks as Parent::exit_status() does, else not.
  ExitStatus exit_status() const;

  // Kills what is left of its group, its children, and reaps it. Requires: as exit_status(). May take long: the kernel throws its /proc
  // entries away in the caller's time, against all who look there just then (20 s were seen under two loops over /proc).
  void bury_group();

 private:
  pid_t pid_ = -1;
  ipc::UniqueFd pidfd_;
  std::shared_ptr<Parent> parent_;  // null: this process
  std::uint64_t number_ = 0;        // with its parent
};

}  // namespace samovar::core
