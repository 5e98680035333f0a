#include "core/fallback/one_shots.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/supervision/worker_output.h"
#include "ipc/clock.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kLookNs = 20'000'000;        // whether the call has been cancelled: nobody tells
constexpr std::int64_t kStreamLookNs = 1'000'000;   // whether chunks of its stream have been taken: likewise
constexpr std::int64_t kEndNs = 1'000'000'000;      // a process's time to end after its answer

Options for_one_call(Options options) {
  options.workers = options.workers_max = 1;
  options.max_overflow = 0;
  options.prefetch = 1;
  options.requeue_limit = 0;
  options.max_attempts = 1;
  options.breaker_failures = options.pool_breaker_failures = 0;
  return options;
}

}  // namespace

// One process for one call, from its start to its end.
class OneShots::Run {
 public:
  explicit Run(OneShots& owner)
      : owner_(owner),
        queue_(1),
        breakers_(owner.alone_, owner.methods_.now(), owner.events_),
        duty_(owner.alone_, owner.methods_, queue_, breakers_, owner.call_events_, counters_, owner.arena_) {}

  void serve(Call& call) {
    const Result<void> started = start(call);
    if (call.is_done()) {  // its deadline has passed, or it was cancelled
      call.drop_reference();
    } else if (owner_.stopping_.load()) {
      owner_.end_waiting(call, pool_stopped());
    } else if (!started) {
      owner_.end_waiting(call, started.error());
    } else {
      exchange(call);
    }
    finish();
  }

 private:
  // Until the process has said Ready. An error where it will not, nothing also where nobody waits any more.
  Result<void> start(const Call& call) {
    Result<void> launched = owner_.launcher_.launch(static_cast<unsigned>(call.ticket % owner_.options_.workers), life_);
    if (!launched) return launched;
    const std::int64_t until_ns = ipc::in(owner_.options_.start_timeout.count());
    while (!call.is_done() && !owner_.stopping_.load()) {
      if (ipc::now_ns() >= until_ns) {
        return tl::unexpected(make_error(Category::configuration, Code::start_timeout,
                                         "a process for one call was not ready within start_timeout; make the module's import faster or raise it"));
      }
      const bool ended = wait(life_.socket->fd(), until_ns);
      auto datagram = life_.socket->receive();
      if (!datagram || datagram->bytes.empty()) {
        if (ended || (datagram && datagram->bytes.empty())) return tl::unexpected(start_failure());
        continue;
      }
      const auto message = ipc::decode_control(datagram->bytes);
      if (!message) return tl::unexpected(make_error(Category::worker, Code::worker_lost, "a process for one call sent " + message.error()));
      if (const auto* failed = std::get_if<ipc::StartFailed>(&*message)) return tl::unexpected(module_failed(*failed));
      if (const auto* ready = std::get_if<ipc::Ready>(&*message)) {
        methods_ = ready->methods;
        return {};
      }
    }
    return {};
  }

  // Sends the call and waits for its outcome, whichever comes first.
  void exchange(Call& call) {
    MethodNumbers numbers;
    for (const std::string& name : owner_.methods_.now().names()) numbers.push_back(number_among(methods_, name));
    duty_.announce_asleep(true);
    duty_.attach({.slot = 0, .worker = -1, .incarnation = life_.number, .channel = life_.channel, .numbers = std::move(numbers),
                  .has_event_loop = ipc::has_event_loop(methods_)});
    if (!call.claim()) return call.drop_reference();
    std::uint64_t ticket;
    queue_.admit(ticket);
    const bool asynchronous = call.asynchronous;
    call.add_reference();  // to look at it below
    duty_.enter(call);
    duty_.send_pending();  // a batch of one: no other will come
    while (!call.is_done() && !owner_.stopping_.load()) {
      const bool ended = wait(life_.channel->eventfd(), call.stream ? ipc::in(kStreamLookNs) : call.deadline_ns);
      if (call.stream) duty_.send_notes();  // credit
      duty_.run();
      duty_.run_timers();
      if (!duty_.outbox().violations.empty()) life_.process.signal_group(SIGKILL);
      if (call.stream || call.asks) pass_on();
      if (ended) break;
    }
    if (owner_.stopping_.load()) duty_.fail_all(pool_stopped());
    if (!call.is_done()) {  // it died
      end_process();
      duty_.detach(0, {.incarnation = life_.number, .how = how_, .output = output_.last_lines(), .stacks = {}});
    } else {
      duty_.sweep();
    }
    call.drop_reference();
    tell(asynchronous);
  }

  // Chunks to who waits for them, and questions to nobody. There will be more: the eventfd, which is readable now, has to tell of those.
  void pass_on() {
    std::uint64_t rings;
    (void)!read(life_.channel->eventfd(), &rings, sizeof rings);
    duty_.run();  // what came before that
    std::vector<Answer> refusals;
    for (const Question& question : std::exchange(duty_.outbox().questions, {})) {
      refusals.push_back(refuse(question, "functions of the host cannot be called from a process for one call: the pool is switched off, quarantined, or a breaker is open",
                                owner_.options_.inline_bytes_max));
    }
    if (!refusals.empty()) {
      duty_.send_answers(std::move(refusals));
      duty_.run();
    }
    duty_.outbox().violations.clear();
    owner_.ends_.deliver(duty_.outbox());
  }

