#include "tests/support/child_host.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>

#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

constexpr int kHighFd = 500;  // out of the way of tests that close 0, 1 and 2 or count descriptors

}  // namespace

ChildHost::ChildHost(const std::function<void(const Say&)>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  pipe_ = ipc::UniqueFd(ends[0]);
  pid_ = fork();
  if (pid_ < 0) std::abort();
  if (pid_ > 0) {
    close(ends[1]);
    return;
  }
  const int out = fcntl(ends[1], F_DUPFD_CLOEXEC, kHighFd);
  close(ends[0]);
  close(ends[1]);
  const Say say = [out](std::string line) {
    for (char& character : line) {
      if (character == '\n') character = '|';
    }
    line += '\n';
    (void)!write(out, line.data(), line.size());
  };
  try {
    body(say);
  } catch (const std::exception& error) {
    say(std::string("exception: ") + error.what());
  }
  _exit(0);
}

ChildHost::~ChildHost() {
  if (!status_) kill();
}

std::optional<std::string> ChildHost::hear() {
  const auto until = std::chrono::steady_clock::now() + 3 * kPatience;
  for (;;) {
    if (const std::size_t end = heard_.find('\n'); end != std::string::npos) {
      std::string line = heard_.substr(0, end);
      heard_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd readable{pipe_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&readable, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
    char buffer[4096];
    const ssize_t got = read(pipe_.get(), buffer, sizeof buffer);
    if (got <= 0) return std::nullopt;
    heard_.append(buffer, static_cast<std::size_t>(got));
  }
}

void ChildHost::kill() {
  ::kill(pid_, SIGKILL);
  (void)exit_status();
}

int ChildHost::exit_status() {
  if (!status_) {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    status_ = status;
  }
  return *status_;
}

std::string in_child_host(const std::function<std::string()>& body) {
  ChildHost child([&](const ChildHost::Say& say) { say(body()); });
  std::string said = child.hear().value_or("(nothing)");
  const int status = child.exit_status();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) said += " (the child ended with status " + std::to_string(status) + ")";
  return said;
}

}  // namespace samovar::test
