#include "core/supervision/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>
#include <utility>

#include "core/errors.h"
#include "core/supervision/restart_policy.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kBackstopNs = 1'000'000;          // how often the dispatcher of last resort looks, under traffic
constexpr std::int64_t kTrafficMemoryNs = 100'000'000;   // how long after the last call it keeps looking
constexpr std::int64_t kTerminateNs = 1'000'000'000;     // from SIGTERM to SIGKILL
constexpr int kExitNoExtension = 3;                      // of samovar.worker: see python_ext/samovar/worker.py
constexpr int kExitLayout = 4;
constexpr std::uint64_t kPingId = UINT64_MAX;

std::int64_t in(Duration duration) { return ipc::in(duration.count()); }

std::uint64_t pack(std::uint64_t index, std::uint8_t source) { return index << 8 | source; }

std::uint8_t random_byte() { return static_cast<std::uint8_t>(std::random_device()()); }

}  // namespace

Supervisor::Supervisor(const Options& options, LaunchPlan plan, Counters& counters, RequestArena& arena, const Log& log, Bell& bell,
                       Events& events)
    : options_(options),
      plan_(std::move(plan)),
      counters_(counters),
      arena_(arena),
      log_(log),
      bell_(bell),
      events_(events),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      host_process_(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))),
      workers_(options.workers) {}

Supervisor::~Supervisor() {
  arena_.on_trim_expected({});
  stop();
}

// --- the loop -------------------------------------------------------------------------------------------------------------

Result<std::vector<ipc::Method>> Supervisor::start_workers() {
  if (!epoll_ || !host_process_ || !watch(bell_.fd(), Source::bell, 0)) {
    return tl::unexpected(start_refused(ipc::system_error("epoll_create1, eventfd or pidfd_open").value(), "starting a pool"));
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) spawn(i);
  const auto serving = [](const Worker& worker) { return worker.state == WorkerState::serving; };
  while (!first_failure_ && !std::all_of(workers_.begin(), workers_.end(), serving)) run_once(next_due_ns());
  if (first_failure_) {
    stop();
    return tl::unexpected(std::move(*first_failure_));
  }
  return methods_;
}

void Supervisor::serve(Dispatcher& dispatcher) {
  dispatcher_ = &dispatcher;
  serving_ = true;
  for (std::size_t i = 0; i < workers_.size(); ++i) hand_over(i);
  arena_.on_trim_expected([this] {
    trim_expected_.store(true);
    bell_.ring();
  });
  tell_due_ns_ = in(options_.heartbeat_interval);
  thread_ = std::thread([this] {
    run();
    tell_of_calls();
  });
}

void Supervisor::stop() {
  stopping_.store(true);
  if (thread_.joinable()) {
    bell_.ring();
    thread_.join();
  } else {
    run();
  }
}

void Supervisor::run() {
  bool stopped = false;
  for (;;) {
    if (stopping_.load() && !std::exchange(stopped, true)) {
      for (std::size_t i = 0; i < workers_.size(); ++i) begin_stop(i);
    }
    if (stopped && none_left()) return;

    if (dispatcher_ && counters_.asynchronous.get() > 0) {
      traffic_seen_ns_ = ipc::now_ns();
      dispatcher_->backstop();
    }
    const std::int64_t now_ns = ipc::now_ns();
    if (dispatcher_ && now_ns - traffic_seen_ns_ < kTrafficMemoryNs) {
      run_once(std::min(next_due_ns(), now_ns + kBackstopNs));
      continue;
    }
    bell_.announce(true);
    if (counters_.asynchronous.get() == 0 && !(stopping_.load() && !stopped)) run_once(next_due_ns());
    bell_.announce(false);
    if (counters_.asynchronous.get() > 0) traffic_seen_ns_ = ipc::now_ns();
  }
}

