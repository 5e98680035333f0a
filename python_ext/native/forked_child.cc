#include "python_ext/native/forked_child.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string_view>

#include "python_ext/native/exit_status.h"

namespace samovar::python {
namespace {

// Of the process, as fork handlers are. Written before the handler is installed and by the handler alone.
std::atomic<bool> forked{false};
std::array<int, 5> inherited_fds = {-1, -1, -1, -1, -1};

// Async-signal-safe, as a child of a process with threads must be.
void in_child() {
  forked.store(true, std::memory_order_relaxed);
  for (int& fd : inherited_fds) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
}

}  // namespace

void mark_forked_children(std::initializer_list<int> fds) {
  std::size_t at = 0;
  for (int fd : fds) inherited_fds.at(at++) = fd;
  pthread_atfork(nullptr, nullptr, in_child);
}

bool is_forked_child() { return forked.load(std::memory_order_relaxed); }

void end_forked_child() {
  constexpr std::string_view kWords =
      "samovar: a process that a method forked came back into the worker's loop. It is no worker and ends here. "
      "Let the child end by os._exit(), or use subprocess or multiprocessing with 'spawn'.\n";
  (void)!write(STDERR_FILENO, kWords.data(), kWords.size());
  _exit(kExitForkedChild);
}

}  // namespace samovar::python
