// The supervisor's part from an empty seat to a worker that serves.
#include <algorithm>
#include <random>
#include <utility>

#include "core/errors.h"
#include "core/supervision/supervisor.h"
#include "ipc/doorbell.h"
#include "ipc/message.h"

namespace samovar::core {
namespace {

constexpr std::uint64_t kPingId = UINT64_MAX;

}  // namespace

std::uint8_t Supervisor::random_byte() { return static_cast<std::uint8_t>(std::random_device()()); }

bool Supervisor::is_taken(unsigned seat) const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [&](const Worker& w) { return w.state != WorkerState::absent && w.seat == seat; });
}

std::optional<unsigned> Supervisor::vacant_seat() const {
  if (is_full()) return std::nullopt;
  for (unsigned seat = 0; seat < seats_; ++seat) {
    if (!is_taken(seat)) return seat;
  }
  return std::nullopt;
}

std::optional<std::size_t> Supervisor::free_slot(unsigned seat) const {
  if (workers_[seat].state == WorkerState::absent) return seat;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].state == WorkerState::absent) return i;
  }
  return std::nullopt;
}

bool Supervisor::enough_start() const {
  const auto starts = std::count_if(workers_.begin(), workers_.end(), [](const Worker& worker) { return is_being_born(worker.state); });
  return static_cast<std::size_t>(starts) >= restarts_.starts_at_once();
}

void Supervisor::fill_seats() {
  for (;;) {
    if (enough_start() || ipc::now_ns() < restarts_.next_start_ns()) return;
    std::optional<unsigned> seat = vacant_seat();
    if (!seat && overflow_wanted_ > 0) seat = vacant_overflow_seat();
    const std::optional<std::size_t> slot = seat ? free_slot(*seat) : std::nullopt;
    if (!slot || !can_spawn()) return;
    if (is_overflow(*seat)) --overflow_wanted_;
    spawn(*slot, *seat, forker());
    if (first_failure_) return;
  }
}

bool Supervisor::can_spawn() {
  if (waits_for_nursery()) return false;
  if (forker() || !wants_nursery()) return true;
  nursery_ = start_nursery();
  return false;
}

void Supervisor::spawn(std::size_t index, unsigned seat, std::shared_ptr<Nursery> forks) {
  Worker& worker = workers_[index];
  worker = Worker{};
  worker.seat = seat;
  worker.generation = generation_;
  worker.replaces_ns = std::exchange(vacated_ns_[seat], 0);
  worker.oom_kills = oom_kills_.unexplained();
  worker.waited_ns = waited_ns_;
  if (forks) return fork_worker(index, std::move(forks));
  Result<void> launched = launcher_.launch(seat, worker.life);
  if (!worker.life.process) return start_failed(index, std::move(launched.error()));
  begin_life(index, std::move(launched));
}

// Of a process that has been told what to run, or could not be.
void Supervisor::begin_life(std::size_t index, Result<void> launched) {
  Worker& worker = workers_[index];
  advance(index, WorkerEvent::spawned);
  worker.due_ns = ipc::in(options_.start_timeout.count());
  if (launched && (!watch(worker.life.process.pidfd(), Source::process, index) || !watch(worker.life.socket->fd(), Source::socket, index) ||
                   !watch(worker.life.output_fd.get(), Source::output, index))) {
    launched = tl::unexpected(start_refused(ipc::system_error("epoll_ctl").value(), "starting a worker"));
  }
  if (!launched) {  // it runs, but something after that was refused
    fail(index, std::move(launched.error()));
    worker.life.process.await_end();  // its pidfd may not be watched
    return bury(index);
  }
  events_.tell(event(EventKind::worker_started, index, label(index) + " started"));
  if (is_overflow(worker.seat) && !(reload_ && reload_->fresh == index)) overflow_started(index);
}

