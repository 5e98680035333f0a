// samovar doctor, the kernel: what a pool asks of it, done once. The parts that are the library's own come from ipc.
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <thread>
#include <utility>

#include "ipc/channel.h"
#include "ipc/control_socket.h"
#include "ipc/layout.h"
#include "ipc/segment.h"
#include "tools/cli/doctor.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace samovar::cli {
namespace {

using ipc::kPageBytes;
using ipc::UniqueFd;

constexpr int kPatienceMs = 5000;

// What went wrong, or nothing.
using Trouble = std::string;

Trouble refused(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

bool can_map(const UniqueFd& fd, int protection) {
  void* mapping = mmap(nullptr, kPageBytes, protection, MAP_SHARED, fd.get(), 0);
  if (mapping == MAP_FAILED) return false;
  munmap(mapping, kPageBytes);
  return true;
}

UniqueFd reopen(const UniqueFd& fd, int flags) {
  return UniqueFd(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), flags | O_CLOEXEC));
}

Trouble try_memfd() {
  const auto fd = ipc::create_memfd("samovar-doctor", kPageBytes);
  if (!fd) return fd.error().to_string();
  if (ftruncate(fd->get(), 0) == 0 || ftruncate(fd->get(), 2 * kPageBytes) == 0) return "its size is sealed and can be changed all the same";
  return {};
}

// As a worker's segment is for the worker, and the host's for the host: mapped before it is sealed, and by nobody after.
Trouble try_one_writer() {
  const auto fd = ipc::create_memfd("samovar-doctor", kPageBytes);
  if (!fd) return fd.error().to_string();
  const auto writable = ipc::Segment::map(*fd, kPageBytes, ipc::Access::read_write);
  if (!writable) return writable.error().to_string();
  if (const auto sealed = ipc::seal_future_write(*fd); !sealed) return sealed.error().to_string();
  if (const auto sealed = ipc::seal_seals(*fd); !sealed) return sealed.error().to_string();
  writable->data()[0] = std::byte{1};

  const auto readable = ipc::Segment::map(*fd, kPageBytes, ipc::Access::read_only);
  if (!readable) return readable.error().to_string();
  if (readable->data()[0] != std::byte{1}) return "what one side writes the other does not see";
  if (mprotect(readable->data(), kPageBytes, PROT_READ | PROT_WRITE) == 0) return "a sealed memfd became writable by mprotect";
  if (pwrite(fd->get(), "x", 1, 0) >= 0) return "a sealed memfd took a write";
  const UniqueFd again = reopen(*fd, O_RDWR);
  if (again && can_map(again, PROT_READ | PROT_WRITE)) return "a sealed memfd could be mapped writable when opened again";
  return {};
}

// As arenas are given to workers.
Trouble try_arena() {
  const auto fd = ipc::create_memfd("samovar-doctor", 2 * kPageBytes);
  if (!fd) return fd.error().to_string();
  const UniqueFd view = reopen(*fd, O_RDONLY);
  if (!view) return refused("opening a memfd read-only through /proc/self/fd");
  if (!can_map(view, PROT_READ)) return refused("mapping it read-only");
  if (can_map(view, PROT_READ | PROT_WRITE)) return "a descriptor opened read-only could be mapped writable";
  if (fallocate(fd->get(), 0, 0, 2 * kPageBytes) != 0) return refused("fallocate");
  if (fallocate(fd->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPageBytes, kPageBytes) != 0) return refused("punching a hole");
  if (fallocate(view.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPageBytes) == 0) {
    return "a descriptor opened read-only could punch a hole";
  }
  return {};
}

Trouble try_populate() {
  const auto fd = ipc::create_memfd("samovar-doctor", kPageBytes);
  if (!fd) return fd.error().to_string();
  const auto segment = ipc::Segment::map(*fd, kPageBytes, ipc::Access::read_write);
  if (!segment) return segment.error().to_string();
  return madvise(segment->data(), kPageBytes, MADV_POPULATE_WRITE) == 0 ? Trouble() : refused("madvise(MADV_POPULATE_WRITE)");
}

Trouble try_pidfd() {
  const pid_t child = fork();
  if (child < 0) return refused("fork");
  if (child == 0) {
    pause();
    _exit(0);
  }
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  Trouble trouble;
  pollfd ended{process.get(), POLLIN, 0};
  if (!process) {
    trouble = refused("pidfd_open");
  } else if (poll(&ended, 1, 0) != 0) {
    trouble = "the pidfd of a living process polls readable";
  } else if (syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) != 0) {
    trouble = refused("pidfd_send_signal");
  } else if (poll(&ended, 1, kPatienceMs) != 1) {
    trouble = "the pidfd of a dead process does not poll readable";
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return trouble;
}

