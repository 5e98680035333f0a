#include "bench/whole/twin.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <string>

namespace samovar::bench {

Made<std::unique_ptr<Twin>> Twin::start(int cpu, const std::function<void(TwinPage&)>& body) {
  void* memory = mmap(nullptr, sizeof(TwinPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return tl::unexpected("mmap: " + std::string(std::strerror(errno)));
  auto* page = new (memory) TwinPage;

  const PinnedHere pinned(cpu);  // inherited by the twin
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const std::string why = std::strerror(errno);
    munmap(memory, sizeof(TwinPage));
    return tl::unexpected("fork: " + why);
  }
  if (pid == 0) {
    // A twin spins: it must not outlive us. The parent may be gone before the request is made.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    prctl(PR_SET_NAME, "samovar-twin");
    body(*page);
    _exit(0);
  }
  return std::unique_ptr<Twin>(new Twin(page, pid));
}

Twin::~Twin() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  munmap(page_, sizeof(TwinPage));
}

bool Twin::alive() const {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

}  // namespace samovar::bench