void Supervisor::run_once(std::int64_t until_ns) {
  std::array<epoll_event, 32> events;
  int timeout_ms = -1;
  if (until_ns != ipc::kNever) {
    const std::int64_t left_ns = std::max<std::int64_t>(0, until_ns - ipc::now_ns());
    timeout_ms = static_cast<int>(std::min<std::int64_t>((left_ns + 999'999) / 1'000'000, 3'600'000));
  }
  const int count = epoll_wait(epoll_.get(), events.data(), events.size(), timeout_ms);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t data = events[static_cast<std::size_t>(i)].data.u64;
    handle(static_cast<Source>(data & 0xff), data >> 8);
  }
  run_timers();
}

void Supervisor::handle(Source source, std::size_t index) {
  switch (source) {
    case Source::bell: {
      bell_.clear();
      events_.tell_posted();
      if (trim_expected_.exchange(false)) trim_due_ns_ = in(options_.arena_trim_delay);
      std::vector<DutyCycle::Violation> violations;
      {
        std::lock_guard lock(violations_mutex_);
        violations.swap(violations_);
      }
      for (const auto& violation : violations) {
        const auto slot = static_cast<std::size_t>(violation.slot);
        if (workers_[slot].incarnation != violation.incarnation) continue;
        counters_.violations.add();
        fail(slot, make_error(Category::worker, Code::worker_lost, label(slot) + " broke the protocol: " + violation.what));
      }
      break;
    }
    case Source::process: bury(index); break;
    case Source::socket: read_socket(index); break;
    case Source::output: read_output(index); break;
    case Source::channel: read_pong(index); break;
  }
}

std::int64_t Supervisor::next_due_ns() const {
  std::int64_t due_ns = std::min(trim_due_ns_, tell_due_ns_);
  for (const Worker& worker : workers_) due_ns = std::min(due_ns, worker.due_ns);
  return due_ns;
}

void Supervisor::run_timers() {
  const std::int64_t now_ns = ipc::now_ns();
  if (trim_due_ns_ <= now_ns) {
    if (counters_.escaped_views() > 0) dispatcher_->look_for_blocks();
    const bool again = arena_.trim() || counters_.escaped_views() > 0;
    trim_due_ns_ = again ? in(options_.arena_trim_delay) : ipc::kNever;
  }
  if (tell_due_ns_ <= now_ns) {
    tell_of_calls();
    tell_due_ns_ = in(options_.heartbeat_interval);
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].due_ns > now_ns) continue;
    workers_[i].due_ns = ipc::kNever;
    if (workers_[i].state != WorkerState::absent) {
      overstay(i);
    } else if (!stopping_.load()) {
      spawn(i);
    }
  }
}

// --- birth ----------------------------------------------------------------------------------------------------------------

void Supervisor::spawn(std::size_t index) {
  Worker& worker = workers_[index];
  Result<void> spawned = try_spawn(index);
  if (spawned) return;
  if (worker.process) {  // it runs, but something after that was refused
    advance(index, WorkerEvent::spawned);
    fail(index, std::move(spawned.error()));
    // Its pidfd may not be watched, so its end is waited for here; after SIGKILL that is at once.
    pollfd ended{worker.process.pidfd(), POLLIN, 0};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    bury(index);
    return;
  }
  log_.error(label(index) + " could not be started: " + spawned.error().message);
  if (!first_failure_) first_failure_ = spawned.error();
  worker.due_ns = ipc::now_ns() + restart_delay_ns(++worker.failures, options_.restart_delay.count(),
                                                   options_.restart_delay_max.count(), random_byte());
}

