// Child: a process with a pipe to its stdin and one from its stdout, read by lines. It ends when its stdin does.
// Requires: SIGPIPE is ignored.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/whole/pinning.h"
#include "ipc/unique_fd.h"

namespace samovar::bench {

class Child {
 public:
  // argv[0] is looked up in PATH. `cpu`: where it runs, what it starts too; -1: anywhere.
  static Made<std::unique_ptr<Child>> start(std::vector<std::string> argv, int cpu);
  ~Child();  // closes its stdin, gives it two seconds, kills it; reaps
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Blocks while the pipe is full. False: it is gone.
  bool write(std::string_view bytes);

  // The next line without its end, valid until the next call. Blocks, with one read and nothing else: it is measured.
  // False: it is gone.
  bool read_line(std::string_view& line);

  // The rest of its output, after its stdin was closed, and its exit status. Blocks.
  Made<std::string> finish();

  pid_t pid() const { return pid_; }

 private:
  Child(pid_t pid, ipc::UniqueFd to, ipc::UniqueFd from) : pid_(pid), to_(std::move(to)), from_(std::move(from)) {}

  pid_t pid_;
  ipc::UniqueFd to_;
  ipc::UniqueFd from_;
  std::string buffer_;
  std::size_t taken_ = 0;  // of buffer_, by the last line
};

}  // namespace samovar::bench
