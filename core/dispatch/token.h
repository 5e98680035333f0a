// DispatchToken and Waiters: who moves calls now, and who sleeps until their turn.
//
// The dispatcher is a role: whoever holds the token runs duty cycles for everybody. Nobody parks while holding it (but the
// pinned dispatcher, which holds it for good). A thread in call() that found nothing more to do becomes the sentinel (at
// most one) and sleeps on the epoll, or, where there is a holder or a sentinel, sleeps on its own call.
//
// SYNC POINT, token <-> waiter. Waiter: enlist, FENCE, look at token and sentinel, sleep. Whoever gives up the token or the
// sentinel's post: give up, FENCE, look at the list, wake one. Without either fence the last one in charge could leave
// between a waiter's look and its sleep, and nobody would take responses any more. Model: tests/model/token.pml.
#pragma once

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "core/dispatch/call.h"
#include "ipc/fence.h"

namespace samovar::core {

class DispatchToken {
 public:
  bool try_acquire() {
    // ACQUIRE: pairs with the release in release(); the state of the dispatcher becomes visible.
    return !held_.load(std::memory_order_relaxed) && !held_.exchange(true, std::memory_order_acquire);
  }

  // A full barrier, too: what the caller reads next is not older than the release (inbox, waiters, attention).
  void release() {
    held_.exchange(false, std::memory_order_release);
    ipc::store_load_fence_after_rmw();
  }

  bool is_held() const { return held_.load(std::memory_order_relaxed); }

 private:
  alignas(ipc::kCacheLineBytes) std::atomic<bool> held_{false};
};

class Waiters {
 public:
  Waiters() { calls_.reserve(256); }  // room for so many threads without an allocation while they call

  bool try_become_sentinel() { return !sentinel_.exchange(true, std::memory_order_acq_rel); }
  void resign_sentinel() { sentinel_.store(false, std::memory_order_release); }
  bool has_sentinel() const { return sentinel_.load(std::memory_order_relaxed); }

  void enlist(Call& call) {
    std::lock_guard lock(mutex_);
    calls_.push_back(&call);
    count_.store(calls_.size(), std::memory_order_relaxed);
  }

  // Whether the call was still listed; if not, somebody has nudged it.
  void delist(Call& call) {
    std::lock_guard lock(mutex_);
    std::erase(calls_, &call);
    count_.store(calls_.size(), std::memory_order_relaxed);
  }

  // Makes the longest waiting call start over, where nobody is in charge. Requires: a fence since the post was given up.
  void wake_one_unless_sentinel() {
    if (count_.load(std::memory_order_relaxed) == 0 || has_sentinel()) return;
    std::lock_guard lock(mutex_);  // while it is listed its thread is in call(), so the call lives
    if (calls_.empty()) return;
    Call* call = calls_.front();
    calls_.erase(calls_.begin());
    count_.store(calls_.size(), std::memory_order_relaxed);
    call->nudge();
  }

 private:
  std::atomic<bool> sentinel_{false};
  std::atomic<std::size_t> count_{0};
  std::mutex mutex_;
  std::vector<Call*> calls_;  // guarded by mutex_
};

}  // namespace samovar::core
