// The supervisor's part that ends workers, and that follows their ends.
#include <signal.h>

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/supervision/supervisor.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kTerminateNs = 1'000'000'000;  // from SIGTERM to SIGKILL
constexpr int kExitNoExtension = 3;                   // see python_ext/samovar/worker.py

}  // namespace

void Supervisor::fail(std::size_t index, Error error) {
  Worker& worker = workers_[index];
  if (!advance(index, takes_or_has_calls(worker.state) ? WorkerEvent::violated : WorkerEvent::failed)) return;
  if (!worker.served) log_.error(error.message);
  if (!worker.failure) worker.failure = std::move(error);
  kill_now(index);
}

void Supervisor::kill_now(std::size_t index) {
  Worker& worker = workers_[index];
  worker.due_ns = ipc::kNever;
  worker.life.process.signal_group(SIGKILL);
  if (!worker.served || !worker.failure) return;
  if (!worker.condemned_for.empty()) counters_.workers_killed.add();
  Event killed = event(EventKind::worker_killed, index, worker.failure->message);
  killed.state = worker.condemned_for.empty() ? "broken" : worker.condemned_for;
  killed.details = worker.stacks;
  events_.tell(std::move(killed));
}

void Supervisor::ask_to_end(std::size_t index) {
  Worker& worker = workers_[index];
  (void)worker.life.socket->send(ipc::encode_control(ipc::Stop{}));  // gone already: its pidfd says so
  worker.life.channel->stop();
  worker.due_ns = ipc::in(options_.stop_timeout.count());
}

void Supervisor::begin_stop(std::size_t index) {
  const WorkerState before = workers_[index].state;
  if (before == WorkerState::forking) return withdraw(index);
  if (!advance(index, WorkerEvent::stop) || workers_[index].state == before) return;
  if (workers_[index].state == WorkerState::stopping) {
    ask_to_end(index);
  } else {
    kill_now(index);
  }
}

void Supervisor::overstay(std::size_t index) {
  Worker& worker = workers_[index];
  const WorkerState before = worker.state;
  if (before == WorkerState::forking) {
    return kill_nursery(*worker.nursery, make_error(Category::worker, Code::worker_lost,
                                                    worker.nursery->label() + " was killed: it did not fork a worker within start_timeout"));
  }
  if (!advance(index, WorkerEvent::overstayed)) return;
  switch (before) {
    case WorkerState::starting:
    case WorkerState::pinging:
      worker.failure = make_error(Category::configuration, Code::start_timeout,
                                  label(index) + " was not ready within start_timeout (" +
                                      std::to_string(options_.start_timeout.count() / 1'000'000) +
                                      " ms); make the module's import faster or raise start_timeout");
      break;
    case WorkerState::stopping:
      log_.warning(label(index) + " did not end within stop_timeout: SIGTERM");
      worker.life.process.signal_group(SIGTERM);
      worker.due_ns = ipc::in(kTerminateNs);
      return;
    case WorkerState::terminating: log_.error(label(index) + " does not end: SIGKILL"); break;
    default: break;  // condemned: without its stacks
  }
  kill_now(index);
}

void Supervisor::bury(std::size_t index) {
  Worker& worker = workers_[index];
  const bool was_killed = worker.state == WorkerState::killed;
  if (worker.state == WorkerState::condemned) {  // it ended by itself, while its stacks were awaited
    advance(index, WorkerEvent::overstayed);
    worker.failure.reset();
    worker.condemned_for = {};
  }
  if (worker.state == WorkerState::starting || worker.state == WorkerState::killed) read_socket(index);  // its last word may lie there
  if (worker.life.output_fd) read_output(index);
  worker.output.finish(
      [&](LogLevel level, std::string_view line) { log_.write(level, "worker " + std::to_string(worker.seat) + ": " + std::string(line)); });
  unwatch(worker.life.process.pidfd());
  ExitStatus status = worker.life.process.exit_status();
  status.out_of_memory = status.signal == SIGKILL && !was_killed && oom_kills_.explain(worker.oom_kills);
  const std::string how = label(index) + " " + status.to_string();
  const WorkerState died_in = worker.state;
  advance(index, WorkerEvent::exited);
  worker.due_ns = ipc::kNever;
  if (worker.served) {
    bury_served(index, how, died_in);
  } else if (!stopping_.load()) {
    Error error = worker.failure ? std::move(*worker.failure) : start_failure(how, status);
    if (status.code == kExitLayout) error.code = Code::incompatible_worker;  // not the module's fault
    start_failed(index, std::move(error));
  }
  unburied_.push_back(std::move(worker.life.process));
  worker.life.channel.reset();
  worker.life.socket.reset();
  worker.life.output_fd.reset();
  worker.nursery.reset();
  if (reload_) step_reload();
}

// The processes themselves, once their callers have been told and their replacements started.
void Supervisor::bury_groups() {
  for (Process& process : std::exchange(unburied_, {})) process.bury_group();
}

// Callers are told first, then the log and the user's hook.
void Supervisor::bury_served(std::size_t index, std::string how, WorkerState died_in) {
  Worker& worker = workers_[index];
  const bool asked = stopping_.load() || died_in == WorkerState::stopping || died_in == WorkerState::terminating;
  if (worker.failure) how = worker.failure->message;
  const std::int64_t now_ns = ipc::now_ns();
  if (!stopping_.load() && !is_overflow(worker.seat) && !is_taken(worker.seat)) vacated_ns_[worker.seat] = now_ns;
  if (!asked) {
    counters_.workers_lost.add();
    restarts_.lost(now_ns, random_byte());
  } else if (worker.retired_for == kNotNeeded) {
    counters_.overflow_ended.add();
  } else if (!worker.retired_for.empty()) {
    counters_.workers_recycled.add();
  }
  const std::string output = worker.output.last_lines();
  if (worker.attached) {
    counters_.workers_ready.subtract();
    dispatcher_->detach(static_cast<int>(index),
                        {.incarnation = worker.life.number, .how = how, .output = output, .stacks = std::move(worker.stacks)});
  }
  if (!asked) {
    Event lost = event(EventKind::worker_lost, index, how + (is_overflow(worker.seat) ? "" : "; it is replaced"));
    lost.details = output;
    events_.tell(std::move(lost));
  } else if (worker.retired_for == kNotNeeded) {
    overflow_ended(index, now_ns);
  } else if (!worker.retired_for.empty()) {
    Event recycled = event(EventKind::worker_recycled, index, label(index) + " was drained and ended as planned");
    recycled.state = worker.retired_for;
    recycled.took = std::chrono::nanoseconds(now_ns - worker.ready_ns);
    events_.tell(std::move(recycled));
  }
}

Error Supervisor::start_failure(const std::string& how, const ExitStatus& status) const {
  const std::string& python = launcher_.python();
  if (status.code == kExitNoExtension) {
    return make_error(Category::configuration, Code::incompatible_worker,
                      python + " has no Samovar extension that it can load; use the interpreter it was built for, or install "
                      "samovar for this one");
  }
  return make_error(Category::configuration, Code::incompatible_worker,
                    how + " before it was ready; does \"" + python +
                        " -m samovar.worker --help\" run?");
}

}  // namespace samovar::core
