#include "tests/support/tracee.h"

#include <elf.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

namespace samovar::test {
namespace {

constexpr int kSystemCallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::system_category(), what); }

// The signal, and above it the event, of the stop that `pid` has come to; 0 where it has ended. Blocks.
int next_stop(pid_t pid) {
  siginfo_t info{};
  for (;;) {
    if (waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) == 0) break;
    if (errno == ECHILD) return 0;
    if (errno != EINTR) fail("waitid");
  }
  if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) return 0;
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOHANG | __WALL) != 0 || info.si_pid == 0) return 0;
  return info.si_status;
}

}  // namespace

std::string why_no_tracing() {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const bool may = ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0;
  const std::string why = may ? "" : std::string("ptrace(PTRACE_SEIZE) is refused: ") + std::strerror(errno);
  ::kill(child, SIGKILL);
  waitpid(child, nullptr, __WALL);
  return why;
}

CodeRange code_range(pid_t pid, const std::string& name) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  CodeRange range;
  std::string module;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::string addresses, rights, offset, device, inode, path;
    fields >> addresses >> rights >> offset >> device >> inode >> path;
    if (path.find(name) == std::string::npos || (!module.empty() && path != module)) continue;
    const std::uint64_t begin = std::stoull(addresses, nullptr, 16);
    if (module.empty()) range.module = begin;
    module = path;
    if (rights.find('x') == std::string::npos) continue;
    range.begin = begin;
    range.end = std::stoull(addresses.substr(addresses.find('-') + 1), nullptr, 16);
  }
  return range;
}

Tracee::Tracee(pid_t pid) : pid_(pid) {
  if (ptrace(PTRACE_SEIZE, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) fail("ptrace(PTRACE_SEIZE)");
  if (ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0) fail("ptrace(PTRACE_INTERRUPT)");
  for (int stop = next_stop(pid); stop >> 8 != PTRACE_EVENT_STOP; stop = next_stop(pid)) {
    if (stop == 0) {
      errno = ESRCH;
      fail("the process has ended");
    }
    if (ptrace(PTRACE_CONT, pid, nullptr, stop & 0x7f) != 0) fail("ptrace(PTRACE_CONT)");  // a signal came first
  }
}

Tracee::~Tracee() { let_run(); }

bool Tracee::resume(int request) {
  for (;;) {
    if (ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, std::exchange(signal_, 0)) != 0) {
      if (errno == ESRCH) return traced_ = false;  // killed meanwhile
      fail("ptrace");
    }
    const int stop = next_stop(pid_);
    if (stop == 0) return traced_ = false;
    if (stop == kSystemCallStop || stop == SIGTRAP) return true;
    if (stop >> 8 == 0) signal_ = stop;  // a signal of its own; other stops are those of job control
  }
}

bool Tracee::step() { return resume(PTRACE_SINGLESTEP); }
bool Tracee::to_system_call() { return resume(PTRACE_SYSCALL); }

std::uint64_t Tracee::instruction() const {
#if defined(__x86_64__)
  errno = 0;
  return static_cast<std::uint64_t>(ptrace(PTRACE_PEEKUSER, pid_, offsetof(user_regs_struct, rip), nullptr));
#else
  user_regs_struct registers{};
  iovec all{&registers, sizeof registers};
  ptrace(PTRACE_GETREGSET, pid_, NT_PRSTATUS, &all);
  return registers.pc;
#endif
}

bool Tracee::is_at_system_call() const {
  const long code = ptrace(PTRACE_PEEKTEXT, pid_, instruction(), nullptr);
#if defined(__x86_64__)
  return (code & 0xffff) == 0x050f;
#else
  return (code & 0xffff'ffff) == 0xd400'0001;
#endif
}

void Tracee::kill() {
  ::kill(pid_, SIGKILL);
  traced_ = false;
}

void Tracee::stop() {
  ::kill(pid_, SIGSTOP);  // waits until it goes on, and comes before the next instruction
  let_run();
}

void Tracee::let_run() {
  if (std::exchange(traced_, false)) ptrace(PTRACE_DETACH, pid_, nullptr, signal_);
}

}  // namespace samovar::test
