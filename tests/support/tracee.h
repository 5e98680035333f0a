// Tracee: the main thread of a process, under ptrace: stepped by instructions or stopped at its system calls. The process's
// other threads run on meanwhile.
//
// Threads: the one that made it, for ptrace belongs to a thread; when that ends, so does the process. While the thread is
// stopped another may kill the process, and its parent reaps it as ever: a Tracee takes no exit status.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace samovar::test {

// Why this process may not trace its children (a container's rules, Yama); empty where it may.
std::string why_no_tracing();

// Where a module's code is mapped in a process: what /proc/PID/maps says of the first path that contains `name`.
struct CodeRange {
  std::uint64_t module = 0;  // where the module's file begins in memory
  std::uint64_t begin = 0;   // of its executable part
  std::uint64_t end = 0;

  bool contains(std::uint64_t address) const { return address >= begin && address < end; }
};
CodeRange code_range(pid_t pid, const std::string& name);  // empty where there is none

class Tracee {
 public:
  // Stops the thread, wherever it is; one that waits in the kernel is interrupted and will wait again.
  // Throws std::system_error.
  explicit Tracee(pid_t pid);
  ~Tracee();  // lets it run on
  Tracee(const Tracee&) = delete;
  Tracee& operator=(const Tracee&) = delete;

  pid_t pid() const { return pid_; }

  // One instruction; a system call is one, too. False: the process has ended. Blocks as long as that system call.
  bool step();

  // To the next beginning or end of a system call. False: the process has ended. Blocks.
  bool to_system_call();

  std::uint64_t instruction() const;  // the address of the next one
  bool is_at_system_call() const;     // whether that is a system call

  void kill();      // SIGKILL, to the process; what it was about to do it does not
  void stop();      // leaves it stopped as by SIGSTOP, and traces it no more
  void let_run();   // traces it no more

 private:
  bool resume(int request);

  pid_t pid_;
  bool traced_ = true;
  int signal_ = 0;  // to be delivered when it goes on
};

}  // namespace samovar::test
