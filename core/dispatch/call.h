// Call: one request and its one outcome, in memory private to the host. CallPool: where calls come from.
//
// A call is shared by the one who waits (a caller, a callback or a Reply) and by the dispatcher (queue or journal): one
// reference each. Its phase is one word, on which everybody agrees who may write the outcome:
//
//   queued ──claim()──▶ claimed ──to_sent()──▶ sent ──claim()──▶ claimed ──finish()──▶ done
//      ▲                   │                                        │
//      └────to_queued()────┴──────────────────to_queued()───────────┘
//
// The same word says how the waiter sleeps, and whether chunks have come, where the call is a stream: they are calls themselves, done
// from the beginning, and wait in its `stream` until they are taken, as replies.
//
// Exactly one thread succeeds in claim() and only it touches the outcome; after done nothing changes. So a call is finished
// once, whether by its reply, its deadline, its stop_token or its worker's death.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include <samovar/async.h>
#include <samovar/callback.h>
#include <samovar/error.h>
#include <samovar/loan.h>
#include <samovar/reply.h>

#include "core/dispatch/breakers.h"
#include "core/dispatch/call_stream.h"
#include "ipc/channel.h"
#include "ipc/clock.h"
#include "ipc/fence.h"
#include "ipc/memory_policy.h"
#include "ipc/message.h"

namespace samovar::core {

class CallPool;

// Bytes that keep their capacity: small ones inline, larger ones on the heap once.
class Buffer {
 public:
  // Room for `size` bytes, 8-aligned; the content is lost.
  std::byte* reserve(std::size_t size) {
    if (size <= sizeof inline_) return inline_;
    if (size > capacity_) {
      heap_ = std::make_unique_for_overwrite<std::byte[]>(size);
      capacity_ = size;
    }
    return heap_.get();
  }

 private:
  alignas(8) std::byte inline_[192];  // an envelope and 144 bytes
  std::unique_ptr<std::byte[]> heap_;
  std::size_t capacity_ = 0;
};

class alignas(ipc::kCacheLineBytes) Call {
 public:
  // Cancels the call from whichever thread requests the stop.
  struct OnStop {
    Call* call;
    void operator()() const;
  };

  // --- constant from admission to recycling --------------------------------------------------------------------------
  std::uint64_t ticket = 0;  // order of admission, and the call's id on the wire
  std::int64_t deadline_ns = ipc::kNever;
  std::uint32_t method = 0;  // in the pool's MethodTable
  ipc::Kind kind = ipc::Kind::none;
  std::int16_t node = ipc::kAnyNode;   // that its caller ran on, where the pool's workers are on several
  bool timed = false;
  bool idempotent = false;
  bool may_wait = false;               // a result that finds the response arena full waits until the deadline
  bool alone = false;                  // runs in a process of its own, not in the pool's
  bool asynchronous = false;           // has a callback; its deadline is the dispatcher's to enforce
  Breakers::Probe probe;
  std::span<const std::byte> payload;  // the caller's memory, request_buffer, or `block`
  std::span<std::byte> located;        // of tensors in `block`: room for a BlockReference and then their header, in request_buffer

  // --- owned by the holder of the dispatch token -----------------------------------------------------------------------
  Call* previous = nullptr;  // in the CallList that it waits in
  Call* next = nullptr;
  Call* due_previous = nullptr;  // in the list of asynchronous calls, whose deadlines the dispatcher enforces
  Call* due_next = nullptr;
  bool in_batch = false;  // that list is its method's, in Batching
  int attempts = 0;  // how often it was sent to a worker
  std::uint32_t requeues = 0;  // how often it moved on from a dead one, not begun
  bool asks = false;           // its method has called functions of the host
  std::uint32_t deaths = 0;    // how often a worker died while it ran
  std::int64_t deadline_on_wire() const { return deadline_ns == ipc::kNever ? 0 : deadline_ns; }
  std::uint64_t payload_offset() const;  // in the arena of `block`. Requires: a block
  detail::Block block;         // where the payload lies, until a worker has done with it; a reply may lie there, too

  // --- the outcome: written by who claimed, read after done -----------------------------------------------------------
  ipc::Response response;  // its payload lies in reply_buffer, in the response arena of reply_channel, or in `block`
  std::shared_ptr<ipc::HostEnd> reply_channel;
  std::uint64_t reply_offset = 0;  // of the block there
  std::optional<Error> error;
  bool timed_out = false;  // it is deadline_exceeded; `error` is the waiter's to take
  int worker = -1;

  // --- owned by the one who waits -------------------------------------------------------------------------------------
  Callback callback;
  std::optional<std::stop_callback<OnStop>> on_stop;
  std::atomic<bool> stop_armed{true};  // false while submit() is still making on_stop
  Call* next_ready = nullptr;
  std::unique_ptr<CallStream> stream;  // null: it is answered by its outcome alone

