#include "core/supervision/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

extern char** environ;

namespace samovar::core {
namespace {

using ipc::SystemResult;
using ipc::UniqueFd;

constexpr int kLowestFreeFd = 10;  // above all numbers that the child's descriptors are moved to

std::vector<std::string> merged_environment(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text(*entry);
    bool changed = false;
    for (const auto& [name, value] : changes) {
      changed |= text.size() > name.size() && text[name.size()] == '=' && text.starts_with(name);
    }
    if (!changed) merged.emplace_back(text);
  }
  for (const auto& [name, value] : changes) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

int spawn_with(const SpawnOptions& options, int socket, int output, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);

  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, socket, kInheritedSocket);
  posix_spawn_file_actions_addclosefrom_np(&actions, kInheritedSocket + 1);

  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  const std::vector<std::string> environment = merged_environment(options.environment);
  const int error = posix_spawn(&pid, options.argv[0].c_str(), &actions, &attributes, pointers(options.argv).data(),
                                pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// Whether it has ended and has not been reaped, by somebody else or by this.
bool wait_for(const UniqueFd& pidfd, int flags, siginfo_t& info) {
  info = {};
  return waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG | flags) == 0 && info.si_pid != 0;
}

}  // namespace

std::string ExitStatus::to_string() const {
  if (signal) {
    const char* name = sigdescr_np(*signal);
    std::string text = "was killed by signal " + std::to_string(*signal) + (name ? std::string(" (") + name + ")" : "");
    if (out_of_memory) text += ", by the kernel's out-of-memory killer: give it more memory, or limit it (worker_memory_max)";
    if (*signal == SIGXCPU) text += ": raise worker_cpu_time_max, or the host's limit (ulimit -t)";
    return text;
  }
  if (code) return "exited with status " + std::to_string(*code);
  return "ended (status unknown: the host ignores SIGCHLD or reaps its children itself, or the nursery that forked it has ended)";
}

SystemResult<Process> Process::spawn(const SpawnOptions& options) {
  const UniqueFd socket(fcntl(options.socket, F_DUPFD_CLOEXEC, kLowestFreeFd));
  const UniqueFd output(fcntl(options.output, F_DUPFD_CLOEXEC, kLowestFreeFd));
  if (!socket || !output) return ipc::system_error("fcntl(F_DUPFD_CLOEXEC)");

  Process process;
  if (const int error = spawn_with(options, socket.get(), output.get(), process.pid_); error != 0) {
    errno = error;
    return ipc::system_error("posix_spawn(" + options.argv[0] + ")");
  }
  process.pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, process.pid_, 0)));
  if (!process.pidfd_) {
    auto failed = ipc::system_error("pidfd_open (needs Linux 5.3)");
    kill(-process.pid_, SIGKILL);
    waitpid(process.pid_, nullptr, 0);
    return failed;
  }
  return process;
}

Process Process::adopt(std::shared_ptr<Parent> parent, std::uint64_t number, pid_t pid, UniqueFd pidfd) {
  Process process;
  process.pid_ = pid;
  process.pidfd_ = std::move(pidfd);
  process.parent_ = std::move(parent);
  process.number_ = number;
  return process;
}

void Process::signal(int signal) const { syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0); }

void Process::signal_group(int signal) const {
  // While the leader has not been reaped its number, and so its group's, belongs to nobody else.
  if (pid_ > 0) kill(-pid_, signal);
}

void Process::await_end() const {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

ExitStatus Process::exit_status() const {
  if (parent_) return parent_->exit_status(number_, pid_);
  siginfo_t info{};
  if (!wait_for(pidfd_, WNOWAIT, info)) return {};
  if (info.si_code == CLD_EXITED) return {.code = info.si_status, .signal = {}};
  return {.code = {}, .signal = info.si_status};
}

void Process::bury_group() {
  siginfo_t info{};
  const bool is_ours = parent_ ? parent_->is_alive() : wait_for(pidfd_, WNOWAIT, info);
  // While it has not been reaped its number, and so its group's, belongs to nobody else. Where the host ignores SIGCHLD or reaps
  // everything itself it is, or is about to be: then a group without its leader is still the old one, and one with a leader another's.
  const timespec moment{0, 50'000};
  for (int look = 0; !is_ours && look < 200 && kill(pid_, 0) == 0; ++look) nanosleep(&moment, nullptr);
  if (is_ours || (kill(pid_, 0) != 0 && errno == ESRCH)) kill(-pid_, SIGKILL);
  if (parent_) parent_->bury(number_);
  else wait_for(pidfd_, 0, info);
  pidfd_.reset();
}

}  // namespace samovar::core
