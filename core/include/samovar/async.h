// AsyncCall: a call that a coroutine awaits.
//
//   samovar::Result<samovar::Reply> reply = co_await pool.async_call("detect", samovar::bytes(image));
//   samovar::Result<double> p = co_await price.async("EURUSD", 1'000'000);                  // a typed method
//   co_await pool.async_call("detect", payload).resume_on([&](std::coroutine_handle<> h) { executor.post(h); });
//
// The call is on its way when async_call() returns, so several can be started and then awaited one after the other.
// Where the coroutine goes on: inside poll(), in the thread that polls, as callbacks do; or, with resume_on(), wherever the executor
// calls handle.resume(). The executor itself is called inside poll(), once. What has its outcome already (a call that was refused, one
// that some poll() found finished) is not waited for: the coroutine goes on at once, where it is.
// An AsyncCall that is destroyed before its outcome was taken, alone or with its suspended coroutine, cancels the call, and nothing
// resumes any more. To be destroyed by the thread that polls, or by another while none does. A pool that ends resumes its
// coroutines: calls left end in pool_stopped.
//
// GCC 12 cannot compile a braced list inside a co_await expression: make `arguments({"EURUSD", 1})` in the line before, or use a typed
// method.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <utility>

#include <samovar/api.h>
#include <samovar/error.h>
#include <samovar/reply.h>

namespace samovar {

namespace core {
class Dispatcher;
}

namespace detail {
// Who waits for a call. Lies in the awaiting coroutine's frame.
struct Awaiting {
  std::coroutine_handle<> handle;
  void (*resume)(Awaiting&) noexcept = nullptr;
  void* context = nullptr;
};
}  // namespace detail

// Takes a suspended coroutine and has it resumed, by itself or by another thread. Must not throw. Movable.
template <typename T>
concept ResumeExecutor = std::invocable<T&, std::coroutine_handle<>> && std::move_constructible<T>;

template <typename Awaitable, ResumeExecutor Executor>
class ResumedOn;

class SAMOVAR_API AsyncCall {
 public:
  // One that was not accepted.
  explicit AsyncCall(Error refused) : refused_(std::make_unique<Error>(std::move(refused))) {}
  AsyncCall(AsyncCall&& other) noexcept : call_(std::exchange(other.call_, nullptr)), refused_(std::move(other.refused_)) {}
  AsyncCall& operator=(AsyncCall&& other) noexcept {  // not while a coroutine is suspended on either
    std::swap(call_, other.call_);
    std::swap(refused_, other.refused_);
    return *this;
  }
  ~AsyncCall() {
    if (call_) abandon();
  }

  bool await_ready() const noexcept { return !call_ || is_finished(); }
  bool await_suspend(std::coroutine_handle<> handle) noexcept {
    return suspend({handle, [](detail::Awaiting& awaiting) noexcept { awaiting.handle.resume(); }, nullptr});
  }
  Result<Reply> await_resume();  // once

  template <ResumeExecutor Executor>
  [[nodiscard]] ResumedOn<AsyncCall, Executor> resume_on(Executor executor) && {
    return {std::move(*this), std::move(executor)};
  }

  // Registers who waits. False: the outcome is there.
  bool suspend(detail::Awaiting awaiting) noexcept;

 private:
  friend class core::Dispatcher;
  explicit AsyncCall(core::Call* call) noexcept : call_(call) {}

  bool is_finished() const noexcept;
  void abandon();

  core::Call* call_ = nullptr;      // one reference of it; null: refused, or its outcome was taken
  std::unique_ptr<Error> refused_;  // why it was not accepted
  detail::Awaiting awaiting_;
};

// What resume_on() makes of an AsyncCall or a TypedCall.
template <typename Awaitable, ResumeExecutor Executor>
class ResumedOn {
 public:
  ResumedOn(Awaitable call, Executor executor) : call_(std::move(call)), executor_(std::move(executor)) {}

  bool await_ready() const noexcept { return call_.await_ready(); }
  bool await_suspend(std::coroutine_handle<> handle) noexcept {
    return call_.suspend({handle,
                          [](detail::Awaiting& awaiting) noexcept {
                            // Out of the frame first: it may be gone before the executor returns.
                            Executor executor = std::move(static_cast<ResumedOn*>(awaiting.context)->executor_);
                            executor(awaiting.handle);
                          },
                          this});
  }
  decltype(auto) await_resume() { return call_.await_resume(); }

 private:
  Awaitable call_;
  Executor executor_;
};

// A coroutine that nobody waits for: it starts at once and its frame goes when it ends. An exception that leaves it ends the process.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

}  // namespace samovar
