// Method: a Python method with a C++ signature, looked up and checked once, then called like a function.
//
//   auto price = pool.method<double(std::string_view, std::int64_t)>("price");
//   samovar::Result<double> p = price("EURUSD", 1'000'000);
//   samovar::Result<double> q = price.with({.timeout = 1ms})("EURUSD", 1'000'000);
//
// What converts to what: core/CONVERSIONS.md. A result may be void (whatever came is dropped) or Reply (as it came).
//
// Threads: any number may use one handle. It is cheap to copy, must not outlive its pool, and stays good when the pool is moved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <samovar/api.h>
#include <samovar/async.h>
#include <samovar/convert.h>
#include <samovar/error.h>
#include <samovar/options.h>
#include <samovar/reply.h>

namespace samovar {

class Pool;

namespace core {
class Dispatcher;
}

namespace detail {

struct MethodTarget {
  core::Dispatcher* dispatcher = nullptr;
  std::uint32_t number = 0;             // in the pool's MethodTable
  std::shared_ptr<const Error> error;  // why it cannot be called, or null
};

SAMOVAR_API Result<Reply> call_method(const MethodTarget& target, Encoder& arguments, const CallOptions& options);
SAMOVAR_API AsyncCall async_method(const MethodTarget& target, Encoder& arguments, const CallOptions& options);
SAMOVAR_API Error conversion_threw(const MethodTarget& target, const char* what);

// Reads a result by `read`, which gets a T at `out`.
using ReadResult = bool (*)(const Decoder&, void* out);
SAMOVAR_API Result<void> read_result(const MethodTarget& target, const Reply& reply, ReadResult read, void* out);

template <typename R>
Result<R> result_of(const MethodTarget& target, Result<Reply> reply) {
  if constexpr (std::is_same_v<R, Reply>) {
    return reply;
  } else {
    if (!reply) return tl::unexpected(std::move(reply.error()));
    if constexpr (std::is_void_v<R>) {
      return {};
    } else {
      static_assert(std::is_default_constructible_v<R>, "a result is made empty, then read: it needs a default constructor");
      Result<R> result{};
      constexpr ReadResult kRead = [](const Decoder& from, void* out) { return Converter<R>::read(from, *static_cast<R*>(out)); };
      if (Result<void> read = read_result(target, *reply, kRead, &*result); !read) result = tl::unexpected(std::move(read.error()));
      return result;
    }
  }
}

}  // namespace detail

// A typed call that a coroutine awaits; see AsyncCall.
template <typename R>
class TypedCall {
 public:
  TypedCall(detail::MethodTarget target, AsyncCall call) : target_(std::move(target)), call_(std::move(call)) {}

  bool await_ready() const noexcept { return call_.await_ready(); }
  bool await_suspend(std::coroutine_handle<> handle) noexcept { return call_.await_suspend(handle); }
  bool suspend(detail::Awaiting awaiting) noexcept { return call_.suspend(awaiting); }
  Result<R> await_resume() { return detail::result_of<R>(target_, call_.await_resume()); }

  template <ResumeExecutor Executor>
  [[nodiscard]] ResumedOn<TypedCall, Executor> resume_on(Executor executor) && {
    return {std::move(*this), std::move(executor)};
  }

 private:
  detail::MethodTarget target_;
  AsyncCall call_;
};

template <typename Signature>
class Method;

template <typename R, typename... Args>
class Method<R(Args...)> {
 public:
  // Calls and waits, as Pool::call(). Fails as it does, and with error(), invalid_payload (an argument cannot be sent: which, and
  // where in it) or invalid_result (the result is no R: where in it, what came, what was expected).
  Result<R> operator()(const std::remove_cvref_t<Args>&... arguments) const {
    if (target_.error) return tl::unexpected(*target_.error);
    try {
      Encoder encoder(sizeof...(Args));
      (encoder.argument(arguments), ...);
      return detail::result_of<R>(target_, detail::call_method(target_, encoder, options_));
    } catch (const std::exception& thrown) {  // by a Converter, or for want of memory
      return tl::unexpected(detail::conversion_threw(target_, thrown.what()));
    }
  }

  // Sends the call, for a coroutine to await: `Result<R> r = co_await price.async("EURUSD", 1)`. Keeps nothing of the arguments.
  // Fails as the call above does, when awaited.
  [[nodiscard]] TypedCall<R> async(const std::remove_cvref_t<Args>&... arguments) const {
    if (target_.error) return {target_, AsyncCall(*target_.error)};
    try {
      Encoder encoder(sizeof...(Args));
      (encoder.argument(arguments), ...);
      return {target_, detail::async_method(target_, encoder, options_)};
    } catch (const std::exception& thrown) {
      return {target_, AsyncCall(detail::conversion_threw(target_, thrown.what()))};
    }
  }

  // The same method with other options.
  Method with(CallOptions options) const { return Method(target_, std::move(options)); }

  // Why no call can succeed: the pool has no such method (unknown_method, with the nearest name), or its function cannot take that
  // many arguments (invalid_payload, with its signature). Null: it was resolved. Each call then fails with this error.
  const Error* error() const { return target_.error.get(); }
  explicit operator bool() const { return !target_.error; }

 private:
  friend class Pool;
  Method(detail::MethodTarget target, CallOptions options) : target_(std::move(target)), options_(std::move(options)) {}

  detail::MethodTarget target_;
  CallOptions options_;
};

}  // namespace samovar
