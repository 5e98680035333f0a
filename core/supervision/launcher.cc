#include "core/supervision/launcher.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "core/errors.h"
#include "core/supervision/limits.h"
#include "core/topology/affinity.h"
#include "core/topology/cpu_list.h"
#include "ipc/clock.h"
#include "ipc/handshake.h"
#include "ipc/layout.h"

namespace samovar::core {
namespace {

tl::unexpected<Error> failed(const ipc::SystemError& error) { return tl::unexpected(start_refused(error, "starting a worker")); }

// Two pairs: the process's ends are returned, ours are left in `socket` and `output_fd`, non-blocking (each end has its own flags).
Result<ProcessEnds> make_ends(std::optional<ipc::ControlSocket>& socket, ipc::UniqueFd& output_fd) {
  auto sockets = ipc::ControlSocket::pair();
  if (!sockets) return failed(sockets.error());
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return failed(ipc::system_error("pipe2").value());
  output_fd = ipc::UniqueFd(pipe_fds[0]);
  socket = std::move(sockets->first);
  fcntl(output_fd.get(), F_SETFL, O_NONBLOCK);
  fcntl(socket->fd(), F_SETFL, O_NONBLOCK);
  return ProcessEnds{std::move(sockets->second), ipc::UniqueFd(pipe_fds[1])};
}

}  // namespace


Launcher::Launcher(const Options& options, LaunchPlan plan, const Plan& placement, const RequestArena& arena, const Log& log)
    : options_(options),
      plan_(std::move(plan)),
      placement_(placement),
      arena_(arena),
      log_(log),
      host_process_(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))) {}

Result<void> Launcher::check() const {
  if (host_process_) return {};
  return tl::unexpected(start_refused(ipc::system_error("pidfd_open").value(), "starting a pool"));
}

Result<void> Launcher::launch(unsigned worker, Incarnation& made) const {
  Result<ProcessEnds> ends = prepare(worker, made);
  if (!ends) return tl::unexpected(std::move(ends.error()));
  auto process = Process::spawn({.argv = plan_.argv("samovar.worker"),
                                 .environment = plan_.environment,
                                 .socket = ends->socket.fd(),
                                 .output = ends->output.get()});
  if (!process) return failed(process.error());
  made.process = std::move(*process);
  return welcome(worker, made);
}

Result<ProcessEnds> Launcher::prepare(unsigned worker, Incarnation& made) const {
  const std::uint64_t number = incarnations_.fetch_add(1, std::memory_order_relaxed) + 1;
  made = Incarnation{.number = number, .node = place_of(placement_, worker).node};

  const std::string name = options_.name + "-" + std::to_string(number);
  auto channel = ipc::HostEnd::create({.lane_bytes = options_.lane_bytes,
                                       .payload_bytes_max = options_.inline_bytes_max,
                                       .response_arena_bytes = options_.response_arena_bytes,
                                       .name = name.c_str(),
                                       .memory_node = arena_.unbound() ? ipc::kAnyNode : made.node});
  if (!channel) return failed(channel.error());
  made.channel = std::move(*channel);
  made.spawned_ns = ipc::now_ns();
  return make_ends(made.socket, made.output_fd);
}

Result<void> Launcher::welcome(unsigned worker, Incarnation& made) const {
  if (Result<void> pinned = pin(made.process.pid(), worker); !pinned) return pinned;
  if (Result<void> limited = limit_worker(made.process.pid(), options_); !limited) return limited;

  ipc::Hello hello = made.channel->hello();
  hello.incarnation = made.number;
  hello.worker = worker;
  hello.spin_max_ns = may_poll(placement_, worker) ? options_.spin_max.count() : 0;
  hello.module = options_.module;
  hello.request_arena_bytes = arena_.bytes_mapped();
  hello.arena_trim_ns = options_.arena_trim_delay.count();
  hello.escaped_views_max = options_.escaped_views_max;
  hello.heartbeat_ns = options_.heartbeat_interval.count();
  hello.probe_after_ns = options_.probe_after.count();
  hello.concurrency = options_.concurrency;
  hello.log_level = static_cast<std::uint8_t>(options_.log_level);
  hello.stream_window = options_.stream_window;
  // A worker that has died already is noticed by its pidfd.
  (void)made.socket->send(ipc::encode_control(hello), made.channel->fds_for_worker(host_process_.get(), arena_.worker_fd()));
  made.channel->close_segment_fds();
  return {};
}

Result<void> Launcher::launch_nursery(Nursery::Life& made) const {
  Result<ProcessEnds> ends = make_ends(made.socket, made.output_fd);
  if (!ends) return tl::unexpected(std::move(ends.error()));
  auto process = Process::spawn({.argv = plan_.argv("samovar.nursery"),
                                 .environment = plan_.environment,
                                 .socket = ends->socket.fd(),
                                 .output = ends->output.get()});
  if (!process) return failed(process.error());
  made.process = std::move(*process);
  made.spawned_ns = ipc::now_ns();
  if (Result<void> limited = limit_nursery(made.process.pid(), options_); !limited) return limited;
  const int fds[] = {host_process_.get()};
  ipc::NurseryHello hello{
      .layout_hash = ipc::layout_hash(), .module = options_.module, .log_level = static_cast<std::uint8_t>(options_.log_level)};
  if (!arena_.unbound()) hello.memory_nodes = nodes_of(placement_);
  (void)made.socket->send(ipc::encode_control(hello), fds);
  return {};
}

Result<void> Launcher::pin(pid_t pid, unsigned worker) const {
  const Place& place = place_of(placement_, worker);
  if (place.cpus.empty()) return {};
  const ipc::SystemResult<void> pinned = set_affinity(pid, place.cpus);
  if (pinned) return {};
  const std::string cpus = std::string(place.cpus.size() == 1 ? "CPU " : "CPUs ") + format_cpus(place.cpus);
  if (!placement_.asked_by.empty()) {
    return tl::unexpected(system_failure(pinned.error(), "pinning a worker to " + cpus + " (" + placement_.asked_by + ")"));
  }
  if (!told_.exchange(true, std::memory_order_relaxed)) {
    log_.warning("a worker could not be pinned to " + cpus + ": " + pinned.error().to_string() + "; workers run wherever the kernel likes, and " +
                 "calls vary more (pinning = \"none\" says that this is as it should be)");
  }
  return {};
}

}  // namespace samovar::core
