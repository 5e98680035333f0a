#include "python_ext/native/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "ipc/clock.h"
#include "ipc/handshake.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/exit_status.h"
#include "python_ext/native/stack_dump.h"
#include "python_ext/native/thread.h"

namespace samovar::python {
namespace {

// Half of what a control datagram may hold.
constexpr std::size_t kStacksBytesMax = 64 * 1024;

// Private memory of this process: what is resident less what is shared. No allocation: this is done at a heartbeat.
std::optional<std::uint64_t> read_rss_anon() {
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::array<char, 256> text;
  const ssize_t got = read(fd, text.data(), text.size() - 1);
  close(fd);
  if (got <= 0) return std::nullopt;
  text[static_cast<std::size_t>(got)] = '\0';
  unsigned long long resident = 0, shared = 0;
  if (std::sscanf(text.data(), "%*u %llu %llu", &resident, &shared) != 2 || shared > resident) return std::nullopt;
  return (resident - shared) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

[[noreturn]] void end_with_host() {
  if (getpgrp() == getpid()) kill(0, SIGKILL);
  _exit(kExitHostGone);
}

// The prober waits for the GIL while nobody else gets it: that is no news to who reads the stacks.
void leave_out_thread(std::string& text, unsigned long id) {
  if (id == 0) return;
  std::array<char, 64> head;
  const int size = std::snprintf(head.data(), head.size(), "Thread 0x%016lx ", id);
  const std::size_t begin = text.find(head.data(), 0, static_cast<std::size_t>(size));
  if (begin == text.npos) return;
  const std::size_t next = text.find("\n\n", begin);
  text.erase(begin, next == text.npos ? text.npos : next + 2 - begin);
}

class Guard {
 public:
  explicit Guard(const GuardDuties& duties) : duties_(duties), inherited_bytes_(duties.is_forked ? read_rss_anon().value_or(0) : 0) {}

  [[noreturn]] void run() {
    std::array<pollfd, 2> watched = {{{duties_.control_fd, POLLIN, 0}, {duties_.host_pidfd, POLLIN, 0}}};
    for (;;) {
      beat();
      const std::int64_t due_ns = duties_.schedule.next_look_ns();
      const std::int64_t left_ns = std::max<std::int64_t>(0, due_ns - ipc::now_ns());
      const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
      if (ppoll(watched.data(), watched.size(), due_ns == ipc::kNever ? nullptr : &timeout, nullptr) <= 0) continue;
      if (watched[1].revents != 0) end_with_host();
      if (watched[0].revents != 0) listen();
    }
  }

 private:
  void beat() {
    const std::int64_t now_ns = ipc::now_ns();
    duties_.pulse.alive(now_ns);
    // In this order: a request that comes in between counts as work yet to be measured.
    const std::uint64_t started = duties_.pulse.started();
    const auto in_hand = duties_.pulse.in_hand();
    if (duties_.schedule.look(now_ns, in_hand)) duties_.prober.ask();
    if (started == measured_at_) return;
    if (const auto bytes = read_rss_anon()) duties_.pulse.rss_anon(*bytes - std::min(*bytes, inherited_bytes_));
    measured_at_ = in_hand ? std::nullopt : std::optional(started);
  }

  // Takes what lies in the socket. A Stop asks nothing of the guard: the host also sets the stop word, which the loop sees.
  // Descriptors sent along are dropped by the kernel.
  void listen() {
    std::array<std::uint8_t, 256> datagram;
    for (;;) {
      const ssize_t received = recv(duties_.control_fd, datagram.data(), datagram.size(), MSG_DONTWAIT);
      if (received < 0 && errno == EINTR) continue;
      if (received < 0 && errno == EAGAIN) return;
      if (received <= 0) end_with_host();
      try {
        const auto message = ipc::decode_control(std::span(datagram).first(static_cast<std::size_t>(received)));
        if (message && std::holds_alternative<ipc::DumpStacks>(*message)) send_stacks();
      } catch (const std::bad_alloc&) {  // the host does without the stacks
      }
    }
  }

  void send_stacks() {
    std::string text = dump_stacks();
    leave_out_thread(text, duties_.prober.thread_id());
    cut_middle(text, kStacksBytesMax);
    const std::vector<std::uint8_t> bytes = ipc::encode_control(ipc::Stacks{std::move(text)});
    // A host that does not read has no use for it, and must not keep the pulse from beating.
    (void)!::send(duties_.control_fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  GuardDuties duties_;
  const std::uint64_t inherited_bytes_;  // pages that were its nursery's
  std::optional<std::uint64_t> measured_at_;  // `started` when the memory was last read and nothing was in hand
};

void* watch(void* guard) { static_cast<Guard*>(guard)->run(); }

}  // namespace

int start_guard(const GuardDuties& duties) {
  auto* guard = new Guard(duties);  // the thread's, which ends with the process
  const int error = start_thread("samovar-guard", watch, guard);
  if (error != 0) delete guard;
  return error;
}

}  // namespace samovar::python
