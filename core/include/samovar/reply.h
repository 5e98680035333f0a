// Reply: what a method returned. Owns its memory; may outlive its worker and the pool. Movable, not copyable.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <samovar/api.h>
#include <samovar/error.h>
#include <samovar/payload.h>
#include <samovar/value.h>

namespace samovar {

namespace core {
class Call;
}

template <class T>
class FlatBuffer;
class TensorView;  // tensor.h
template <typename T>
class TensorViewOf;

class SAMOVAR_API Reply {
 public:
  Reply(Reply&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  Reply& operator=(Reply&& other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~Reply() {
    if (call_) release();
  }

  PayloadKind kind() const;                  // any but arguments

  // As it was sent; valid while this reply lives. Larger than inline_bytes_max it lies in the worker's arena, or in this pool's
  // where the method has returned its own argument, and is read in place: hold it no longer than you need it. Of tensors: their elements,
  // without or with a header; read them by tensor().
  std::span<const std::byte> data() const;
  std::string_view text() const;             // data() as characters

  // Whether data() lies in shared memory, where its worker could still write: what has structure is copied before it is read.
  bool in_place() const;

  // The result as a Value, whatever its kind. Fails: FlexBuffers that do not verify (invalid_result).
  Result<Value> value() const;

  // The result as a FlatBuffer with root T, copied to private memory and verified there. With `identifier` the buffer must carry
  // it: reply.as<fbs::Answer>(fbs::AnswerIdentifier()). Fails: invalid_result, with why. Requires: <samovar/flatbuffers.h>.
  template <class T>
  Result<FlatBuffer<T>> as(const char* identifier = nullptr) const;

  // The result's tensors, in place; include <samovar/tensor.h>. Without a name: the only one. With a type and a number of dimensions
  // these are checked, too. Fails, with invalid_result: the result is no tensor, has none or several such, or is another one.
  Result<TensorView> tensor(std::string_view name = {}) const;
  template <typename T, int kRank = -1>
  Result<TensorViewOf<T>> tensor(std::string_view name = {}) const;
  Result<std::vector<TensorView>> tensors() const;

  // Time in the handler; zero unless CallOptions::timed. Source: CLOCK_MONOTONIC in the worker.
  std::chrono::nanoseconds service_time() const;
  int worker() const;

 private:
  friend class core::Call;
  explicit Reply(core::Call* call) : call_(call) {}
  void release();

  core::Call* call_;  // one reference of it
};

}  // namespace samovar
