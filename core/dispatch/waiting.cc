// How a thread waits in call(): with the token it works for everybody, as sentinel it sleeps on the epoll, else on its call.
#include <algorithm>
#include <utility>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"

namespace samovar::core {
namespace {

constexpr int kWaiterSpinLooks = 2000;
constexpr int kDeadlineEvery = 256;  // looks between two at the clock

}  // namespace

// An outcome counts as a chunk, too. Whoever waits for the outcome alone has no stream, and so no news but that.
bool Dispatcher::reached(const Call& call, Until until) const {
  return until == Until::done_or_chunk ? call.has_news() : call.is_done() || (until == Until::done_or_room && queue_.has_room());
}

void Dispatcher::wait(Call& call, Holding token, Until until) {
  bool holding = token == Holding::yes;
  bool slept = false;
  while (!reached(call, until) && (holding || !give_up_if_due(call))) {
    if (holding || (options_.dispatcher != samovar::Dispatcher::pinned && token_.try_acquire())) {
      holding = false;
      if (std::exchange(slept, false)) spin_.slept();
      if (work_until_done(call, until)) {
        release_token();
        return;
      }
      if (!sleep_as_sentinel(call)) sleep_as_waiter(call);
      slept = true;
    } else if (!spin_on(call, until)) {
      sleep_as_waiter(call);
    }
  }
  if (holding) {  // it was refused as it entered
    release_token();
    return;
  }
  // Whoever leaves sees to it that somebody is in charge.
  ipc::store_load_fence();  // FENCE: see token <-> waiter in token.h.
  if (!token_.is_held()) waiters_.wake_one_unless_sentinel();
}

bool Dispatcher::work_until_done(Call& call, Until until) {
  duty_.set_waiter(call.waiter.load(std::memory_order_relaxed));
  if (duty_.announced_asleep() && !waiters_.has_sentinel() && !armed_.load(std::memory_order_relaxed)) {
    duty_.announce_asleep(false);
  }
  turn();
  int looks = 0;
  const auto done = [&] {
    if (++looks % kDeadlineEvery == 0) {
      duty_.run_timers();
      give_up_if_due(call);
    } else if (!duty_.has_work() && attention_.load(std::memory_order_relaxed) == 0) {
      return false;
    }
    turn();
    return reached(call, until);
  };
  return reached(call, until) || spin_.spin(done, [this] { return may_spin(); }, call.payload.size()) || reached(call, until);
}

bool Dispatcher::sleep_as_sentinel(Call& call) {
  if (!waiters_.try_become_sentinel()) {
    release_token();
    return false;
  }
  duty_.announce_asleep(true);
  ipc::store_load_fence();  // FENCE: pairs with the one in WorkerEnd::finish(): it rings or we see its response.
  duty_.run_timers();
  const bool moved = turn() > 0;
  const std::int64_t until_ns = std::min(call.due_ns(), duty_.next_due_ns());
  const bool sleep = !moved && call.announce_sleep(Call::Sleeper::epoll);
  release_token();
  if (sleep) {
    wake_set_.wait(until_ns);
    call.retract_sleep();
  }
  waiters_.resign_sentinel();
  return true;
}

void Dispatcher::sleep_as_waiter(Call& call) {
  waiters_.enlist(call);
  const bool sleep = call.announce_sleep(Call::Sleeper::futex);
  ipc::store_load_fence();  // FENCE: see token <-> waiter in token.h.
  if (sleep && (token_.is_held() || waiters_.has_sentinel())) call.sleep(call.due_ns());
  call.retract_sleep();
  waiters_.delist(call);
}

// While another thread works for this one; only where a core is left for it.
bool Dispatcher::spin_on(Call& call, Until until) {
  const int others = spinning_waiters_.fetch_add(1, std::memory_order_relaxed);
  if (static_cast<unsigned>(others) + options_.workers + 1 < cores_) {
    for (int look = 0; look < kWaiterSpinLooks && !reached(call, until); ++look) ipc::cpu_pause();
  }
  spinning_waiters_.fetch_sub(1, std::memory_order_relaxed);
  return reached(call, until);
}

bool Dispatcher::give_up_if_due(Call& call) {
  const std::int64_t due_ns = call.due_ns();
  if (due_ns == ipc::kNever || !ipc::has_passed(due_ns) || !call.claim()) return false;
  counters_.timed_out_by_waiter.add();
  call_events_.timed_out(call.method);
  call.timed_out = true;
  finish_outside(call, waited_too_long(call, methods_.now().name(call.method), call.attempts > 0));
  return true;
}

void Dispatcher::cancelled(Call& call) {
  if (!call.claim()) return;
  counters_.cancelled.add();
  Error error = call_cancelled(methods_.now().name(call.method));
  if (call.stream && !call.on_stop) error.message = "the stream of " + error.message.substr(0, error.message.find(" by its"));
  error.context.started = call.attempts > 0;
  finish_outside(call, std::move(error));
}

void Dispatcher::finish_outside(Call& call, Error error) {
  error.context.method = methods_.now().name(call.method);
  error.context.attempts = call.attempts;
  error.context.worker = call.worker;
  if (call.probe) breakers_.probe_ended(call.method, call.probe, &error);
  call.error.emplace(std::move(error));
  counters_.failed_by_waiter.add();
  const bool asynchronous = call.asynchronous;
  if (asynchronous) counters_.asynchronous.subtract();
  const bool streams = call.stream != nullptr;
  if (streams) call.add_reference();  // the ready list's, while the waiter's still holds
  const Call::Sleeper sleeper = call.finish();
  if (sleeper == Call::Sleeper::poll || (asynchronous && !streams)) {
    add_ready(call);
  } else if (sleeper == Call::Sleeper::futex) {
    call.wake();
  } else if (sleeper == Call::Sleeper::epoll) {
    wake_set_.ring_sleeper();
  }
  if (streams && sleeper != Call::Sleeper::poll) call.drop_reference();
  raise_and_help(kAbandoned);  // its place in the queue is free again, its request in a lane revoked
}

void Dispatcher::add_ready(Call& call) {
  call.next_ready = nullptr;
  add_ready(&call, &call);
  if (armed_.load(std::memory_order_relaxed)) wake_set_.ring_completion();
}

void Dispatcher::add_ready(Call* first, Call* last) {
  std::lock_guard lock(ready_mutex_);
  (ready_last_ ? ready_last_->next_ready : ready_first_) = first;
  ready_last_ = last;
}

}  // namespace samovar::core
