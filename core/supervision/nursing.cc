// The supervisor's part that keeps a nursery, and has workers forked by it.
//
// There is one nursery that forks; while reload() runs a second one, with fresh code, which takes its place when its first worker
// serves. One that is not needed any more ends when the last of its workers has: it knows how they ended.
#include <signal.h>

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/supervision/process_reading.h"
#include "core/supervision/supervisor.h"
#include "ipc/layout.h"

namespace samovar::core {
namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

// --- birth -----------------------------------------------------------------------------------------------------------------------

bool Supervisor::wants_nursery() const {
  return options_.worker_start == WorkerStart::nursery && options_.pool_enabled && cannot_fork_ != generation_;
}

std::shared_ptr<Nursery> Supervisor::forker() const {
  for (const auto& nursery : {next_nursery_, nursery_}) {
    if (nursery && nursery->is_ready) return nursery;
  }
  return nullptr;
}

bool Supervisor::waits_for_nursery() const { return !forker() && (nursery_ || next_nursery_); }

std::shared_ptr<Nursery> Supervisor::fresh_forker() const {
  std::shared_ptr<Nursery> nursery = forker();
  return nursery && nursery->generation() == generation_ ? nursery : nullptr;
}

std::shared_ptr<Nursery> Supervisor::start_nursery() {
  Nursery::Life life;
  Result<void> launched = launcher_.launch_nursery(life);
  if (!life.process) {
    nursery_start_failed(nullptr, std::move(launched.error()));
    return nullptr;
  }
  auto nursery = std::make_shared<Nursery>(++nurseries_started_, generation_, std::move(life));
  nurseries_.push_back(nursery);
  processes_changed_ = true;
  const Nursery::Life& started = nursery->life();
  if (launched && (!watch(started.process.pidfd(), Source::nursery, nursery->number()) ||
                   !watch(started.socket->fd(), Source::nursery_socket, nursery->number()) ||
                   !watch(started.output_fd.get(), Source::nursery_output, nursery->number()))) {
    launched = tl::unexpected(start_refused(ipc::system_error("epoll_ctl").value(), "starting a nursery"));
  }
  nursery->due_ns = ipc::in(options_.start_timeout.count());
  if (!launched) {
    kill_nursery(*nursery, std::move(launched.error()));
    nursery->life().process.await_end();  // its pidfd may not be watched
    bury_nursery(nursery->number());
    return nullptr;
  }
  events_.tell(event(EventKind::nursery_started, *nursery, nursery->label() + " started"));
  return nursery;
}

Nursery* Supervisor::find_nursery(std::uint64_t number) const {
  const auto found = std::find_if(nurseries_.begin(), nurseries_.end(), [&](const auto& nursery) { return nursery->number() == number; });
  return found != nurseries_.end() ? found->get() : nullptr;
}

void Supervisor::read_nursery(std::uint64_t number) {
  while (Nursery* nursery = find_nursery(number)) {
    std::optional<Nursery::Word> word = nursery->next_word();
    if (!word) return;
    if (auto* ready = std::get_if<ipc::NurseryReady>(&*word)) {
      greet_nursery(*nursery, *ready);
    } else if (auto* failed = std::get_if<ipc::StartFailed>(&*word)) {
      nursery->failure = module_failed(*failed);  // its exit follows
    } else if (auto* forked = std::get_if<Nursery::Forked>(&*word)) {
      adopt(std::move(*forked));
    } else if (auto* refused = std::get_if<ipc::ForkFailed>(&*word)) {
      if (const auto slot = forking_slot(refused->incarnation)) {
        withdraw(*slot);
        start_failed(*slot, module_failed(refused->why));
      }
    } else if (auto* nonsense = std::get_if<Nursery::Nonsense>(&*word)) {
      kill_nursery(*nursery, make_error(Category::worker, Code::worker_lost, nursery->label() + " sent " + nonsense->what));
    } else {
      unwatch(nursery->life().socket->fd());  // it is ending; the pidfd will prove it
    }
  }
}

void Supervisor::greet_nursery(Nursery& nursery, const ipc::NurseryReady& ready) {
  if (ready.layout_hash != ipc::layout_hash()) {
    return kill_nursery(nursery, make_error(Category::configuration, Code::incompatible_worker,
                                            "the nursery's extension speaks another layout than this library; build or install both from one version"));
  }
  nursery.due_ns = ipc::kNever;
  nursery.is_ready = nursery.was_ready = true;
  Event told = event(EventKind::nursery_ready, nursery, {});
  told.took = std::chrono::nanoseconds(ipc::now_ns() - nursery.life().spawned_ns);
  told.message = nursery.label() + " ready in " + std::to_string(told.took.count() / 1'000'000) + " ms";
  events_.tell(std::move(told));
  if (!ready.threads.empty()) {
    cannot_fork_ = nursery.generation();
    Event threads = event(EventKind::nursery_threads, nursery,
                          "loading " + options_.module + " has started threads, beside which no worker can be forked: " + listed(ready.threads) +
                              ". Each worker is started by exec, with its own copy of what it loads. Start threads in @samovar.after_fork or in the "
                              "first call, or set worker_start = \"exec\"");
    threads.count = ready.threads.size();
    events_.tell(std::move(threads));
    (next_nursery_.get() == &nursery ? next_nursery_ : nursery_).reset();
  }
  if (reload_) step_reload();
}

// --- workers ---------------------------------------------------------------------------------------------------------------------

void Supervisor::fork_worker(std::size_t index, std::shared_ptr<Nursery> nursery) {
  Worker& worker = workers_[index];
  worker.generation = nursery->generation();
  Result<ProcessEnds> ends = launcher_.prepare(worker.seat, worker.life);
  if (!ends) return start_failed(index, std::move(ends.error()));
  if (!nursery->fork(worker.life.number, ends->socket.fd(), ends->output.get())) {
    return start_failed(index, make_error(Category::system, Code::unsupported_system, nursery->label() + " takes no requests"));
  }
  advance(index, WorkerEvent::requested);
  worker.nursery = std::move(nursery);
  worker.due_ns = ipc::in(options_.start_timeout.count());
}

std::optional<std::size_t> Supervisor::forking_slot(std::uint64_t incarnation) const {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].state == WorkerState::forking && workers_[i].life.number == incarnation) return i;
  }
  return std::nullopt;
}

