#include "core/supervision/supervisor.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/errors.h"
#include "core/options.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kBackstopNs = 1'000'000;         // how often the dispatcher of last resort looks, under traffic
constexpr std::int64_t kTrafficMemoryNs = 100'000'000;  // how long after the last call it keeps looking

std::uint64_t pack(std::uint64_t index, std::uint8_t source) { return index << 8 | source; }

}  // namespace

Supervisor::Supervisor(const Options& options, LaunchPlan plan, const Plan& placement, Counters& counters, RequestArena& arena,
                       const Log& log, Bell& bell, Events& events)
    : options_(options),
      launcher_(options, std::move(plan), placement, arena, log),
      counters_(counters),
      arena_(arena),
      log_(log),
      bell_(bell),
      events_(events),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      health_limits_{.beat_ns = options.heartbeat_interval.count(),
                     .kill_grace_ns = options.kill_grace.count(),
                     .wedged_after_ns = options.wedged_after.count(),
                     .blocked_after_ns = std::max(options.probe_after, options.heartbeat_interval).count(),
                     .stopped_after_ns = options.stopped_after.count()},
      recycle_limits_{.calls = options.recycle_calls,
                      .age_ns = options.recycle_age.count(),
                      .memory_bytes = options.recycle_memory,
                      .idle_ns = options.idle_timeout.count()},
      seats_(options.pool_enabled ? options.workers : 1),
      workers_(seats_max(options) + kSpareSlots),
      vacated_ns_(seats_max(options)),
      restarts_({.intensity = options.restart_intensity,
                 .window_ns = options.restart_window.count(),
                 .delay_ns = options.restart_delay.count(),
                 .delay_max_ns = options.restart_delay_max.count(),
                 .starts_at_once = options.starts_at_once,
                 .quarantine_after = options.quarantine_after}),
      follows_load_(options.pool_enabled && seats_max(options) > options.workers),
      elasticity_({.workers = options.workers,
                   .workers_max = options.workers_max,
                   .overflow = options.max_overflow,
                   .after_ns = options.overflow_after.count(),
                   .linger_ns = options.overflow_linger.count(),
                   .window_ns = options.resize_window.count(),
                   .delay_ns = options.restart_delay.count(),
                   .delay_max_ns = options.restart_delay_max.count()}) {
  readings_.reserve(workers_.size());  // looks allocate nothing
}

Supervisor::~Supervisor() {
  arena_.on_trim_expected({});
  stop();
}

Result<std::vector<ipc::Method>> Supervisor::start_workers() {
  if (!epoll_ || !watch(bell_.fd(), Source::bell, 0)) {
    return tl::unexpected(start_refused(ipc::system_error("epoll_create1 or eventfd").value(), "starting a pool"));
  }
  if (Result<void> checked = launcher_.check(); !checked) return tl::unexpected(std::move(checked.error()));
  while (!first_failure_ && count(WorkerState::serving) < seats_) {
    fill_seats();
    bury_groups();
    end_nurseries();
    if (!first_failure_) run_once(next_due_ns());
  }
  if (first_failure_) {
    stop();
    return tl::unexpected(std::move(*first_failure_));
  }
  return methods_;
}

void Supervisor::serve(Dispatcher& dispatcher) {
  dispatcher_ = &dispatcher;
  serving_ = true;
  if (!options_.pool_enabled) seats_ = 0;
  counters_.workers_base.set(seats_);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].state != WorkerState::serving) continue;
    if (seats_ > 0) hand_over(i);
    else begin_stop(i);
  }
  reports_.resize(workers_.size());  // looks allocate nothing
  look_due_ns_ = ipc::in(health_limits_.beat_ns);
  arena_.on_trim_expected([this] {
    trim_expected_.store(true);
    bell_.ring();
  });
  thread_ = std::thread([this] {
    run();
    dispatcher_->call_events().tell(events_);
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
      finish_reload(tl::unexpected(pool_stopped()));
      for (std::size_t i = 0; i < workers_.size(); ++i) begin_stop(i);
    }
    if (!stopped) fill_seats();
    bury_groups();
    end_nurseries();
    if (stopped && none_left()) break;

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
  {
    const std::lock_guard lock(notices_mutex_);
    ended_ = true;
  }
  finish_reload(tl::unexpected(pool_stopped()));
  events_.tell_posted();
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
  for (std::size_t i = 0; i < nurseries_.size(); ++i) {
    if (nurseries_[i]->has_words()) read_nursery(nurseries_[i]->number());
  }
  run_timers();
  if (std::exchange(processes_changed_, false)) note_processes();
}

void Supervisor::handle(Source source, std::uint64_t index) {
  switch (source) {
    case Source::bell: handle_bell(); break;
    case Source::process: bury(index); break;
    case Source::socket: read_socket(index); break;
    case Source::output: read_output(index); break;
    case Source::channel: read_pong(index); break;
    case Source::nursery: bury_nursery(index); break;
    case Source::nursery_socket: read_nursery(index); break;
    case Source::nursery_output:
      if (Nursery* nursery = find_nursery(index); nursery && nursery->life().output_fd) read_nursery_output(*nursery);
      break;
  }
}