Result<void> Supervisor::try_spawn(std::size_t index) {
  const auto failed = [](const ipc::SystemError& error) { return tl::unexpected(start_refused(error, "starting a worker")); };
  Worker& worker = workers_[index];
  const int failures = worker.failures;
  worker = Worker{};
  worker.failures = failures;
  worker.incarnation = ++incarnations_;

  const std::string name = options_.name + "-" + std::to_string(worker.incarnation);
  auto channel = ipc::HostEnd::create(
      {.lane_bytes = options_.lane_bytes,
       .payload_bytes_max = options_.inline_bytes_max,
       .response_arena_bytes = options_.response_arena_bytes,
       .name = name.c_str()});
  if (!channel) return failed(channel.error());
  worker.channel = std::move(*channel);
  auto sockets = ipc::ControlSocket::pair();
  if (!sockets) return failed(sockets.error());
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return failed(ipc::system_error("pipe2").value());
  worker.output_fd = ipc::UniqueFd(pipe_fds[0]);
  const ipc::UniqueFd output_end(pipe_fds[1]);
  fcntl(worker.output_fd.get(), F_SETFL, O_NONBLOCK);

  auto process = Process::spawn({.argv = plan_.argv,
                                 .environment = plan_.environment,
                                 .socket = sockets->second.fd(),
                                 .output = output_end.get()});
  if (!process) return failed(process.error());
  worker.process = std::move(*process);
  worker.spawned_ns = ipc::now_ns();
  worker.due_ns = in(options_.start_timeout);
  worker.socket = std::move(sockets->first);
  fcntl(worker.socket->fd(), F_SETFL, O_NONBLOCK);  // ours alone: each end has its own flags
  if (Result<void> pinned = pin(worker, index); !pinned) return pinned;
  if (!watch(worker.process.pidfd(), Source::process, index) || !watch(worker.socket->fd(), Source::socket, index) ||
      !watch(worker.output_fd.get(), Source::output, index)) {
    return failed(ipc::system_error("epoll_ctl").value());
  }
  ipc::Hello hello = worker.channel->hello();
  hello.incarnation = worker.incarnation;
  hello.worker = static_cast<std::uint32_t>(index);
  hello.spin_max_ns = options_.spin_max.count();
  hello.module = options_.module;
  hello.request_arena_bytes = arena_.bytes_total();
  hello.arena_trim_ns = options_.arena_trim_delay.count();
  hello.escaped_views_max = options_.escaped_views_max;
  hello.heartbeat_ns = options_.heartbeat_interval.count();
  hello.probe_after_ns = options_.probe_after.count();
  hello.log_level = static_cast<std::uint8_t>(options_.log_level);
  // A worker that has died already is noticed by its pidfd.
  (void)worker.socket->send(ipc::encode_control(hello), worker.channel->fds_for_worker(host_process_.get(), arena_.worker_fd()));
  worker.channel->close_segment_fds();
  advance(index, WorkerEvent::spawned);
  return {};
}

Result<void> Supervisor::pin(const Worker& worker, std::size_t index) const {
  if (options_.worker_cpus.empty()) return {};
  const int cpu = options_.worker_cpus[index % options_.worker_cpus.size()];
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (sched_setaffinity(worker.process.pid(), sizeof set, &set) == 0) return {};
  return tl::unexpected(system_failure(ipc::system_error("sched_setaffinity").value(),
                                       "pinning a worker to CPU " + std::to_string(cpu) + " (worker_cpus)"));
}

void Supervisor::read_socket(std::size_t index) {
  Worker& worker = workers_[index];
  auto datagram = worker.socket->receive();
  if (!datagram && datagram.error().error == EAGAIN) return;
  if (!datagram || datagram->bytes.empty()) {
    unwatch(worker.socket->fd());  // it is ending; the pidfd will prove it
    return;
  }
  auto message = ipc::decode_control(datagram->bytes);
  if (message && std::holds_alternative<ipc::Ready>(*message) && worker.state == WorkerState::starting) {
    greet_ready(index, std::move(std::get<ipc::Ready>(*message)));
  } else if (message && std::holds_alternative<ipc::StartFailed>(*message)) {
    auto& failed = std::get<ipc::StartFailed>(*message);
    Error error = make_error(Category::configuration, Code::module_failed, failed.reason);
    if (!failed.type.empty()) error.message += ": " + failed.type + ": " + failed.message;
    error.context.python_type = std::move(failed.type);
    error.context.traceback = std::move(failed.traceback);
    worker.failure = std::move(error);  // its exit follows
  } else {
    fail(index, make_error(Category::worker, Code::worker_lost,
                           label(index) + " sent " + (message ? "a control message out of turn" : message.error())));
  }
}

void Supervisor::greet_ready(std::size_t index, ipc::Ready ready) {
  Worker& worker = workers_[index];
  if (ready.layout_hash != ipc::layout_hash()) {
    fail(index, make_error(Category::configuration, Code::incompatible_worker,
                           "the worker's extension speaks another layout than this library; build or install both from one version"));
    return;
  }
  worker.methods = std::move(ready.methods);
  advance(index, WorkerEvent::ready);
  ping(index);
}

void Supervisor::ping(std::size_t index) {
  Worker& worker = workers_[index];
  std::byte* message = worker.channel->requests.try_claim(ipc::message_bytes(0));
  ipc::write_request({.call_id = kPingId, .deadline_ns = 0, .method = ipc::kPingMethod, .payload = {}}, message);
  worker.channel->announce_asleep(true);
  worker.channel->requests.publish();
  ipc::store_load_fence();  // FENCE: see HostEnd::ring_if_asleep().
  worker.channel->ring_if_asleep();
  if (!watch(worker.channel->eventfd(), Source::channel, index)) {
    fail(index, system_failure(ipc::system_error("epoll_ctl").value(), "waiting for a worker's ping"));
  }
}

