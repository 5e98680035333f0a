// ChildProcess: a program with pipes to its stdin and from its stdout; its stderr is ours.
// Requires: SIGPIPE ignored, or writing to one that has gone ends us.
// Threads: one. A child that still runs is killed and reaped when this is destroyed.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <samovar/error.h>

namespace samovar::cli {

class ChildProcess {
 public:
  // `environment` is put before ours: "NAME=value". argv[0] is looked for in PATH.
  static Result<ChildProcess> start(const std::vector<std::string>& argv, const std::vector<std::string>& environment);

  ChildProcess(ChildProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        in_(std::exchange(other.in_, -1)),
        out_(std::exchange(other.out_, -1)),
        buffer_(std::move(other.buffer_)) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }

  // Blocks while the pipe is full. Fails: the child has closed its end.
  Result<void> write(std::span<const std::byte> data);
  void close_stdin();

  // The next line without its end. Blocks up to `timeout`. Fails: no line came in time, or the child ended.
  Result<std::string> read_line(std::chrono::milliseconds timeout);

  // Waits until the child has closed its stdout and ended. Blocks up to `timeout` for the former.
  // Fails: it did not, or its exit status is not 0.
  Result<void> finish(std::chrono::milliseconds timeout);

 private:
  ChildProcess(pid_t pid, int in, int out) : pid_(pid), in_(in), out_(out) {}

  // Appends what comes to buffer_; false at the end of the stream.
  Result<bool> read_more(std::chrono::steady_clock::time_point deadline);

  pid_t pid_;  // or -1 once reaped
  int in_;     // our end of its stdin; or -1 once closed
  int out_;    // our end of its stdout
  std::string buffer_;
};

}  // namespace samovar::cli
