// Stream: what a method that yields its results sends, chunk by chunk, while it runs.
//
//   samovar::Result<samovar::Stream> tokens = pool.stream("generate", samovar::text(prompt), {.timeout = 30s, .chunk_timeout = 2s});
//   for (samovar::Result<samovar::Reply>& token : *tokens) {            // an error is the last that comes
//     if (!token) return report(token.error());
//     print(token->text());
//   }
//   while (auto chunk = co_await tokens->async_next()) { if (!*chunk) break; use(**chunk); }   // Result<std::optional<Reply>>
//
// Chunks come in order. The worker may be Options::stream_window of them ahead; then its generator waits. A chunk is a Reply, which
// may outlive stream, worker and pool. The call's timeout is for the stream as a whole, CallOptions::chunk_timeout for each wait.
// A Stream that is destroyed or cancelled before its end frees its worker: the generator is closed, its finally blocks run.
//
// Threads: one at a time. It may outlive its pool, which ends it; not while a thread is in next(). One that a coroutine is suspended on
// is to be destroyed by the thread that polls, or by another while none does.
#pragma once

#include <coroutine>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include <samovar/api.h>
#include <samovar/async.h>
#include <samovar/error.h>
#include <samovar/reply.h>

namespace samovar {

class NextChunk;

class SAMOVAR_API Stream {
 public:
  class Iterator;

  Stream(Stream&& other) noexcept
      : dispatcher_(other.dispatcher_), call_(std::exchange(other.call_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {  // not while a coroutine is suspended on either
    std::swap(dispatcher_, other.dispatcher_);
    std::swap(call_, other.call_);
    return *this;
  }
  ~Stream() {
    if (call_) release();
  }

  // The next chunk, or nothing once the method has returned. Blocks until then, at most chunk_timeout; works for others meanwhile, as
  // Pool::call(). Fails: the error that has ended the stream, after the chunks that came before it, and again each time.
  Result<std::optional<Reply>> next();

  // What the method has returned: None, where it just ends. Drops the chunks that are left and blocks until the end. Fails as next().
  Result<Reply> result();

  // Ends the stream now, if it has not ended; then it fails with Code::cancelled. Chunks that came are still there.
  void cancel();

  // For a coroutine: `Result<std::optional<Reply>> chunk = co_await stream.async_next()`, resumed inside poll(); see async.h. The
  // stream must not be moved meanwhile.
  [[nodiscard]] NextChunk async_next();

  // Each chunk as a Result<Reply>, once; an error is the last.
  Iterator begin();
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class core::Dispatcher;
  friend class NextChunk;
  Stream(core::Dispatcher& dispatcher, core::Call& call) : dispatcher_(&dispatcher), call_(&call) {}
  void release();

  core::Dispatcher* dispatcher_;
  core::Call* call_;  // one reference of it
};

// What a coroutine awaits.
class SAMOVAR_API NextChunk {
 public:
  bool await_ready() const noexcept;
  bool await_suspend(std::coroutine_handle<> handle) noexcept {
    return suspend({handle, [](detail::Awaiting& awaiting) noexcept { awaiting.handle.resume(); }, nullptr});
  }
  Result<std::optional<Reply>> await_resume();

  template <ResumeExecutor Executor>
  [[nodiscard]] ResumedOn<NextChunk, Executor> resume_on(Executor executor) && {
    return {std::move(*this), std::move(executor)};
  }

  // Registers who waits. False: there is something.
  bool suspend(detail::Awaiting awaiting) noexcept;

 private:
  friend class Stream;
  explicit NextChunk(Stream& stream) : stream_(&stream) {}

  Stream* stream_;
  detail::Awaiting awaiting_;
};

inline NextChunk Stream::async_next() { return NextChunk(*this); }

class Stream::Iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = Result<Reply>;
  using difference_type = std::ptrdiff_t;

  explicit Iterator(Stream& stream) : stream_(&stream) { ++*this; }

  Result<Reply>& operator*() const { return *chunk_; }
  Iterator& operator++() {
    const bool ended = chunk_ && !*chunk_;
    chunk_.reset();  // its memory before the next is waited for
    if (ended) return *this;
    Result<std::optional<Reply>> next = stream_->next();
    if (!next) {
      chunk_.emplace(tl::unexpect, std::move(next.error()));
    } else if (*next) {
      chunk_.emplace(std::move(**next));
    }
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const Iterator& at, std::default_sentinel_t) { return !at.chunk_; }

 private:
  Stream* stream_;
  mutable std::optional<Result<Reply>> chunk_;
};

inline Stream::Iterator Stream::begin() { return Iterator(*this); }

}  // namespace samovar