void Supervisor::read_pong(std::size_t index) {
  Worker& worker = workers_[index];
  if (worker.state != WorkerState::pinging) return;
  ipc::LaneReader& lane = worker.channel->responses;
  const ipc::Peek peek = lane.peek();
  if (peek == ipc::Peek::empty) return;
  std::vector<std::byte> copy;
  ipc::Response pong;
  if (peek == ipc::Peek::record) copy.assign(lane.message(), lane.message() + lane.size());
  if (!ipc::read_response(copy, pong) || pong.call_id != kPingId || pong.status != ipc::Status::ok) {
    fail(index, make_error(Category::worker, Code::worker_lost, label(index) + " answered its ping with something else"));
    return;
  }
  lane.pop();
  lane.publish_consumed();
  worker.channel->announce_asleep(false);
  unwatch(worker.channel->eventfd());
  advance(index, WorkerEvent::ponged);
  worker.due_ns = ipc::kNever;
  worker.failures = 0;
  worker.served = true;
  if (methods_.empty()) methods_ = worker.methods;
  log_.info(label(index) + " ready in " + std::to_string((ipc::now_ns() - worker.spawned_ns) / 1'000'000) + " ms");
  if (serving_) hand_over(index);
}

void Supervisor::hand_over(std::size_t index) {
  Worker& worker = workers_[index];
  MethodNumbers numbers;
  for (const ipc::Method& method : methods_) {
    const auto found = std::find_if(worker.methods.begin(), worker.methods.end(),
                                    [&](const ipc::Method& other) { return other.name == method.name; });
    numbers.push_back(found == worker.methods.end() ? std::uint16_t{0}
                                                    : static_cast<std::uint16_t>(found - worker.methods.begin() + 1));
  }
  counters_.workers_ready.add();
  dispatcher_->attach(static_cast<int>(index), worker.incarnation, worker.channel, std::move(numbers));
}

// --- life -----------------------------------------------------------------------------------------------------------------

void Supervisor::read_output(std::size_t index) {
  Worker& worker = workers_[index];
  const std::string prefix = "worker " + std::to_string(index) + ": ";
  const auto on_line = [&](std::string_view line) { log_.info(prefix + std::string(line)); };
  if (!worker.output.drain(worker.output_fd.get(), on_line)) {
    unwatch(worker.output_fd.get());
    worker.output_fd.reset();
  }
}

void Supervisor::kill_worker(const DutyCycle::Violation& violation) {
  {
    std::lock_guard lock(violations_mutex_);
    violations_.push_back(violation);
  }
  bell_.ring();
}

void Supervisor::fail(std::size_t index, Error error) {
  Worker& worker = workers_[index];
  const bool violated = worker.state == WorkerState::serving || worker.state == WorkerState::stopping;
  if (!advance(index, violated ? WorkerEvent::violated : WorkerEvent::failed)) return;
  log_.error(error.message);
  if (!worker.failure) worker.failure = std::move(error);
  worker.due_ns = ipc::kNever;
  worker.process.signal_group(SIGKILL);
}

// --- death ----------------------------------------------------------------------------------------------------------------

void Supervisor::begin_stop(std::size_t index) {
  Worker& worker = workers_[index];
  if (worker.state == WorkerState::absent) {
    worker.due_ns = ipc::kNever;
    return;
  }
  advance(index, WorkerEvent::stop);
  if (worker.state == WorkerState::stopping) {
    (void)worker.socket->send(ipc::encode_control(ipc::Stop{}));  // gone already: its pidfd says so
    worker.channel->stop();
    worker.due_ns = in(options_.stop_timeout);
  } else {
    worker.process.signal_group(SIGKILL);
    worker.due_ns = ipc::kNever;
  }
}

void Supervisor::overstay(std::size_t index) {
  Worker& worker = workers_[index];
  if (worker.state == WorkerState::stopping && !std::exchange(worker.terminated, true)) {
    log_.warning(label(index) + " did not end within stop_timeout: SIGTERM");
    worker.process.signal_group(SIGTERM);
    worker.due_ns = ipc::now_ns() + kTerminateNs;
    return;
  }
  if (worker.state == WorkerState::starting || worker.state == WorkerState::pinging) {
    worker.failure = make_error(Category::configuration, Code::start_timeout,
                                label(index) + " was not ready within start_timeout (" +
                                    std::to_string(options_.start_timeout.count() / 1'000'000) +
                                    " ms); make the module's import faster or raise start_timeout");
  }
  log_.error(label(index) + " does not end or does not begin: SIGKILL");
  advance(index, WorkerEvent::overstayed);
  worker.process.signal_group(SIGKILL);
}