void Supervisor::adopt(Nursery::Forked forked) {
  const auto slot = forking_slot(forked.incarnation);
  if (!slot) return;  // the pool has stopped meanwhile; the worker sees the end of its socket
  Worker& worker = workers_[*slot];
  worker.life.process = Process::adopt(worker.nursery, forked.incarnation, forked.pid, std::move(forked.pidfd));
  begin_life(*slot, launcher_.welcome(worker.seat, worker.life));
}

// What was prepared for a worker that is not to be.
void Supervisor::withdraw(std::size_t index) {
  Worker& worker = workers_[index];
  if (!advance(index, WorkerEvent::withdrawn)) return;
  if (worker.nursery) worker.nursery->forget(worker.life.number);
  worker.nursery.reset();
  worker.due_ns = ipc::kNever;
  worker.life = Incarnation{.number = worker.life.number};
}

// --- end -------------------------------------------------------------------------------------------------------------------------

void Supervisor::kill_nursery(Nursery& nursery, Error error) {
  if (!nursery.failure) nursery.failure = std::move(error);
  nursery.is_ready = false;
  nursery.due_ns = ipc::kNever;
  nursery.life().process.signal_group(SIGKILL);
}

void Supervisor::nursery_overstays(Nursery& nursery) {
  nursery.due_ns = ipc::kNever;
  if (nursery.is_ending) {
    log_.error(nursery.label() + " does not end: SIGKILL");
    return nursery.life().process.signal_group(SIGKILL);
  }
  kill_nursery(nursery, make_error(Category::configuration, Code::start_timeout,
                                   nursery.label() + " was not ready within start_timeout (" +
                                       std::to_string(options_.start_timeout.count() / 1'000'000) +
                                       " ms); make the module's import faster or raise start_timeout"));
}

// Ends those that neither fork nor have workers any more. When the pool stops: all, once the workers have ended.
void Supervisor::end_nurseries() {
  for (const auto& nursery : nurseries_) {
    if (nursery->is_ending || (!stopping_.load() && (nursery == nursery_ || nursery == next_nursery_))) continue;
    const auto is_its_own = [&](const Worker& worker) { return worker.nursery == nursery; };
    if (std::any_of(workers_.begin(), workers_.end(), is_its_own)) continue;
    nursery->is_ending = true;
    nursery->is_ready = false;
    nursery->due_ns = ipc::in(options_.stop_timeout.count());
    if (!nursery->was_ready) nursery->life().process.signal_group(SIGKILL);
    unwatch(nursery->life().socket->fd());
    nursery->close();
  }
}