  // Instead of a callback, a coroutine: who waits, or kFinished once poll() has come to this call, or kAbandoned once nobody
  // will wait. The two sides meet in one exchange: whoever comes second knows of the first.
  bool awaited = false;
  std::atomic<detail::Awaiting*> awaiting{nullptr};
  static detail::Awaiting kFinished, kAbandoned;

  Buffer request_buffer;
  Buffer reply_buffer;

  enum Phase : std::uint32_t { queued = 0, claimed = 1, sent = 2, done = 3 };

  Phase phase() const { return static_cast<Phase>(word_.load(std::memory_order_acquire) & kPhaseMask); }
  bool is_done() const { return phase() == done; }

  // Who moves the call. While its waiter itself does, nobody else changes the word or takes the dispatcher's reference: then no locked
  // instruction is needed, of which each takes 6 ns.
  enum class By : bool { anyone, waiter };

  // Whether this thread may now write the outcome or move the call. Waits out another's claim, which is short.
  bool claim(By by = By::anyone) {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    if (by == By::waiter) {
      if ((word & kPhaseMask) == done) return false;
      word_.store((word & ~kPhaseMask) | claimed, std::memory_order_relaxed);
      return true;
    }
    for (;;) {
      switch (word & kPhaseMask) {
        case done: return false;
        case claimed:
          ipc::cpu_pause();
          word = word_.load(std::memory_order_relaxed);
          break;
        default:
          // ACQUIRE: pairs with the release of who moved the call last; its fields become visible.
          if (word_.compare_exchange_weak(word, (word & ~kPhaseMask) | claimed, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
            return true;
          }
      }
    }
  }

  // Requires: claimed by this thread. RELEASE: pairs with the acquire in claim().
  void to_sent(By by = By::anyone) { move(sent - claimed, by); }
  void to_queued(By by = By::anyone) { move(queued - claimed, by); }

  enum class Sleeper { none, futex, epoll, poll };  // poll: the waiter is told by poll(); streams alone

  // Publishes the outcome. Requires: claimed by this thread. Returns how the waiter sleeps: who finishes wakes it, by wake()
  // or through the dispatcher's epoll. RELEASE: pairs with the acquire in phase(); the outcome becomes visible.
  Sleeper finish(By by = By::anyone) {
    if (by == By::anyone) return sleeper_of(word_.exchange(done, std::memory_order_acq_rel));
    word_.store(done, std::memory_order_release);
    return Sleeper::none;
  }

  // Of a stream: chunks lie there. Returns whom to wake, as finish(): once, until the waiter has said take_news(). RELEASE: pairs
  // with the acquire in take_news() and announce_sleep(); the chunk becomes visible.
  Sleeper announce_news() { return sleeper_of(word_.fetch_or(kNewsBit, std::memory_order_acq_rel)); }

  // By the waiter, before it takes the chunks: those that come from now on are news again. What it had announced is retracted.
  void take_news() { word_.fetch_and(~(kNewsBit | kSleeperBits), std::memory_order_acq_rel); }

  // Whether there is something to tell the waiter: chunks, or the outcome.
  bool has_news() const {
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    return (word & kPhaseMask) == done || (word & kNewsBit) != 0;
  }

  // The waiter is about to sleep. False: the call is done, or there is news. One word holds phase, news and sleeper, so no wake-up
  // is lost.
  bool announce_sleep(Sleeper how) {
    const std::uint32_t bit = how == Sleeper::futex ? kFutexBit : how == Sleeper::epoll ? kEpollBit : kPollBit;
    std::uint32_t word = word_.load(std::memory_order_acquire);
    while ((word & kPhaseMask) != done && (word & kNewsBit) == 0) {
      if (word_.compare_exchange_weak(word, word | bit, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    }
    return false;
  }
  void retract_sleep() {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    while ((word & kSleeperBits) != 0 && (word & kPhaseMask) != done &&
           !word_.compare_exchange_weak(word, word & ~kSleeperBits, std::memory_order_acq_rel)) {
    }
  }

  // Sleeps until finish() and wake(), nudge() or the deadline. Requires: announce_sleep(futex). May return early. Blocks.
  void sleep(std::int64_t until_ns);
  void wake();   // after finish() said futex
  void nudge();  // makes the waiter start over although the call is not done

  // Makes the outcome of a done call the waiter's: a Reply takes over its reference.
  Result<Reply> take_outcome();

  // The outcome of a done call, which stays.
  Result<Reply> share_outcome();

  // When its waiter has waited long enough: at its deadline or, of a stream, for its next chunk.
  std::int64_t due_ns() const { return stream ? std::min(deadline_ns, stream->chunk_due_ns.load(std::memory_order_relaxed)) : deadline_ns; }

  // A call that is done, for a chunk of this one; its one reference is the caller's. Null where memory is used up.
  Call* acquire_chunk();

  // Gives a chunk to the waiter. The holder of the token.
  void push_chunk(Call& chunk);

  void add_reference() { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop_reference();

  // The dispatcher's, while the waiter has its own.
  void drop_dispatchers_reference(By by) {
    if (by == By::anyone) return drop_reference();
    references_.store(references_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }

  // Ends asynchronous calls: see Dispatcher.
  struct Owner {
    virtual void cancelled(Call& call) = 0;

   protected:
    ~Owner() = default;
  };
  Owner* owner = nullptr;  // constant; used by OnStop

  // By what the waiter may be known that waits, in call() or call_many(), with no stop_token: nobody else may end the call but the
  // dispatcher. Null once it has the outcome. Compared only.
  std::atomic<const void*> waiter{nullptr};

 private:
  friend class CallPool;

  // RELEASE: as to_sent().
  void move(int phases, By by) {
    const auto step = static_cast<std::uint32_t>(phases);
    if (by == By::anyone) {
      word_.fetch_add(step, std::memory_order_release);
    } else {
      word_.store(word_.load(std::memory_order_relaxed) + step, std::memory_order_release);
    }
  }

  static constexpr std::uint32_t kPhaseMask = 3;
  static constexpr std::uint32_t kFutexBit = 4;  // the waiter sleeps on word_
  static constexpr std::uint32_t kEpollBit = 8;  // the waiter sleeps on the dispatcher's epoll, as sentinel
  static constexpr std::uint32_t kPollBit = 16;  // the waiter is told by poll()
  static constexpr std::uint32_t kSleeperBits = kFutexBit | kEpollBit | kPollBit;
  static constexpr std::uint32_t kNewsBit = 32;  // chunks have come since the waiter took some; whoever set it has woken the waiter

  static Sleeper sleeper_of(std::uint32_t word) {
    if ((word & kSleeperBits) == 0 || (word & kNewsBit) != 0) return Sleeper::none;
    return (word & kFutexBit) != 0 ? Sleeper::futex : (word & kEpollBit) != 0 ? Sleeper::epoll : Sleeper::poll;
  }

  std::atomic<std::uint32_t> word_{done};
  std::atomic<std::uint32_t> references_{0};
  std::atomic<std::uint32_t> next_free_{0};
  std::uint32_t index_ = 0;
  CallPool* pool_ = nullptr;
};

// Why a call ends that has no outcome at its due_ns(). `sent`: to a worker.
Error waited_too_long(const Call& call, std::string_view method, bool sent);

// CallPool: calls are made once and used again, so that a call allocates nothing after warm-up.
//
// Threads: any. A free list of indices with a tag against ABA. It lives until its owner has closed it and the last call, and
// so the last Reply, has come back.
class CallPool {
 public:
  static CallPool* create() { return new CallPool; }
  void close();  // by the owner: no acquire() after this

  // A call in phase claimed, so that nobody else touches it, with two references. Null when memory or 1,048,576 calls are used up.
  Call* acquire();

  // As many as there are free ones at hand, at least one, at most as there is room for in `calls`; 0: as null.
  std::size_t acquire(std::span<Call*> calls);

  // One in phase done, with one reference.
  Call* acquire_done();

 private:
  friend class Call;

  static constexpr std::uint32_t kChunkCalls = 64;
  static constexpr std::uint32_t kChunksMax = 16384;
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint32_t kClosed = UINT32_MAX - 1;

  CallPool();
  ~CallPool();
  void recycle(Call& call);
  bool grow();
  std::size_t pop_or_grow(std::span<Call*> calls);
  bool push_free(Call& first, Call& last);  // false: closed
  std::size_t pop_free(std::span<Call*> calls);
  Call& at(std::uint32_t index) { return chunks_[index / kChunkCalls].load(std::memory_order_acquire)[index % kChunkCalls]; }
  void settle(std::int64_t calls);

  alignas(ipc::kCacheLineBytes) std::atomic<std::uint64_t> free_;  // tag << 32 | index of the first free call, or kClosed
  std::atomic<std::int64_t> abroad_{0};  // once closed: calls that have not come back. Before, calls that came are negative
  alignas(ipc::kCacheLineBytes) std::atomic<std::uint32_t> chunk_count_{0};
  std::atomic<std::uint32_t> made_chunks_{0};  // without those that memory did not suffice for
  std::unique_ptr<std::atomic<Call*>[]> chunks_;
};

}  // namespace samovar::core
