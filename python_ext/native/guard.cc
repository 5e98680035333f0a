#include "python_ext/native/guard.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "python_ext/native/exit_status.h"

namespace samovar::python {
namespace {

// Takes what lies in the socket. A Stop asks nothing of the guard: the host also sets the stop word, which the loop sees.
// Descriptors sent along are dropped by the kernel. Returns whether the host still holds its end.
bool drain(int control_fd) {
  char datagram[256];
  for (;;) {
    const ssize_t received = recv(control_fd, datagram, sizeof datagram, MSG_DONTWAIT | MSG_TRUNC);
    if (received > 0) continue;
    if (received < 0 && errno == EINTR) continue;
    return received < 0 && errno == EAGAIN;
  }
}

[[noreturn]] void end_with_host() {
  if (getpgrp() == getpid()) kill(0, SIGKILL);
  _exit(kExitHostGone);
}

void watch(int control_fd, int host_pidfd) {
  pthread_setname_np(pthread_self(), "samovar-guard");
  pollfd watched[2] = {{control_fd, POLLIN, 0}, {host_pidfd, POLLIN, 0}};
  for (;;) {
    if (poll(watched, 2, -1) < 0) continue;  // EINTR, ENOMEM
    if (watched[1].revents != 0) end_with_host();
    if (watched[0].revents != 0 && !drain(control_fd)) end_with_host();
  }
}

}  // namespace

int start_guard(int control_fd, int host_pidfd) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);  // inherited by the new thread
  int error = 0;
  try {
    std::thread(watch, control_fd, host_pidfd).detach();
  } catch (const std::system_error& failed) {
    error = failed.code().value();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

}  // namespace samovar::python
