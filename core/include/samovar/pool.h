// Pool: Python workers, kept hot, called over shared memory.
//
// Threads: any number may use a pool at once, except that it is moved and destroyed by one while no other uses it.
// Every accepted call has exactly one outcome: a reply or one error, whatever dies at whatever instruction.
// No exception leaves the library. Any number of pools may live in a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samovar/api.h>
#include <samovar/async.h>
#include <samovar/callback.h>
#include <samovar/error.h>
#include <samovar/host.h>
#include <samovar/loan.h>
#include <samovar/method.h>
#include <samovar/options.h>
#include <samovar/payload.h>
#include <samovar/reply.h>
#include <samovar/request.h>
#include <samovar/stats.h>
#include <samovar/stream.h>

namespace samovar {

namespace core {
class PoolState;
}

namespace detail {
struct OneLoan;
}
enum class DType : std::uint8_t;  // tensor.h
class Shape;
struct TensorSpec;
class TensorsLoan;
template <typename T>
class TensorLoan;

class SAMOVAR_API Pool {
 public:
  // SAMOVAR_* variables outrank `options`, unless options.environment says ignore; see config.h.
  // Starts the workers and returns when all of them are ready: imported, preloaded, and have answered a ping.
  // Blocks up to start_timeout. Fails: category configuration or system; nothing is left running.
  static Result<Pool> start(Options options);

  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  ~Pool();  // drain() without waiting for running calls; leaves no process, thread or descriptor behind

  // Calls a method and waits for its outcome. Blocks up to the call's deadline.
  // Not from within a callback (of this pool) with Dispatcher::manual: nobody would poll.
  Result<Reply> call(std::string_view method, const Payload& payload = {}, const CallOptions& options = {});

  // Sends a call and returns. `done` is called exactly once, by a thread inside poll(), if and only if the call was accepted.
  // `done` must not throw. Copies the payload, but for a loan's. Fails: unknown_method, payload_too_large, invalid_payload,
  // queue_full, resource_exhausted, pool_stopped.
  [[nodiscard]] Result<void> submit(std::string_view method, const Payload& payload, Callback done,
                                    const CallOptions& options = {});

  // Begins a stream: a method that yields its results. Copies the payload, but for a loan's. stream.h says what holds. Fails as
  // submit(), and with invalid_payload where the method is no stream; call() and submit() of one that is fail likewise.
  Result<Stream> stream(std::string_view method, const Payload& payload = {}, const CallOptions& options = {});

  // The same by callbacks, inside poll() and nowhere else: `on_chunk` for each chunk, in order, then `on_end` once, with what the method
  // has returned or the error that has ended the stream. The worker gets credit for a chunk when `on_chunk` has returned. Neither may throw.
  [[nodiscard]] Result<void> submit_stream(std::string_view method, const Payload& payload, std::function<void(Reply)> on_chunk,
                                           Callback on_end, const CallOptions& options = {});

  // A block of `bytes` in shared memory, to be written in place and sent without a copy. Blocks up to `wait` while the arena
  // is full. Fails: resource_exhausted (with the sizes), payload_too_large (for the whole arena).
  Result<Loan> loan(std::size_t bytes, Duration wait = Duration::zero());

  // The same for a tensor of a type and a shape, or for several; include <samovar/tensor.h>. Fails also: invalid_payload.
  template <typename T>
  Result<TensorLoan<T>> loan_tensor(const Shape& shape, Duration wait = Duration::zero());
  Result<TensorsLoan> loan_tensors(std::initializer_list<TensorSpec> tensors, Duration wait = Duration::zero());
  Result<TensorsLoan> loan_tensors(std::span<const TensorSpec> tensors, Duration wait = Duration::zero());

  // Sends a call that a coroutine awaits; async.h says where it goes on. Copies the payload. Fails as submit() does, when awaited.
  [[nodiscard]] AsyncCall async_call(std::string_view method, const Payload& payload = {}, const CallOptions& options = {});

  // Makes all calls, as many at once as the workers can take, and waits for their outcomes, which are in the order of the calls. The
  // queue's limit makes it wait, not fail. `options` hold for the batch as a whole: one deadline, one stop_token. Blocks up to the
  // deadline. Memory: one reply each, large ones in their arenas until this returns; at most 1,048,576 at a time in a pool.
  std::vector<Result<Reply>> call_many(std::span<const Request> requests, const CallOptions& options = {});
  std::vector<Result<Reply>> call_many(std::string_view method, std::span<const Payload> payloads, const CallOptions& options = {});

  // A typed handle of a method: method<double(std::string_view, std::int64_t)>("price"). Looks it up, once, and checks that its
  // function takes that many arguments; Method::error() tells, and so does each call. It must not outlive the pool.
  template <typename Signature>
  Method<Signature> method(std::string_view name, CallOptions options = {}) const {
    return Method<Signature>(resolve(name, arity(static_cast<Signature*>(nullptr))), std::move(options));
  }

  // Lets methods call `function` by `name`: ctx.host.call(name, …); host.h says what it may be and where it runs. In place of one of that
  // name. What it captures must live until the pool has been drained or destroyed.
  template <typename F>
  void expose(std::string_view name, F function) {
    expose_function(name, detail::host_function(std::move(function)));
  }

  // Moves calls and replies on and runs callbacks of finished calls. Returns how many it ran. When it finds nothing to do
  // it arms completion_fd() and looks once more. Does not block.
  std::size_t poll();

  // Polls readable when poll() has something to do. Of the pool; never read it, never close it.
  int completion_fd() const;

  // Refuses new calls and waits until those accepted have their outcome (their callbacks may still wait for poll()), at
  // most `timeout`; calls left then end in pool_stopped. Then ends the workers. Blocks.
  void drain(Duration timeout);

  // Replaces the workers by such with the code as it is now, one by one: each new one must be ready before it takes the place of an
  // old one, which finishes what it has begun. No call is lost or waits for an import; there is one worker more meanwhile. Methods that
  // the fresh code adds can be called afterwards. Blocks. Not from Options::on_event. Fails as start() does, where the fresh code does not start:
  // then the old workers go on.
  Result<void> reload();

  Stats stats() const;

  // The workers in their order, then the nursery. Reads /proc/PID/smaps_rollup of each (about a millisecond for 100 MB): where that cannot be
  // read the bytes are 0. Blocks for that long.
  std::vector<ProcessStats> processes() const;
  std::vector<std::string> methods() const;
  const Options& options() const;  // as they are in force: defaults resolved

 private:
  template <typename R, typename... Args>
  static constexpr std::size_t arity(R (*)(Args...)) {
    return sizeof...(Args);
  }
  Result<detail::OneLoan> loan_one(DType dtype, const Shape& shape, Duration wait);
  void expose_function(std::string_view name, detail::HostFunction function);
  detail::MethodTarget resolve(std::string_view name, std::size_t arguments) const;

  explicit Pool(std::unique_ptr<core::PoolState> state);
  std::unique_ptr<core::PoolState> state_;
};

}  // namespace samovar
