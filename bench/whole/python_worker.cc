// A real worker without a pool: started, shaken hands with, and ended here.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bench/whole/environment.h"
#include "bench/whole/lane_workers.h"
#include "ipc/control_socket.h"

namespace samovar::bench {
namespace {

constexpr int kControlFd = 3;  // in the worker
constexpr int kReadyLimitMs = 20'000;
constexpr int kEndLimitMs = 2'000;

ipc::UniqueFd open_pidfd(pid_t pid) { return ipc::UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

bool readable_within(int fd, int limit_ms) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, limit_ms) == 1;
}

Made<pid_t> spawn(const PythonWorkerOptions& options, int control_fd) {
  const PinnedHere pinned(options.cpu);  // inherited by the worker and every thread of it
  std::vector<std::string> arguments{options.python, "-m", "samovar.worker", std::to_string(kControlFd)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> variables = environment_with_samovar();
  std::vector<char*> envp;
  for (std::string& variable : variables) envp.push_back(variable.data());
  envp.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);  // stdout is for the JSON object
  posix_spawn_file_actions_adddup2(&actions, control_fd, kControlFd);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, options.python.c_str(), &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return tl::unexpected(options.python + ": " + std::strerror(error));
  return pid;
}

Made<std::uint16_t> shake_hands(const PythonWorkerOptions& options, const ipc::ControlSocket& control, ipc::HostEnd& host) {
  ipc::Hello hello = host.hello();
  hello.incarnation = 1;
  hello.spin_max_ns = kBareSpinMaxNs;
  hello.module = options.module;
  const ipc::UniqueFd self = open_pidfd(getpid());
  if (auto sent = control.send(ipc::encode_control(hello), host.fds_for_worker(self.get())); !sent) {
    return tl::unexpected("Hello to the bare worker: " + sent.error().to_string());
  }
  host.close_segment_fds();
  if (!readable_within(control.fd(), kReadyLimitMs)) {
    return tl::unexpected(std::string("the bare worker is not ready in time"));
  }
  auto datagram = control.receive();
  if (!datagram) return tl::unexpected("Ready of the bare worker: " + datagram.error().to_string());
  if (datagram->bytes.empty()) return tl::unexpected(std::string("the bare worker ended before it was ready"));
  auto message = ipc::decode_control(datagram->bytes);
  if (!message) return tl::unexpected(message.error());
  if (const auto* failed = std::get_if<ipc::StartFailed>(&*message)) {
    return tl::unexpected("the bare worker: " + failed->reason + ": " + failed->message);
  }
  const auto* ready = std::get_if<ipc::Ready>(&*message);
  if (!ready || ready->layout_hash != ipc::layout_hash()) {
    return tl::unexpected(std::string("the bare worker is of another build"));
  }
  const auto found = std::find_if(ready->methods.begin(), ready->methods.end(),
                                  [&](const ipc::Method& method) { return method.name == options.method; });
  if (found == ready->methods.end()) return tl::unexpected(options.module + " has no method " + options.method);
  return static_cast<std::uint16_t>(found - ready->methods.begin() + 1);
}

class PythonWorker final : public LaneWorker {
 public:
  PythonWorker(std::unique_ptr<ipc::HostEnd> host, ipc::ControlSocket control, pid_t pid)
      : host_(std::move(host)), control_(std::move(control)), pid_(pid) {}

  // Asks it to end, then makes it.
  ~PythonWorker() override {
    const ipc::UniqueFd process = open_pidfd(pid_);
    host_->stop();
    (void)!control_.send(ipc::encode_control(ipc::Stop{}));
    if (!process || !readable_within(process.get(), kEndLimitMs)) kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  Outcome start(const PythonWorkerOptions& options) {
    const auto method = shake_hands(options, control_, *host_);
    if (!method) return tl::unexpected(method.error());
    method_ = *method;
    return {};
  }

  ipc::HostEnd& host() override { return *host_; }
  std::uint16_t method() const override { return method_; }
  pid_t pid() const override { return pid_; }
  bool alive() const override {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
  }

 private:
  std::unique_ptr<ipc::HostEnd> host_;
  ipc::ControlSocket control_;
  pid_t pid_;
  std::uint16_t method_ = 0;
};

}  // namespace

Made<std::unique_ptr<LaneWorker>> start_python_worker(const PythonWorkerOptions& options) {
  auto host = ipc::HostEnd::create({.name = "samovar-bench"});
  if (!host) return tl::unexpected(host.error().to_string());
  auto sockets = ipc::ControlSocket::pair();
  if (!sockets) return tl::unexpected(sockets.error().to_string());
  // Not kControlFd itself: dup2 onto the same number would leave it close-on-exec.
  const ipc::UniqueFd theirs(fcntl(sockets->second.fd(), F_DUPFD_CLOEXEC, kControlFd + 1));
  auto pid = spawn(options, theirs.get());
  if (!pid) return tl::unexpected(pid.error());
  auto worker = std::make_unique<PythonWorker>(std::move(*host), std::move(sockets->first), *pid);
  {
    const ipc::ControlSocket closed = std::move(sockets->second);  // so that the worker's end is its alone
  }
  if (Outcome started = worker->start(options); !started) return tl::unexpected(started.error());
  return worker;
}

}  // namespace samovar::bench
