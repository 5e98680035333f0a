// CallStream: what a call has beside its outcome where it is a stream: chunks on their way from the dispatcher to who takes them.
//
// Threads: `came` and `granted` by the holder of the dispatch token, who also pushes chunks (Call::push_chunk()); what the waiter has,
// and take(), by the waiter, one thread at a time; atomics by both.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include <samovar/async.h>
#include <samovar/reply.h>

#include "ipc/clock.h"

namespace samovar::core {

class Call;

struct CallStream {
  CallStream(std::uint32_t its_window, std::int64_t its_chunk_timeout_ns) : granted(its_window), window(its_window), chunk_timeout_ns(its_chunk_timeout_ns) {}
  ~CallStream();  // drops the chunks that nobody has taken
  CallStream(const CallStream&) = delete;
  CallStream& operator=(const CallStream&) = delete;

  // The next chunk, with its reference, or null. By the waiter.
  Call* take(Call& call);

  // How many more the worker may be told to send: none, until half of the window has been taken.
  std::uint64_t credit_due() const {
    const std::uint64_t may_send = taken.load(std::memory_order_relaxed) + window;
    return may_send - granted >= credit_step() ? may_send : 0;
  }
  // By the waiter, around its waiting for a chunk.
  void begin_wait() {
    if (chunk_timeout_ns != ipc::kNever) chunk_due_ns.store(ipc::in(chunk_timeout_ns), std::memory_order_relaxed);
  }
  void end_wait() {
    if (chunk_timeout_ns != ipc::kNever) chunk_due_ns.store(ipc::kNever, std::memory_order_relaxed);
  }

  std::uint32_t credit_step() const { return window < 2 ? 1 : window / 2; }

  // --- the dispatcher's -------------------------------------------------------------------------------------------------
  std::uint64_t came = 0;
  std::uint64_t granted;  // the worker may send so many in all

  // --- both -------------------------------------------------------------------------------------------------------------
  std::atomic<Call*> arrived{nullptr};             // not yet looked at, newest first, linked by next_ready
  std::atomic<std::uint64_t> taken{0};             // written by the waiter
  std::atomic<std::int64_t> chunk_due_ns{ipc::kNever};  // likewise: when it has waited too long for its next one

  // --- constant, or the waiter's ----------------------------------------------------------------------------------------
  const std::uint32_t window;
  const std::int64_t chunk_timeout_ns;             // kNever: none
  std::function<void(Reply)> on_chunk;             // empty: chunks are taken by Stream
  detail::Awaiting* awaiting = nullptr;            // the coroutine that waits for the next one
  Call* in_order = nullptr;                        // looked at and not yet taken
};

}  // namespace samovar::core