void Supervisor::read_socket(std::size_t index) {
  Worker& worker = workers_[index];
  auto datagram = worker.life.socket->receive();
  if (!datagram && datagram.error().error == EAGAIN) return;
  if (!datagram || datagram->bytes.empty()) {
    unwatch(worker.life.socket->fd());  // it is ending; the pidfd will prove it
    return;
  }
  auto message = ipc::decode_control(datagram->bytes);
  if (message && std::holds_alternative<ipc::Ready>(*message) && worker.state == WorkerState::starting) {
    greet_ready(index, std::move(std::get<ipc::Ready>(*message)));
  } else if (message && std::holds_alternative<ipc::StartFailed>(*message)) {
    worker.failure = module_failed(std::get<ipc::StartFailed>(*message));  // its exit follows
  } else if (message && std::holds_alternative<ipc::Stacks>(*message)) {
    worker.stacks = std::move(std::get<ipc::Stacks>(*message).text);
    if (worker.state == WorkerState::condemned && advance(index, WorkerEvent::dumped)) kill_now(index);
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
  ipc::HostEnd& channel = *workers_[index].life.channel;
  std::byte* message = channel.requests.try_claim(ipc::message_bytes(0));
  ipc::write_request({.call_id = kPingId, .deadline_ns = 0, .method = ipc::kPingMethod, .payload = {}}, message);
  channel.announce_asleep(true);
  channel.requests.publish();
  ipc::store_load_fence();  // FENCE: see HostEnd::ring_if_asleep().
  channel.ring_if_asleep();
  if (!watch(channel.eventfd(), Source::channel, index)) {
    fail(index, system_failure(ipc::system_error("epoll_ctl").value(), "waiting for a worker's ping"));
  }
}

void Supervisor::read_pong(std::size_t index) {
  Worker& worker = workers_[index];
  if (worker.state != WorkerState::pinging) return;
  ipc::LaneReader& lane = worker.life.channel->responses;
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
  worker.life.channel->announce_asleep(false);
  unwatch(worker.life.channel->eventfd());
  advance(index, WorkerEvent::ponged);
  worker.due_ns = ipc::kNever;
  worker.served = true;
  worker.ready_ns = worker.last_call_ns = ipc::now_ns();
  restarts_.started();
  if (is_overflow(worker.seat)) elasticity_.started();
  if (methods_.empty()) methods_ = worker.methods;
  Event ready = event(EventKind::worker_ready, index, {});
  ready.took = std::chrono::nanoseconds(worker.ready_ns - worker.life.spawned_ns);
  ready.message = label(index) + " ready in " + std::to_string(ready.took.count() / 1'000'000) + " ms";
  events_.tell(std::move(ready));
  if (worker.replaces_ns != 0) {
    Event restarted = event(EventKind::worker_restarted, index, label(index) + " has taken the place of the one that ended");
    restarted.took = std::chrono::nanoseconds(worker.ready_ns - worker.replaces_ns);
    events_.tell(std::move(restarted));
  }
  if (!serving_) return;
  if (reload_ && reload_->fresh == index) {  // its methods become callable when the reload is done
    for (const ipc::Method& method : worker.methods) {
      const auto known = std::find_if(methods_.begin(), methods_.end(), [&](const ipc::Method& m) { return m.name == method.name; });
      if (known == methods_.end()) methods_.push_back(method);
      else *known = method;
    }
    for (ipc::Method& method : methods_) {  // what the fresh code lacks waits for no others before it is told so
      if (number_among(worker.methods, method.name) == 0) method.batch_max = 1, method.batch_wait_ns = 0;
    }
  }
  hand_over(index);
  if (quarantined_ns_ != 0) release();
  if (reload_) step_reload();
}

void Supervisor::hand_over(std::size_t index) {
  Worker& worker = workers_[index];
  MethodNumbers numbers;
  for (const ipc::Method& method : methods_) numbers.push_back(number_among(worker.methods, method.name));
  worker.attached = true;
  counters_.workers_ready.add();
  dispatcher_->attach({.slot = static_cast<int>(index),
                       .worker = static_cast<int>(worker.seat),
                       .incarnation = worker.life.number,
                       .channel = worker.life.channel,
                       .numbers = std::move(numbers),
                       .node = worker.life.node,
                       .concurrency = ipc::has_event_loop(worker.methods) ? options_.concurrency : 1,
                       .has_event_loop = ipc::has_event_loop(worker.methods)});
}

// --- starts that fail -----------------------------------------------------------------------------------------------------

void Supervisor::start_failed(std::size_t index, Error error) {
  Worker& worker = workers_[index];
  error.context.worker = static_cast<int>(worker.seat);
  error.context.incarnation = worker.life.number;
  if (error.context.traceback.empty()) error.context.output = worker.output.last_lines();
  Event failed = event(EventKind::worker_failed, index, label(index) + " did not become ready: " + error.message);
  failed.details = error.context.traceback.empty() ? error.context.output : error.context.traceback;
  events_.tell(std::move(failed));
  if (worker.replaces_ns != 0) vacated_ns_[worker.seat] = worker.replaces_ns;
  if (reload_ && reload_->fresh == index) return finish_reload(tl::unexpected(std::move(error)));

  if (is_overflow(worker.seat)) return elasticity_.failed(ipc::now_ns(), random_byte());  // the base's starts do not wait for that
  note_failed_start(std::move(error));
}

void Supervisor::note_failed_start(Error error) {
  restarts_.failed(ipc::now_ns(), random_byte());
  if (!serving_) {
    if (!first_failure_) first_failure_ = std::move(error);
  } else if (restarts_.quarantines(count(WorkerState::serving) > 0)) {
    quarantine(error);
  }
}

void Supervisor::quarantine(const Error& error) {
  Error why = quarantined(error, restarts_.failures());
  if (quarantined_ns_ != 0) return dispatcher_->bar(std::move(why));  // again, for the latest reason
  quarantined_ns_ = ipc::now_ns();
  events_.tell({.kind = EventKind::pool_quarantined,
                .message = "no worker starts, " + std::to_string(restarts_.failures()) + " times in a row: calls fail at once until one does; " + error.message,
                .pool = {},
                .took = {},
                .method = {},
                .state = {},
                .details = error.context.traceback.empty() ? error.context.output : error.context.traceback});
  dispatcher_->bar(std::move(why));
}

void Supervisor::release() {
  dispatcher_->unbar();
  const auto took = std::chrono::nanoseconds(ipc::now_ns() - std::exchange(quarantined_ns_, 0));
  events_.tell({.kind = EventKind::pool_released,
                .message = "a worker has started again: calls are taken again",
                .pool = {},
                .took = took,
                .method = {},
                .state = {},
                .details = {}});
}

}  // namespace samovar::core
