// Callback: a move-only function of one Result<Reply>, called once. Captures up to 48 bytes do not allocate.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include <samovar/reply.h>

namespace samovar {

class Callback {
 public:
  Callback() = default;

  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Callback> && std::is_invocable_v<F&, Result<Reply>>)
  Callback(F&& f) {  // implicit, so that a lambda can be passed
    using Target = std::decay_t<F>;
    if constexpr (sizeof(Target) <= kInlineBytes && alignof(Target) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<Target>) {
      new (storage_) Target(std::forward<F>(f));
      operations_ = &kInline<Target>;
    } else {
      *reinterpret_cast<Target**>(storage_) = new Target(std::forward<F>(f));
      operations_ = &kHeap<Target>;
    }
  }

  Callback(Callback&& other) noexcept { take(other); }
  Callback& operator=(Callback&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~Callback() { reset(); }

  explicit operator bool() const { return operations_ != nullptr; }
  void operator()(Result<Reply> result) { operations_->call(storage_, std::move(result)); }
  void reset() {
    if (operations_) std::exchange(operations_, nullptr)->destroy(storage_);
  }

 private:
  static constexpr std::size_t kInlineBytes = 48;

  struct Operations {
    void (*call)(void*, Result<Reply>&&);
    void (*move)(void* from, void* to);
    void (*destroy)(void*);
  };

  template <typename T>
  static constexpr Operations kInline{
      [](void* at, Result<Reply>&& result) { (*static_cast<T*>(at))(std::move(result)); },
      [](void* from, void* to) {
        new (to) T(std::move(*static_cast<T*>(from)));
        static_cast<T*>(from)->~T();
      },
      [](void* at) { static_cast<T*>(at)->~T(); }};

  template <typename T>
  static constexpr Operations kHeap{
      [](void* at, Result<Reply>&& result) { (**static_cast<T**>(at))(std::move(result)); },
      [](void* from, void* to) { *static_cast<T**>(to) = *static_cast<T**>(from); },
      [](void* at) { delete *static_cast<T**>(at); }};

  void take(Callback& other) {
    operations_ = std::exchange(other.operations_, nullptr);
    if (operations_) operations_->move(other.storage_, storage_);
  }

  const Operations* operations_ = nullptr;
  alignas(std::max_align_t) std::byte storage_[kInlineBytes];
};

}  // namespace samovar