void Supervisor::handle_bell() {
  bell_.clear();
  events_.tell_posted();
  if (calls_wait_.exchange(false)) load_due_ns_ = 0;
  if (trim_expected_.exchange(false)) trim_due_ns_ = ipc::in(options_.arena_trim_delay.count());
  std::vector<DutyCycle::Violation> violations;
  std::vector<DutyCycle::Drained> drained;
  {
    const std::lock_guard lock(notices_mutex_);
    violations.swap(violations_);
    drained.swap(drained_);
    if (std::exchange(reload_wanted_, false) && !stopping_.load()) {
      ++generation_;
      reload_ = Reload{.began_ns = ipc::now_ns(), .fresh = {}, .old = {}, .old_incarnation = 0};
    }
  }
  for (const auto& violation : violations) {
    const auto slot = static_cast<std::size_t>(violation.slot);
    if (workers_[slot].life.number != violation.incarnation) continue;
    counters_.violations.add();
    fail(slot, make_error(Category::worker, Code::worker_lost, label(slot) + " broke the protocol: " + violation.what));
  }
  for (const auto& [slot, incarnation] : drained) {
    const auto index = static_cast<std::size_t>(slot);
    if (workers_[index].life.number == incarnation && workers_[index].state == WorkerState::retiring && advance(index, WorkerEvent::drained)) {
      ask_to_end(index);
    }
  }
  if (reload_) step_reload();
}

std::int64_t Supervisor::next_due_ns() const {
  std::int64_t due_ns = std::min({trim_due_ns_, look_due_ns_, load_due_ns_});
  for (const Worker& worker : workers_) due_ns = std::min(due_ns, worker.due_ns);
  for (const auto& nursery : nurseries_) due_ns = std::min(due_ns, nursery->due_ns);
  if (!enough_start() && !waits_for_nursery() && vacant_seat() && !stopping_.load()) due_ns = std::min(due_ns, restarts_.next_start_ns());
  return due_ns;
}

void Supervisor::run_timers() {
  const std::int64_t now_ns = ipc::now_ns();
  if (trim_due_ns_ <= now_ns) {
    if (counters_.escaped_views() > 0) dispatcher_->look_for_blocks();
    const bool again = arena_.trim() || counters_.escaped_views() > 0;
    trim_due_ns_ = again ? ipc::in(options_.arena_trim_delay.count()) : ipc::kNever;
  }
  if (look_due_ns_ <= now_ns) look();
  if (load_due_ns_ <= now_ns) follow_load();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].due_ns > now_ns) continue;
    workers_[i].due_ns = ipc::kNever;
    overstay(i);
  }
  for (const auto& nursery : nurseries_) {
    if (nursery->due_ns <= now_ns) nursery_overstays(*nursery);
  }
}

void Supervisor::kill_worker(const DutyCycle::Violation& violation) {
  {
    const std::lock_guard lock(notices_mutex_);
    violations_.push_back(violation);
  }
  bell_.ring();
}

void Supervisor::worker_drained(DutyCycle::Drained drained) {
  {
    const std::lock_guard lock(notices_mutex_);
    drained_.push_back(drained);
  }
  bell_.ring();
}

void Supervisor::calls_wait() {
  calls_wait_.store(true);
  bell_.ring();
}

bool Supervisor::advance(std::size_t index, WorkerEvent event) {
  Worker& worker = workers_[index];
  const std::optional<WorkerState> state = next(worker.state, event);
  if (state) {
    worker.state = *state;
    processes_changed_ = true;
  }
  if (follows_load_) count_overflow();
  return state.has_value();
}

bool Supervisor::none_left() const { return count(WorkerState::absent) == workers_.size() && nurseries_.empty() && unburied_.empty(); }

std::size_t Supervisor::count(WorkerState state) const {
  return static_cast<std::size_t>(std::count_if(workers_.begin(), workers_.end(), [&](const Worker& w) { return w.state == state; }));
}

bool Supervisor::watch(int fd, Source source, std::uint64_t index) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = pack(index, static_cast<std::uint8_t>(source))}};
  if (source == Source::channel) event.events |= EPOLLET;  // its counter is never read
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Supervisor::unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::string Supervisor::label(std::size_t index) const {
  const Worker& worker = workers_[index];
  const pid_t pid = worker.life.process.pid();
  return "worker " + std::to_string(worker.seat) + (pid > 0 ? " (PID " + std::to_string(pid) + ")" : "");
}

Event Supervisor::event(EventKind kind, std::size_t index, std::string message) const {
  const Worker& worker = workers_[index];
  return {.kind = kind,
          .message = std::move(message),
          .pool = {},
          .worker = static_cast<int>(worker.seat),
          .incarnation = worker.life.number,
          .pid = worker.life.process.pid(),
          .took = {},
          .method = {},
          .state = {},
          .count = 0,
          .details = {}};
}

}  // namespace samovar::core
