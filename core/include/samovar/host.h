// Functions of the host that methods may call: ctx.host.call("lookup", key, timeout=0.5).
//
//   pool.expose("lookup", [&](std::string_view key) -> samovar::Result<double> { return table.find(key); });
//   pool.expose("all", [](const samovar::Value::List& arguments) -> samovar::Value { … });        // any arguments
//
// Arguments and result convert as those of typed methods do, the other way round: core/CONVERSIONS.md. A function that returns a
// Result fails with its error's message, one that throws with what(): samovar.HostError in Python.
// Threads: of the pool's own, started on demand, never one that dispatches: so a function may block, and may call the pool, as long as a
// worker is free for that call; else it ends at its deadline. Several run at once. A pool that ends waits for those that run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <samovar/api.h>
#include <samovar/convert.h>
#include <samovar/error.h>
#include <samovar/payload.h>

namespace samovar::detail {

// What a function of the host has answered: the bytes of its result, or why there is none.
struct SAMOVAR_API HostAnswer {
  std::vector<std::byte> bytes;  // arguments of one, the result
  std::string failure;           // empty: it has answered

  void put(Encoder& encoder);

  template <typename T>
  void set(const T& result) {
    Encoder encoder(1);
    encoder.argument(result);
    put(encoder);
  }
};

// `question` is a list: the function's name, then the arguments. False: the question's message says why.
using HostFunction = std::function<bool(const Decoder& question, HostAnswer& answer)>;

SAMOVAR_API std::string wrong_number_of_arguments(std::size_t takes, std::size_t given);

template <typename R, typename Call>
void answer_with(HostAnswer& answer, Call&& call) {
  if constexpr (std::is_void_v<R>) {
    call();
    answer.set(Value());
  } else {
    R result = call();
    if constexpr (requires { result.has_value() && result.error().message.empty(); }) {
      if (!result) {
        answer.failure = result.error().to_string();
      } else if constexpr (std::is_void_v<typename R::value_type>) {
        answer.set(Value());
      } else {
        answer.set(*result);
      }
    } else {
      answer.set(result);
    }
  }
}

// What keeps an argument for the time of the call.
template <typename T>
using Held = std::conditional_t<std::is_same_v<T, std::string_view>, std::string, T>;

template <typename F, typename R, typename... Args>
HostFunction typed_host_function(F function, R (*)(Args...)) {
  return [function = std::move(function)](const Decoder& question, HostAnswer& answer) mutable {
    using First = std::tuple<std::remove_cvref_t<Args>..., void>*;
    if constexpr (std::is_same_v<First, std::tuple<Value::List, void>*>) {  // any arguments
      Value::List arguments(question.size() - 1);
      for (std::size_t i = 0; i < arguments.size(); ++i) {
        if (!question.item(i + 1, arguments[i])) return false;
      }
      answer_with<R>(answer, [&]() -> R { return function(arguments); });
    } else {
      if (question.size() != sizeof...(Args) + 1) {
        answer.failure = wrong_number_of_arguments(sizeof...(Args), question.size() - 1);
        return true;
      }
      std::tuple<Held<std::remove_cvref_t<Args>>...> arguments;
      const bool read = std::apply(
          [&](auto&... argument) {
            std::size_t i = 0;
            return (question.item(++i, argument) && ...);
          },
          arguments);
      if (!read) return false;
      answer_with<R>(answer, [&]() -> R { return std::apply(function, std::move(arguments)); });
    }
    return true;
  };
}

template <typename R, typename C, typename... Args>
R (*signature_of(R (C::*)(Args...) const))(Args...);
template <typename R, typename C, typename... Args>
R (*signature_of(R (C::*)(Args...)))(Args...);
template <typename R, typename C, typename... Args>
R (*signature_of(R (C::*)(Args...) const noexcept))(Args...);

template <typename F>
HostFunction host_function(F function) {
  if constexpr (std::is_pointer_v<F>) {
    return typed_host_function(function, function);
  } else {
    return typed_host_function(std::move(function), decltype(signature_of(&F::operator())){nullptr});
  }
}

}  // namespace samovar::detail
