// Launcher: makes an incarnation of a worker: its channel, its process, and the first message to it; and nurseries.
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include <samovar/error.h>
#include <samovar/options.h>

#include "core/arenas/request_arena.h"
#include "core/observe/log.h"
#include "core/supervision/launch_plan.h"
#include "core/supervision/nursery.h"
#include "core/supervision/process.h"
#include "core/topology/plan.h"
#include "ipc/channel.h"
#include "ipc/control_socket.h"

namespace samovar::core {

// What one life of a worker has of the operating system. All descriptors are non-blocking.
struct Incarnation {
  std::uint64_t number = 0;
  Process process;
  std::optional<ipc::ControlSocket> socket;
  ipc::UniqueFd output_fd;  // what it prints
  std::shared_ptr<ipc::HostEnd> channel;
  std::int64_t spawned_ns = 0;
  int node = ipc::kAnyNode;  // that it runs on, where the plan says
};

// What a process of ours has at its start.
struct ProcessEnds {
  ipc::ControlSocket socket;
  ipc::UniqueFd output;
};

class Launcher {
 public:
  // All outlive this.
  Launcher(const Options& options, LaunchPlan plan, const Plan& placement, const RequestArena& arena, const Log& log);

  // Whether the system gave what it needs; or why not.
  Result<void> check() const;

  // Starts worker `worker` as an incarnation with a number of its own. Where this fails and `made.process` is set, that runs all the same, without ever getting a Hello: it is the
  // caller's to kill and reap.
  Result<void> launch(unsigned worker, Incarnation& made) const;

  // The same in two steps, for a worker that a nursery forks in between: all but the process, which gets the ends; and then, with the
  // process, what is done to it from outside and its Hello.
  Result<ProcessEnds> prepare(unsigned worker, Incarnation& made) const;
  Result<void> welcome(unsigned worker, Incarnation& made) const;

  // As launch(): a nursery, which loads the module.
  Result<void> launch_nursery(Nursery::Life& made) const;

  const std::string& python() const { return plan_.python; }

 private:
  // Fails where somebody has asked for that place; else the log is told, once.
  Result<void> pin(pid_t pid, unsigned worker) const;

  const Options& options_;
  const LaunchPlan plan_;
  const Plan& placement_;
  const RequestArena& arena_;
  const Log& log_;
  mutable std::atomic<bool> told_{false};  // that workers cannot be pinned
  mutable std::atomic<std::uint64_t> incarnations_{0};
  const ipc::UniqueFd host_process_;  // a pidfd of this process, for the workers' guards
};

}  // namespace samovar::core
