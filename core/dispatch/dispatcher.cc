#include "core/dispatch/dispatcher.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/options.h"

namespace samovar::core {
namespace {

constexpr int kLooksBeforeArming = 256;       // of poll(), while calls are in flight: about a cache-line round trip
constexpr int kRoundsBeforeArming = 64;       // of poll(), while calls go out and nothing comes back
constexpr unsigned kHostThreads = 64;         // for functions of the host, at least: abandoned ones keep theirs until they return
constexpr unsigned kHostThreadsMax = 1024;
constexpr std::int64_t kProgressNs = 200'000;

// One for each call that can run at once, as far as a process can have so many.
unsigned host_threads_max(const Options& options) {
  const std::uint64_t calls = std::uint64_t{options.concurrency} * seats_max(options) + kSpareSlots;
  return static_cast<unsigned>(std::clamp<std::uint64_t>(calls, kHostThreads, kHostThreadsMax));
}

}  // namespace

Dispatcher::Dispatcher(const Options& options, MethodTable methods, Counters& counters, Events& events, RequestArena& arena,
                       WakeSet& wake_set, Bell& backstop_bell, unsigned cores, Supervision supervision)
    : options_(options),
      methods_(std::move(methods)),
      counters_(counters),
      arena_(arena),
      wake_set_(wake_set),
      backstop_bell_(backstop_bell),
      cores_(cores),
      several_nodes_(arena.is_spread()),
      supervision_(std::move(supervision)),
      calls_(CallPool::create()),
      queue_(options.queue_limit),
      breakers_(options, methods_.now(), events),
      call_events_(methods_),
      duty_(options, methods_, queue_, breakers_, call_events_, counters, arena),
      spin_(options.spin_max.count()),
      questions_(host_threads_max(options), options.inline_bytes_max, [this](Answer answer) { receive(std::move(answer)); }),
      reports_(seats_max(options) + kSpareSlots) {}

Dispatcher::~Dispatcher() {
  questions_.stop();
  one_shots_.reset();
  tell_the_rest();
  calls_->close();
}

void Dispatcher::tell_the_rest() {
  stop_pinned();
  turn();  // the workers' ends, so that the journals let go of their calls
  while (run_ready() > 0) {  // who is told may cancel others
  }
}

// --- poll() ----------------------------------------------------------------------------------------------------------

std::size_t Dispatcher::poll() {
  if (armed_.load(std::memory_order_relaxed)) {
    armed_.store(false, std::memory_order_relaxed);
    wake_set_.harvest();
  }
  bool moved = true;
  for (int round = 0; moved && round < kRoundsBeforeArming; ++round) {
    moved = false;
    if (token_.try_acquire()) {
      if (duty_.announced_asleep() && !waiters_.has_sentinel()) duty_.announce_asleep(false);
      duty_.run_timers();
      moved = turn() > 0;
      for (int look = 0; !moved && look < kLooksBeforeArming && duty_.busy_workers() > 0; ++look) moved = turn() > 0;
      release_token();
    }
    if (const std::size_t ran = run_ready(); ran > 0) return ran;
    // What only sent calls has run nothing: our caller would sleep, so look again until we arm or have something to tell.
  }

  // Nothing: arm completion_fd(), then look once more, so that what came meanwhile is not slept over.
  armed_.store(true, std::memory_order_relaxed);
  if (token_.try_acquire()) {
    duty_.announce_asleep(true);
    ipc::store_load_fence();  // FENCE: pairs with the one in WorkerEnd::finish(): it rings or we see its response.
    turn();
    wake_set_.set_timer(duty_.next_due_ns());
    release_token();
  } else {
    raise(kLookAgain);  // whoever holds the token announces and looks for us
    ipc::store_load_fence();  // FENCE: pairs with the one in release_token().
    if (!token_.is_held()) wake_set_.ring_completion();
  }
  return run_ready();
}

// What a poll() of this thread has taken to tell, and has not come to. A poll() from within a callback or a coroutine goes on with it:
// it may be waiting for just that.
struct Dispatcher::Telling {
  const Dispatcher* of;
  Telling* outer;
  Call* rest;
};

constinit thread_local Dispatcher::Telling* Dispatcher::telling = nullptr;

// Not to be left by an exception of a callback: those behind it would never be told.
std::size_t Dispatcher::run_ready() noexcept {
  Telling here{.of = this, .outer = telling, .rest = nullptr};
  for (Telling* outer = here.outer; outer && !here.rest; outer = outer->outer) {
    if (outer->of == this) here.rest = std::exchange(outer->rest, nullptr);
  }
  if (!here.rest) {
    std::lock_guard lock(ready_mutex_);
    here.rest = std::exchange(ready_first_, nullptr);
    ready_last_ = nullptr;
  }
  if (!here.rest) return 0;
  telling = &here;
  std::size_t ran = 0;
  while (Call* call = here.rest) {
    here.rest = call->next_ready;
    if (call->stream) {
      tell_stream(*call);
      ++ran;
      continue;
    }
    while (!call->stop_armed.load(std::memory_order_acquire)) ipc::cpu_pause();
    call->on_stop.reset();
    ++ran;
    if (call->awaited) {
      resume(*call);
      continue;
    }
    Callback callback = std::move(call->callback);
    Result<Reply> outcome = call->take_outcome();
    if (callback) callback(std::move(outcome));
  }
  telling = here.outer;
  return ran;
}

// --- the token ----------------------------------------------------------------------------------------------------------

std::size_t Dispatcher::turn() {
  if (attention_.load(std::memory_order_relaxed) != 0) [[unlikely]] attend();
  const std::size_t moved = duty_.run();
  if (!duty_.outbox().empty()) deliver(duty_.outbox());
  if (moved > 0 && awaiting_progress_.load(std::memory_order_relaxed) > 0) progress_.notify_all();
  return moved;
}

void Dispatcher::attend() {
  const std::uint32_t attention = attention_.exchange(0, std::memory_order_acq_rel);
  if ((attention & kMail) != 0) read_mail();
  if ((attention & kBarred) != 0) {
    const std::lock_guard lock(mail_mutex_);
    duty_.bar(queue_.is_barred() ? barred_ : nullptr);
  }
  if ((attention & kReport) != 0) {
    duty_.run();  // what has been answered already is no longer running
    const std::lock_guard lock(mail_mutex_);
    duty_.report(reports_);
    demand_ = duty_.demand();
  }
  if ((attention & kAbandoned) != 0) duty_.sweep();
  if ((attention & kAnswers) != 0) {
    const std::lock_guard lock(mail_mutex_);
    duty_.send_answers(std::exchange(answers_, {}));
  }
  if ((attention & kCredit) != 0) duty_.send_notes();
  if ((attention & kLookAgain) != 0 && armed_.load(std::memory_order_relaxed)) {
    duty_.announce_asleep(true);
    ipc::store_load_fence();  // FENCE: pairs with the one in WorkerEnd::finish(); the turn that follows is the look.
    wake_set_.set_timer(duty_.next_due_ns());
  }
  if ((attention & kClosing) != 0) duty_.fail_all(pool_stopped());
}

void Dispatcher::read_mail() {
  std::vector<Mail> mail;
  {
    const std::lock_guard lock(mail_mutex_);
    mail.swap(mail_);
  }
  for (Mail& letter : mail) {
    const int slot = letter.attachment.slot;
    switch (letter.what) {
      case Mail::What::attach:
        if (auto added = wake_set_.add(letter.attachment.channel->eventfd()); !added) {
          supervision_.kill_worker({slot, letter.attachment.incarnation, "the host cannot watch its eventfd: " + added.error().to_string()});
        }
        duty_.attach(std::move(letter.attachment));
        break;
      case Mail::What::retire: duty_.retire(slot, letter.attachment.incarnation); break;
      case Mail::What::detach:
        if (const auto channel = duty_.detach(slot, letter.death)) wake_set_.remove(channel->eventfd());
        break;
    }
  }
}

void Dispatcher::deliver(DutyCycle::Outbox& outbox) {
  if (outbox.ready_first) {
    add_ready(outbox.ready_first, outbox.ready_last);
    outbox.ready_first = outbox.ready_last = nullptr;
    if (armed_.load(std::memory_order_relaxed)) wake_set_.ring_completion();
  }
  for (Call* call : outbox.wake) call->wake();
  outbox.wake.clear();
  if (outbox.signals != 0) {
    const std::uint8_t signals = std::exchange(outbox.signals, std::uint8_t{0});
    if ((signals & DutyCycle::kRing) != 0) wake_set_.ring_sleeper();
    if ((signals & DutyCycle::kCallsWait) != 0) supervision_.calls_wait();
    if ((signals & DutyCycle::kDueSooner) != 0) {
      if (waiters_.has_sentinel()) wake_set_.ring_sleeper();
      if (armed_.load(std::memory_order_relaxed)) wake_set_.set_timer(duty_.next_due_ns());
    }
  }
  for (const DutyCycle::Violation& violation : outbox.violations) supervision_.kill_worker(violation);
  outbox.violations.clear();
  for (const DutyCycle::Drained drained : outbox.drained) supervision_.worker_drained(drained);
  outbox.drained.clear();
  for (Question& question : outbox.questions) questions_.enqueue(std::move(question));
  outbox.questions.clear();
  for (Call* call : outbox.stranded) run_alone(*call);
  outbox.stranded.clear();
}

void Dispatcher::use_one_shots(const Launcher& launcher, Events& events, const Log& log) {
  OneShots::Ends& ends = *this;
  one_shots_ = std::make_unique<OneShots>(options_, launcher, methods_, counters_, call_events_, arena_, events, log, ends);
}

void Dispatcher::expire_one_shots() {
  if (one_shots_) one_shots_->expire(ipc::now_ns());
}

void Dispatcher::run_alone(Call& call) {
  if (one_shots_->enqueue(call)) return;
  if (call.claim()) finish_outside(call, pool_stopped());
  call.drop_reference();
}

void Dispatcher::release_token() {
  duty_.set_waiter(nullptr);
  token_.release();
  // What came in while the token was held, from threads that do not wait for it: see enqueue <-> dispatcher.
  while ((attention_.load(std::memory_order_relaxed) != 0 || !queue_.inbox_is_empty()) && token_.try_acquire()) {
    turn();
    token_.release();
  }
  waiters_.wake_one_unless_sentinel();
}

void Dispatcher::raise(Attention attention) { attention_.fetch_or(attention, std::memory_order_acq_rel); }

void Dispatcher::raise_and_help(Attention attention) {
  raise(attention);
  ipc::store_load_fence();  // FENCE: pairs with the one in release_token().
  if (options_.dispatcher == samovar::Dispatcher::pinned) wake_set_.ring_sleeper();
  if (!token_.try_acquire()) return;
  turn();
  release_token();
}

// --- the supervisor's side ----------------------------------------------------------------------------------------------

void Dispatcher::send_mail(Mail letter) {
  {
    const std::lock_guard lock(mail_mutex_);
    mail_.push_back(std::move(letter));
  }
  raise_and_help(kMail);
}

void Dispatcher::attach(Attachment attachment) {
  send_mail({.what = Mail::What::attach, .attachment = std::move(attachment), .death = {}});
}

void Dispatcher::retire(int slot, std::uint64_t incarnation) {
  send_mail({.what = Mail::What::retire, .attachment = {.slot = slot, .incarnation = incarnation, .channel = {}, .numbers = {}}, .death = {}});
}

void Dispatcher::detach(int slot, Death death) {
  send_mail({.what = Mail::What::detach, .attachment = {.slot = slot, .channel = {}, .numbers = {}}, .death = std::move(death)});
}

void Dispatcher::receive(Answer answer) {
  {
    const std::lock_guard lock(mail_mutex_);
    answers_.push_back(std::move(answer));
  }
  raise_and_help(kAnswers);
}

void Dispatcher::extend_methods(std::vector<ipc::Method> methods) {
  MethodTable table(std::move(methods));
  breakers_.extend(table);  // first: a call may come as soon as the table is in force
  methods_.replace(std::move(table));
}

DutyCycle::Demand Dispatcher::report(std::vector<DutyCycle::Report>& reports) {
  raise_and_help(kReport);
  const std::lock_guard lock(mail_mutex_);
  reports = reports_;
  return demand_;
}

void Dispatcher::bar(Error why) {
  {
    const std::lock_guard lock(mail_mutex_);
    barred_ = std::make_shared<const Error>(std::move(why));
  }
  queue_.bar();
  raise_and_help(kBarred);
}

void Dispatcher::unbar() {
  queue_.unbar();
  raise_and_help(kBarred);
}

void Dispatcher::look_for_blocks() { raise_and_help(kLookForBlocks); }

void Dispatcher::backstop() {
  if (!token_.try_acquire()) return;
  duty_.run_timers();
  turn();
  release_token();
}

void Dispatcher::drain(std::int64_t until_ns) {
  queue_.close();
  while (counters_.outcomes() < queue_.admitted() && ipc::now_ns() < until_ns) {
    backstop();
    await_progress(until_ns);
  }
  if (one_shots_) one_shots_->stop(pool_stopped());
  while (counters_.outcomes() < queue_.admitted()) {
    raise_and_help(kClosing);
    await_progress(ipc::kNever);
  }
  questions_.stop();
}

// Waits until some turn moved something, at most a moment: nothing depends on the notice, which may come before the wait.
void Dispatcher::await_progress(std::int64_t until_ns) {
  const std::int64_t wait_ns = std::clamp<std::int64_t>(until_ns - ipc::now_ns(), 0, kProgressNs);
  std::unique_lock lock(progress_mutex_);
  awaiting_progress_.fetch_add(1, std::memory_order_relaxed);
  progress_.wait_for(lock, std::chrono::nanoseconds(wait_ns));
  awaiting_progress_.fetch_sub(1, std::memory_order_relaxed);
}

// --- Dispatcher::pinned -------------------------------------------------------------------------------------------------

bool Dispatcher::start_pinned(int cpu) {
  while (!token_.try_acquire()) ipc::cpu_pause();  // handed to the thread
  pinned_ = std::thread([this] { run_pinned(); });
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return pthread_setaffinity_np(pinned_.native_handle(), sizeof set, &set) == 0;
}

void Dispatcher::stop_pinned() {
  if (!pinned_.joinable()) return;
  pinned_stop_.store(true);
  wake_set_.ring_sleeper();
  pinned_.join();
  token_.release();
}

void Dispatcher::run_pinned() {
  while (!pinned_stop_.load(std::memory_order_relaxed)) {
    if (spin_.spin([this] { return turn() > 0; }, [this] { return !pinned_stop_.load(std::memory_order_relaxed); })) continue;
    duty_.announce_asleep(true);
    pinned_asleep_.store(true, std::memory_order_relaxed);
    ipc::store_load_fence();  // FENCE: pairs with enqueue()'s and WorkerEnd::finish()'s.
    duty_.run_timers();
    if (turn() == 0 && !pinned_stop_.load()) wake_set_.wait(duty_.next_due_ns());
    pinned_asleep_.store(false, std::memory_order_relaxed);
    duty_.announce_asleep(armed_.load(std::memory_order_relaxed));
    spin_.slept();
  }
}

}  // namespace samovar::core