void Supervisor::bury_nursery(std::uint64_t number) {
  read_nursery(number);  // its last words may lie there
  const auto found = std::find_if(nurseries_.begin(), nurseries_.end(), [&](const auto& nursery) { return nursery->number() == number; });
  if (found == nurseries_.end()) return;
  const std::shared_ptr<Nursery> nursery = std::move(*found);
  nurseries_.erase(found);
  processes_changed_ = true;
  if (nursery->life().output_fd) read_nursery_output(*nursery);
  nursery->output.finish([&](LogLevel level, std::string_view line) { log_.write(level, "nursery: " + std::string(line)); });
  unwatch(nursery->life().process.pidfd());
  const ExitStatus status = nursery->life().process.exit_status();
  nursery->close();
  unburied_.push_back(std::move(nursery->life().process));
  if (nursery->is_ending) return;

  std::vector<std::size_t> unborn;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].state == WorkerState::forking && workers_[i].nursery == nursery) unborn.push_back(i);
  }
  for (const std::size_t i : unborn) {
    withdraw(i);
    if (workers_[i].replaces_ns != 0) vacated_ns_[workers_[i].seat] = workers_[i].replaces_ns;
  }
  const bool was_next = next_nursery_ == nursery;
  if (was_next) next_nursery_.reset();
  if (nursery_ == nursery) nursery_.reset();
  if (stopping_.load()) return;
  const std::string how = nursery->failure ? nursery->failure->message : nursery->label() + " " + status.to_string();
  if (!nursery->was_ready) {
    if (nursery->failure && status.code == kExitLayout) nursery->failure->code = Code::incompatible_worker;  // not the module's fault
    nursery_start_failed(nursery.get(), nursery->failure ? std::move(*nursery->failure) : start_failure(how, status));
  } else {
    Event lost = event(EventKind::nursery_lost, *nursery, how + "; another one is started");
    lost.details = nursery->output.last_lines();
    events_.tell(std::move(lost));
    // One that dies of forking would do so again and again.
    if (was_next && reload_) finish_reload(tl::unexpected(make_error(Category::worker, Code::worker_lost, how)));
    else if (unborn.empty()) restarts_.lost(ipc::now_ns(), random_byte());
    else note_failed_start(make_error(Category::worker, Code::worker_lost, how + ", while a worker was to be forked"));
  }
  if (reload_) step_reload();
}

void Supervisor::nursery_start_failed(const Nursery* nursery, Error error) {
  if (nursery && error.context.traceback.empty()) error.context.output = nursery->output.last_lines();
  Event failed = nursery ? event(EventKind::nursery_failed, *nursery, nursery->label() + " did not become ready: " + error.message)
                         : Event{.kind = EventKind::nursery_failed, .message = error.message};
  failed.details = error.context.traceback.empty() ? error.context.output : error.context.traceback;
  events_.tell(std::move(failed));
  if (reload_ && (!nursery || nursery->generation() == generation_)) return finish_reload(tl::unexpected(std::move(error)));
  note_failed_start(std::move(error));
}

// --- health ----------------------------------------------------------------------------------------------------------------------

// A nursery that is stopped by a signal while somebody waits for it is killed when that has lasted for stopped_after.
void Supervisor::look_at_nurseries(std::int64_t now_ns) {
  for (const auto& nursery : nurseries_) {
    const auto waits = [&](const Worker& worker) { return worker.state == WorkerState::forking && worker.nursery == nursery; };
    const bool is_waited_for = !nursery->was_ready || std::any_of(workers_.begin(), workers_.end(), waits);
    const auto reading = is_waited_for && !nursery->is_ending ? read_process(nursery->life().process.pid()) : std::nullopt;
    if (!reading || reading->state != 'T') {
      nursery->stopped_since_ns = 0;
    } else if (nursery->stopped_since_ns == 0) {
      nursery->stopped_since_ns = now_ns;
    } else if (now_ns - nursery->stopped_since_ns >= options_.stopped_after.count()) {
      kill_nursery(*nursery, make_error(Category::worker, Code::worker_lost,
                                        nursery->label() + " was killed: it was stopped by a signal"));
    }
  }
}

void Supervisor::read_nursery_output(Nursery& nursery) {
  const auto on_line = [&](LogLevel level, std::string_view line) { log_.write(level, "nursery: " + std::string(line)); };
  ipc::UniqueFd& fd = nursery.life().output_fd;
  if (nursery.output.drain(fd.get(), on_line)) return;
  unwatch(fd.get());
  fd.reset();
}

Event Supervisor::event(EventKind kind, const Nursery& nursery, std::string message) const {
  Event told{.kind = kind, .message = std::move(message)};
  told.pid = nursery.life().process.pid();
  return told;
}

}  // namespace samovar::core
