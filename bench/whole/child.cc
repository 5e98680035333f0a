#include "bench/whole/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace samovar::bench {
namespace {

constexpr int kEndLimitMs = 2'000;

}  // namespace

Made<std::unique_ptr<Child>> Child::start(std::vector<std::string> argv, int cpu) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0) return tl::unexpected("pipe: " + std::string(std::strerror(errno)));
  ipc::UniqueFd their_in(in[0]), to(in[1]);
  if (pipe2(out, O_CLOEXEC) != 0) return tl::unexpected("pipe: " + std::string(std::strerror(errno)));
  ipc::UniqueFd from(out[0]), their_out(out[1]);

  std::vector<char*> pointers;
  for (std::string& argument : argv) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, their_in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, their_out.get(), STDOUT_FILENO);
  std::optional<PinnedHere> pinned;
  if (cpu >= 0) pinned.emplace(cpu);  // inherited
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return tl::unexpected(argv[0] + ": " + std::strerror(error));
  return std::unique_ptr<Child>(new Child(pid, std::move(to), std::move(from)));
}

Child::~Child() {
  to_.reset();
  from_.reset();
  if (pid_ <= 0) return;
  const ipc::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  if (!process || ::poll(&ended, 1, kEndLimitMs) != 1) kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool Child::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(to_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

bool Child::read_line(std::string_view& line) {
  buffer_.erase(0, taken_);
  taken_ = 0;
  for (std::size_t looked = 0;;) {
    if (const std::size_t end = buffer_.find('\n', looked); end != std::string::npos) {
      line = std::string_view(buffer_).substr(0, end);
      taken_ = end + 1;
      return true;
    }
    looked = buffer_.size();
    char bytes[16384];
    const ssize_t got = ::read(from_.get(), bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(got));
  }
}

Made<std::string> Child::finish() {
  to_.reset();
  std::string rest = buffer_.substr(taken_);
  char bytes[4096];
  for (ssize_t got; (got = ::read(from_.get(), bytes, sizeof bytes)) != 0;) {
    if (got < 0 && errno != EINTR) return tl::unexpected("read: " + std::string(std::strerror(errno)));
    if (got > 0) rest.append(bytes, static_cast<std::size_t>(got));
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
  if (status != 0) return tl::unexpected("it ended with status " + std::to_string(status));
  return rest;
}

}  // namespace samovar::bench
