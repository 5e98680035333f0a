// PendingQueue: calls that wait for a worker, oldest first, at most `limit`.
//
// Two parts: a lock-free inbox that any thread fills, and a list private to the holder of the dispatch token, ordered by
// ticket, into which each duty cycle empties the inbox. (The inbox alone is FIFO per producer only and can starve a quiet
// thread for ever.) Dispatch, expiry, cancellation and requeueing work on the list.
// Threads: admit(), enqueue(), close() any; the rest the holder of the dispatch token.
// Invariant: admitted - left == calls in inbox, in list, kept by the holder elsewhere (in batches) or on their way there; it never passes `limit` by
// admission. Calls requeued from a dead worker come on top: they were admitted before.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <concurrentqueue/concurrentqueue.h>

#include "core/dispatch/call.h"
#include "core/dispatch/call_list.h"

namespace samovar::core {

class PendingQueue {
 public:
  explicit PendingQueue(std::uint32_t limit) : limit_(limit) {}

  enum class Admission { admitted, full, closed, barred };

  // Takes a place in the queue and gives out its ticket. The call must follow, by enqueue() or insert().
  Admission admit(std::uint64_t& ticket) {
    std::uint64_t word = admitted_.load(std::memory_order_relaxed);
    do {
      if ((word & (kClosed | kBarred)) != 0) [[unlikely]] return (word & kClosed) != 0 ? Admission::closed : Admission::barred;
      // Signed: `word` may be older than what is read here, and less; then the exchange fails.
      if (static_cast<std::int64_t>(word - left_.load(std::memory_order_relaxed)) >= std::int64_t{limit_}) return Admission::full;
    } while (!admitted_.compare_exchange_weak(word, word + 1, std::memory_order_relaxed));
    ticket = word + 1;
    return Admission::admitted;
  }

  // The same for up to `calls` at once, whose tickets are `first` and those that follow it. How many; 0: admit() says why.
  std::uint32_t admit_several(std::uint64_t& first, std::uint32_t calls) {
    std::uint64_t word = admitted_.load(std::memory_order_relaxed);
    std::int64_t admitted;
    do {
      if ((word & (kClosed | kBarred)) != 0) [[unlikely]] return 0;
      const auto waiting = static_cast<std::int64_t>(word - left_.load(std::memory_order_relaxed));  // signed: as above
      admitted = std::min<std::int64_t>(calls, std::int64_t{limit_} - waiting);
      if (admitted <= 0) return 0;
    } while (!admitted_.compare_exchange_weak(word, word + static_cast<std::uint64_t>(admitted), std::memory_order_relaxed));
    first = word + 1;
    return static_cast<std::uint32_t>(admitted);
  }

  // The same for a call that will not follow, because it is run elsewhere: it takes no place, and no bar keeps it.
  Admission admit_elsewhere(std::uint64_t& ticket) {
    std::uint64_t word = admitted_.load(std::memory_order_relaxed);
    do {
      if ((word & kClosed) != 0) return Admission::closed;
    } while (!admitted_.compare_exchange_weak(word, word + 1, std::memory_order_relaxed));
    ticket = (word & ~kBarred) + 1;
    forgo();
    return Admission::admitted;
  }

  // From here on nothing is admitted. One word holds count and closed, so no call slips in behind the closing.
  void close() { admitted_.fetch_or(kClosed, std::memory_order_seq_cst); }

  // The same for a while: the pool is quarantined.
  void bar() { admitted_.fetch_or(kBarred, std::memory_order_seq_cst); }
  void unbar() { admitted_.fetch_and(~kBarred, std::memory_order_seq_cst); }

  std::uint64_t admitted() const { return admitted_.load(std::memory_order_relaxed) & ~(kClosed | kBarred); }
  bool is_closed() const { return (admitted_.load(std::memory_order_relaxed) & kClosed) != 0; }
  bool is_barred() const { return (admitted_.load(std::memory_order_relaxed) & kBarred) != 0; }
  bool is_refusing() const { return (admitted_.load(std::memory_order_relaxed) & (kClosed | kBarred)) != 0; }
  std::uint32_t size() const {
    const std::uint64_t left = left_.load(std::memory_order_relaxed);
    const std::uint64_t admitted = this->admitted();
    return admitted > left ? static_cast<std::uint32_t>(admitted - left) : 0;
  }

  // Whether admit() would not say full now.
  bool has_room() const { return is_refusing() || size() < limit_; }

  // Fails (false) when there is no memory for another block of the inbox.
  bool enqueue(Call& call) { return inbox_.enqueue(&call); }

  // Whether calls may lie in the inbox. Exact after a full barrier that follows their enqueue().
  bool inbox_is_empty() const { return inbox_.size_approx() == 0; }

  // Empties the inbox: `place(call)` calls insert(), or keeps the call and says so by keep(). Cheap when no call is on its way.
  template <typename Place>
  void take_inbox(Place&& place) {
    if (!has_arrivals()) return;
    Call* call;
    while (inbox_.try_dequeue(call)) place(*call);
  }

  // Puts an admitted call into its place, straight into the list.
  void insert(Call& call) {
    keep();
    list_.insert(call);
  }

  // Puts a call that had left back into its place, which is in front: its ticket is older than those behind.
  void requeue(Call& call) {
    keep_again();
    list_.insert(call);
  }

  // The same for a call that waits in a list of the caller's: it counts here, and leaves by let_go().
  void keep() { ++listed_; }
  void keep_again() { left_.store(left_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed); }
  void let_go(std::size_t calls = 1) { left_.store(left_.load(std::memory_order_relaxed) + calls, std::memory_order_relaxed); }

  // Whether admitted calls have not reached the list. By the holder.
  bool has_arrivals() const { return listed_ != admitted(); }

  // Whether other admitted calls than the holder's own, so many, have not reached the list.
  bool has_arrivals_but(std::size_t calls) const { return listed_ + calls != admitted(); }

  // Admitted calls go to their worker without having been in the list.
  void pass_by(std::size_t calls = 1) {
    listed_ += calls;
    let_go(calls);
  }

  Call* front() const { return list_.front(); }

  // Takes a call out of the list: it was sent, or has its outcome.
  void remove(Call& call) {
    list_.remove(call);
    let_go();
  }

  // An admitted call that will not follow: it has its outcome already. Any thread.
  void forgo() {
    // Not the holder's counter: forgone calls are rare, and the holder alone writes left_.
    forgone_.fetch_add(1, std::memory_order_relaxed);
  }

  // Settles forgone places. By the holder, now and then.
  void settle() {
    if (forgone_.load(std::memory_order_relaxed) == 0) return;
    if (const std::uint64_t forgone = forgone_.exchange(0, std::memory_order_relaxed)) {
      listed_ += forgone;
      left_.store(left_.load(std::memory_order_relaxed) + forgone, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kBarred = std::uint64_t{1} << 62;

  const std::uint32_t limit_;
  alignas(ipc::kCacheLineBytes) std::atomic<std::uint64_t> admitted_{0};
  std::atomic<std::uint64_t> left_{0};  // written by the holder only
  std::atomic<std::uint64_t> forgone_{0};
  moodycamel::ConcurrentQueue<Call*> inbox_;

  // Owned by the holder of the dispatch token.
  CallList list_;
  std::uint64_t listed_ = 0;  // admitted calls that have reached the list, or never will
};

}  // namespace samovar::core