void Supervisor::bury(std::size_t index) {
  Worker& worker = workers_[index];
  if (worker.state == WorkerState::starting) read_socket(index);  // StartFailed may still lie there
  if (worker.output_fd) read_output(index);
  worker.output.finish([&](std::string_view line) { log_.info("worker " + std::to_string(index) + ": " + std::string(line)); });
  const std::string who = label(index);
  // Its children go with it; while it has not been reaped, its number and its group's belong to nobody else.
  worker.process.signal_group(SIGKILL);
  unwatch(worker.process.pidfd());
  const ExitStatus status = worker.process.reap();
  const bool asked = worker.state == WorkerState::stopping || stopping_.load();
  advance(index, WorkerEvent::exited);
  if (worker.served) {
    bury_served(index, who + " " + status.to_string(), asked);
  } else {
    bury_unserved(index, status, asked);
  }
  worker.channel.reset();
  worker.socket.reset();
  worker.output_fd.reset();
}

void Supervisor::bury_served(std::size_t index, std::string how, bool asked) {
  Worker& worker = workers_[index];
  if (worker.failure) how = worker.failure->message;
  if (!asked) {
    counters_.workers_lost.add();
    log_.warning(how + "; it is replaced");
    worker.due_ns = ipc::now_ns();
  } else {
    worker.due_ns = ipc::kNever;
  }
  if (!dispatcher_) return;
  counters_.workers_ready.subtract();
  dispatcher_->detach(static_cast<int>(index), {.incarnation = worker.incarnation, .how = std::move(how), .output = worker.output.last_lines()});
}

void Supervisor::bury_unserved(std::size_t index, const ExitStatus& status, bool asked) {
  Worker& worker = workers_[index];
  worker.due_ns = ipc::kNever;
  if (asked) return;
  Error error = worker.failure ? std::move(*worker.failure) : start_failure(index, status);
  if (status.code == kExitLayout) error.code = Code::incompatible_worker;  // not the module's fault
  error.context.worker = static_cast<int>(index);
  error.context.incarnation = worker.incarnation;
  if (error.context.traceback.empty()) error.context.output = worker.output.last_lines();
  log_.error(label(index) + " did not become ready: " + error.to_string());
  if (!first_failure_) first_failure_ = std::move(error);
  worker.due_ns = ipc::now_ns() + restart_delay_ns(++worker.failures, options_.restart_delay.count(),
                                                   options_.restart_delay_max.count(), random_byte());
}

Error Supervisor::start_failure(std::size_t index, const ExitStatus& status) const {
  const std::string& python = plan_.argv[0];
  if (status.code == kExitNoExtension) {
    return make_error(Category::configuration, Code::incompatible_worker,
                      python + " has no Samovar extension that it can load; use the interpreter it was built for, or install "
                      "samovar for this one");
  }
  return make_error(Category::configuration, Code::incompatible_worker,
                    label(index) + " " + status.to_string() + " before it was ready; does \"" + python +
                        " -m samovar.worker --help\" run?");
}

bool Supervisor::advance(std::size_t index, WorkerEvent event) {
  Worker& worker = workers_[index];
  const std::optional<WorkerState> state = next(worker.state, event);
  if (state) worker.state = *state;
  return state.has_value();
}

void Supervisor::tell_of_calls() {
  events_.tell_posted();
  dispatcher_->call_events().tell(events_);
}

bool Supervisor::none_left() const {
  return std::all_of(workers_.begin(), workers_.end(), [](const Worker& w) { return w.state == WorkerState::absent; });
}

bool Supervisor::watch(int fd, Source source, std::size_t index) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = pack(index, static_cast<std::uint8_t>(source))}};
  if (source == Source::channel) event.events |= EPOLLET;  // its counter is never read
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Supervisor::unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::string Supervisor::label(std::size_t index) const {
  const Worker& worker = workers_[index];
  return "worker " + std::to_string(index) + (worker.process.pid() > 0 ? " (PID " + std::to_string(worker.process.pid()) + ")" : "");
}

}  // namespace samovar::core