  void tell(bool asynchronous) {
    duty_.outbox().violations.clear();
    duty_.outbox().signals &= static_cast<std::uint8_t>(~DutyCycle::kDueSooner);  // its timers are its own
    owner_.counters_.replied_alone.add(counters_.replied.get());
    owner_.counters_.failed_alone.add(counters_.failed_by_dispatcher.get());
    owner_.counters_.timed_out_alone.add(counters_.timed_out_by_dispatcher.get());
    owner_.counters_.lost_alone.add(counters_.calls_lost.get());
    if (asynchronous && counters_.outcomes() > 0) owner_.counters_.asynchronous.subtract();
    owner_.ends_.deliver(duty_.outbox());
  }

  void finish() {
    end_process();
    duty_.detach(0, {.incarnation = life_.number, .how = how_, .output = {}, .stacks = {}});
  }

  // Whether it has ended. Blocks until then, until `fd` is readable, `until_ns`, or a moment.
  bool wait(int fd, std::int64_t until_ns) {
    // The eventfd's counter is never read; after its first ring there is a response, or something that ends the process.
    pollfd fds[] = {{life_.process.pidfd(), POLLIN, 0}, {fd, POLLIN, 0}, {life_.output_fd.get(), POLLIN, 0}};
    const std::int64_t wait_ns = std::clamp<std::int64_t>(until_ns - ipc::now_ns(), 0, kLookNs);
    (void)poll(fds, std::size(fds), static_cast<int>(wait_ns / 1'000'000) + 1);
    read_output();
    return (fds[0].revents & POLLIN) != 0;
  }

  void read_output() {
    if (!life_.output_fd) return;
    const auto on_line = [this](LogLevel level, std::string_view line) {
      owner_.log_.write(level, "process " + std::to_string(life_.process.pid()) + " for one call: " + std::string(line));
    };
    if (!output_.drain(life_.output_fd.get(), on_line)) life_.output_fd.reset();
  }

  // It is asked to end where it answered, and killed where it does not.
  void end_process() {
    if (!life_.process) return;
    if (life_.channel) life_.channel->stop();
    const bool has_answered = counters_.outcomes() > 0 && !owner_.stopping_.load();
    const std::int64_t until_ns = has_answered ? ipc::in(kEndNs) : 0;
    bool ended = false;
    while (!ended && ipc::now_ns() < until_ns) ended = wait(-1, until_ns);
    if (!ended) life_.process.signal_group(SIGKILL);
    while (!ended) ended = wait(-1, ipc::kNever);
    const pid_t pid = life_.process.pid();
    how_ = "the process for one call (PID " + std::to_string(pid) + ") " + life_.process.exit_status().to_string();
    life_.process.bury_group();
  }

  Error start_failure() {
    end_process();
    Error error = make_error(Category::configuration, Code::incompatible_worker, how_ + " before it was ready");
    error.context.output = output_.last_lines();
    return error;
  }

  OneShots& owner_;
  Counters counters_;  // of this call alone
  PendingQueue queue_;
  Breakers breakers_;
  DutyCycle duty_;
  Incarnation life_;
  std::vector<ipc::Method> methods_;
  WorkerOutput output_;
  std::string how_;
};

OneShots::OneShots(const Options& options, const Launcher& launcher, const Methods& methods, Counters& counters, CallEvents& call_events,
                   RequestArena& arena, Events& events, const Log& log, Ends& ends)
    : options_(options),
      alone_(for_one_call(options)),
      launcher_(launcher),
      methods_(methods),
      counters_(counters),
      call_events_(call_events),
      arena_(arena),
      events_(events),
      log_(log),
      ends_(ends) {}

OneShots::~OneShots() { stop(pool_stopped()); }

bool OneShots::has_room() {
  const std::lock_guard lock(mutex_);
  return waiting_.size() < options_.queue_limit;
}

bool OneShots::enqueue(Call& call) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return false;
  waiting_.push_back(&call);
  for (const std::thread::id id : std::exchange(ended_, {})) {
    const auto ended = std::find_if(threads_.begin(), threads_.end(), [&](const std::thread& thread) { return thread.get_id() == id; });
    ended->join();
    threads_.erase(ended);
  }
  if (running_ == options_.workers) return true;
  ++running_;
  threads_.emplace_back([this] { work(); });
  return true;
}

void OneShots::work() {
  for (;;) {
    Call* call;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty() || stopping_.load()) {
        --running_;
        ended_.push_back(std::this_thread::get_id());
        return;
      }
      call = waiting_.front();
      waiting_.pop_front();
    }
    if (call->is_done()) {
      call->drop_reference();
    } else if (ipc::now_ns() >= call->deadline_ns) {
      end_waiting(*call, deadline_exceeded(methods_.now().name(call->method), false));
    } else {
      counters_.one_shots.add();
      Run(*this).serve(*call);
    }
  }
}

void OneShots::end_waiting(Call& call, Error error) {
  if (call.claim()) {
    counters_.timed_out_by_waiter.add(error.category == Category::timeout ? 1 : 0);
    ends_.finish_outside(call, std::move(error));
  }
  call.drop_reference();
}

void OneShots::expire(std::int64_t now_ns) {
  std::vector<Call*> due;
  {
    const std::lock_guard lock(mutex_);
    for (Call*& call : waiting_) {
      if (call->asynchronous && call->deadline_ns <= now_ns) due.push_back(std::exchange(call, nullptr));
    }
    std::erase(waiting_, nullptr);
  }
  for (Call* call : due) end_waiting(*call, deadline_exceeded(methods_.now().name(call->method), false));
}

void OneShots::stop(const Error& error) {
  stopping_.store(true);
  std::deque<Call*> waiting;
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    waiting.swap(waiting_);
    threads.swap(threads_);
    ended_.clear();
  }
  for (std::thread& thread : threads) thread.join();
  for (Call* call : waiting) end_waiting(*call, error);
}

}  // namespace samovar::core
