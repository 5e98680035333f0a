// Supervisor: starts workers, shakes hands with them, drains their output, proves their deaths, replaces and ends them.
//
// One thread per pool (first the one in Pool::start, then its own) runs an epoll over pidfds, control sockets and output
// pipes. It never touches a lane but for the ping before a worker serves; the dispatcher is told by attach() and detach().
// It is also the dispatcher of last resort: see Dispatcher::backstop().
// Threads: start_workers(), serve(), stop() by the pool's owner; kill_worker() any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

#include "core/arenas/request_arena.h"
#include "core/dispatch/bell.h"
#include "core/dispatch/dispatcher.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"
#include "core/observe/log.h"
#include "core/supervision/launch_plan.h"
#include "core/supervision/process.h"
#include "core/supervision/worker_output.h"
#include "core/supervision/worker_state.h"
#include "ipc/control_socket.h"
#include "ipc/handshake.h"

namespace samovar::core {

class Supervisor {
 public:
  // All outlive this. `bell` wakes the supervisor's thread.
  Supervisor(const Options& options, LaunchPlan plan, Counters& counters, RequestArena& arena, const Log& log, Bell& bell, Events& events);
  ~Supervisor();

  // Starts all workers and waits until each has answered its ping. Blocks up to start_timeout. Fails with the first worker's
  // failure; then none is left. Returns the methods.
  Result<std::vector<ipc::Method>> start_workers();

  // Hands the workers to the dispatcher and goes on in a thread of its own.
  void serve(Dispatcher& dispatcher);

  // Ends all workers: asked first, then SIGTERM, then SIGKILL. When it returns, none is left. Blocks.
  void stop();

  void kill_worker(const DutyCycle::Violation& violation);

 private:
  enum class Source : std::uint8_t { bell, process, socket, output, channel };

  struct Worker {
    WorkerState state = WorkerState::absent;
    Process process;
    std::uint64_t incarnation = 0;
    std::optional<ipc::ControlSocket> socket;
    ipc::UniqueFd output_fd;
    WorkerOutput output;
    std::shared_ptr<ipc::HostEnd> channel;
    std::vector<ipc::Method> methods;
    std::optional<Error> failure;      // why it failed to start, or broke off
    std::int64_t spawned_ns = 0;
    std::int64_t due_ns = ipc::kNever;  // restart (absent), start_timeout, or the next step of ending
    int failures = 0;                   // starts in a row that failed
    bool served = false;                // answered its ping: what follows is a life, not a start
    bool terminated = false;            // SIGTERM sent
  };

  void run();
  void run_once(std::int64_t until_ns);
  void handle(Source source, std::size_t index);
  void run_timers();
  std::int64_t next_due_ns() const;

  void spawn(std::size_t index);
  Result<void> try_spawn(std::size_t index);
  Result<void> pin(const Worker& worker, std::size_t index) const;
  void read_socket(std::size_t index);
  void greet_ready(std::size_t index, ipc::Ready ready);
  void ping(std::size_t index);
  void read_pong(std::size_t index);
  void read_output(std::size_t index);
  void begin_stop(std::size_t index);
  void overstay(std::size_t index);
  void bury(std::size_t index);
  void bury_served(std::size_t index, std::string how, bool asked);
  void bury_unserved(std::size_t index, const ExitStatus& status, bool asked);
  void fail(std::size_t index, Error error);
  bool advance(std::size_t index, WorkerEvent event);
  void hand_over(std::size_t index);
  bool none_left() const;
  void tell_of_calls();

  bool watch(int fd, Source source, std::size_t index);
  void unwatch(int fd);
  std::string label(std::size_t index) const;  // "worker 2 (PID 4711)"
  Error start_failure(std::size_t index, const ExitStatus& status) const;

  const Options& options_;
  const LaunchPlan plan_;
  Counters& counters_;
  RequestArena& arena_;
  const Log& log_;
  Bell& bell_;
  Events& events_;
  ipc::UniqueFd epoll_;
  ipc::UniqueFd host_process_;  // a pidfd of this process, for the workers' guards

  // Owned by the thread that runs the loop.
  std::vector<Worker> workers_;
  std::vector<ipc::Method> methods_;  // of the pool: the first worker's
  std::uint64_t incarnations_ = 0;
  std::optional<Error> first_failure_;
  std::int64_t traffic_seen_ns_ = 0;
  std::int64_t trim_due_ns_ = ipc::kNever;  // of the request arena
  std::int64_t tell_due_ns_ = ipc::kNever;  // of calls
  bool serving_ = false;
  Dispatcher* dispatcher_ = nullptr;

  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> trim_expected_{false};  // of the request arena
  std::mutex violations_mutex_;
  std::vector<DutyCycle::Violation> violations_;  // guarded by violations_mutex_
};

}  // namespace samovar::core