// A sleeper waits on a word that it can only read, and is woken through the other mapping.
Trouble try_futex() {
  const auto fd = ipc::create_memfd("samovar-doctor", kPageBytes);
  if (!fd) return fd.error().to_string();
  const auto writable = ipc::Segment::map(*fd, kPageBytes, ipc::Access::read_write);
  const auto readable = ipc::Segment::map(*fd, kPageBytes, ipc::Access::read_only);
  if (!writable || !readable) return "the memfd cannot be mapped";
  std::atomic<int> error{-1};
  std::thread sleeper([&] {
    const timespec patience{kPatienceMs / 1000, 0};
    const long slept = syscall(SYS_futex, readable->data(), FUTEX_WAIT, 0, &patience, nullptr, 0);
    error.store(slept == 0 ? 0 : errno);
  });
  long woken = 0;
  while (woken == 0 && error.load() < 0) woken = syscall(SYS_futex, writable->data(), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  sleeper.join();
  if (woken < 0) return "FUTEX_WAKE does not work";
  return error.load() == 0 ? Trouble() : std::string("FUTEX_WAIT on a read-only mapping: ") + std::strerror(error.load());
}

// Edge-triggered and never read, as the workers ring the host.
Trouble try_eventfd() {
  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  const UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll || !event) return refused("eventfd or epoll_create1");
  epoll_event wanted{.events = EPOLLIN | EPOLLET, .data = {}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &wanted) != 0) return refused("epoll_ctl");
  const std::uint64_t one = 1;
  for (int ring = 0; ring < 2; ++ring) {
    if (write(event.get(), &one, sizeof one) != sizeof one) return refused("writing to an eventfd");
    epoll_event seen{};
    if (epoll_wait(epoll.get(), &seen, 1, kPatienceMs) != 1) return "a second ring of an eventfd that nobody reads is not seen";
  }
  return {};
}

Trouble try_descriptor_passing() {
  const auto ends = ipc::ControlSocket::pair();
  const auto fd = ipc::create_memfd("samovar-doctor", kPageBytes);
  if (!ends || !fd) return refused("socketpair or memfd_create");
  const std::uint8_t byte[] = {1};
  const int passed[] = {fd->get()};
  if (const auto sent = ends->first.send(byte, passed); !sent) return sent.error().to_string();
  const auto received = ends->second.receive();
  if (!received) return received.error().to_string();
  return received->fds.size() == 1 ? Trouble() : "no descriptor came through the socket";
}

struct Trial {
  const char* subject;
  const char* works;
  Trouble (*run)();
  Verdict otherwise;
  const char* follows;
};

constexpr Trial kTrials[] = {
    {"memfd", "created, mapped, sealed in size", try_memfd, Verdict::fail, "pools cannot start; needs Linux 3.17 and memfd_create allowed"},
    {"write seal", "one writer for each page: mmap, mprotect, write and reopening are refused to others", try_one_writer, Verdict::fail,
     "pools cannot start; needs F_SEAL_FUTURE_WRITE of Linux 5.1"},
    {"arena", "a memfd opened again read-only stays so; pages are allocated and given back", try_arena, Verdict::fail,
     "pools cannot start: large payloads would have no memory; is /proc mounted?"},
    {"populate", "pages are made before they are needed", try_populate, Verdict::warn,
     "the first calls of each worker take page faults; Linux 5.14 has it"},
    {"pidfd", "polls readable when its process is dead, and signals it", try_pidfd, Verdict::fail,
     "pools cannot start: nothing else proves that a worker is dead; needs Linux 5.3, and pidfd_open allowed"},
    {"futex", "waits on a word that it can only read", try_futex, Verdict::fail, "pools cannot start: a worker that sleeps could not be woken"},
    {"eventfd", "wakes an epoll at each ring", try_eventfd, Verdict::fail, "pools cannot start: a host that sleeps could not be woken"},
    {"sockets", "pass descriptors", try_descriptor_passing, Verdict::fail, "pools cannot start: workers would not get their memory"},
};

void examine_version(Findings& findings) {
  utsname names{};
  uname(&names);
  int major = 0, minor = 0;
  std::sscanf(names.release, "%d.%d", &major, &minor);
  const bool old = std::pair(major, minor) < std::pair(5, 10);
  findings.push_back({old ? Verdict::warn : Verdict::ok, "kernel", "version", std::string(names.sysname) + " " + names.release + " " + names.machine,
                      old ? "Samovar is made for Linux 5.10 and later; what was tried below decides" : ""});
}

}  // namespace

void examine_kernel(Findings& findings) {
  examine_version(findings);
  for (const Trial& trial : kTrials) {
    const Trouble trouble = trial.run();
    findings.push_back(trouble.empty() ? Finding{Verdict::ok, "kernel", trial.subject, trial.works, {}}
                                       : Finding{trial.otherwise, "kernel", trial.subject, trouble, trial.follows});
  }
}

}  // namespace samovar::cli
