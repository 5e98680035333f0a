#include "tools/cli/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "tools/cli/failure.h"

extern char** environ;

namespace samovar::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  int read = -1;
  int write = -1;
};

void close_both(const Pipe& pipe) {
  if (pipe.read >= 0) close(pipe.read);
  if (pipe.write >= 0) close(pipe.write);
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  return pointers;
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
  Pipe to_child;
  Pipe from_child;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) == 0) to_child = {ends[0], ends[1]};
  if (to_child.read >= 0 && pipe2(ends, O_CLOEXEC) == 0) from_child = {ends[0], ends[1]};
  if (from_child.read < 0) {
    const int why = errno;
    close_both(to_child);
    return tl::unexpected(system_error("cannot make a pipe", why));
  }

  std::vector<std::string> arguments = argv;
  std::vector<std::string> additions = environment;
  std::vector<char*> argument_pointers = pointers_to(arguments);
  std::vector<char*> environment_pointers = pointers_to(additions);
  argument_pointers.push_back(nullptr);
  for (char** entry = environ; *entry; ++entry) environment_pointers.push_back(*entry);
  environment_pointers.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child.read, STDIN_FILENO);  // dup2 drops CLOEXEC
  posix_spawn_file_actions_adddup2(&actions, from_child.write, STDOUT_FILENO);
  pid_t pid = -1;
  const int failure =
      posix_spawnp(&pid, argument_pointers[0], &actions, nullptr, argument_pointers.data(), environment_pointers.data());
  posix_spawn_file_actions_destroy(&actions);
  close(to_child.read);
  close(from_child.write);
  if (failure != 0) {
    close(to_child.write);
    close(from_child.read);
    return tl::unexpected(system_error("cannot start " + argv[0], failure));
  }
  return ChildProcess(pid, to_child.write, from_child.read);
}

ChildProcess::~ChildProcess() {
  if (in_ >= 0) close(in_);
  if (out_ >= 0) close(out_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

Result<void> ChildProcess::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t written = ::write(in_, data.data(), data.size());
    if (written >= 0) {
      data = data.subspan(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      return tl::unexpected(system_error("cannot write to the Python process", errno));
    }
  }
  return {};
}

void ChildProcess::close_stdin() {
  if (in_ >= 0) close(std::exchange(in_, -1));
}

Result<bool> ChildProcess::read_more(Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd readable{.fd = out_, .events = POLLIN, .revents = 0};
    const int ready = poll(&readable, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX)));
    if (ready == 0) return tl::unexpected(system_error("the Python process did not answer in time", 0));
    char chunk[4096];
    const ssize_t got = ready > 0 ? ::read(out_, chunk, sizeof(chunk)) : -1;
    if (got >= 0) {
      buffer_.append(chunk, static_cast<std::size_t>(got));
      return got > 0;
    }
    if (errno != EINTR) return tl::unexpected(system_error("cannot read from the Python process", errno));
  }
}

Result<std::string> ChildProcess::read_line(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (true) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    const auto more = read_more(deadline);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return tl::unexpected(system_error("the Python process ended; see what it said above", 0));
  }
}

Result<void> ChildProcess::finish(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (true) {
    const auto more = read_more(deadline);
    if (!more) return tl::unexpected(more.error());
    if (!*more) break;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return tl::unexpected(system_error("cannot wait for the Python process", errno));
  }
  pid_ = -1;
  if (status != 0) return tl::unexpected(system_error("the Python process failed; see what it said above", 0));
  return {};
}

}  // namespace samovar::cli
