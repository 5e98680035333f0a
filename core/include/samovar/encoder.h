// Encoder: writes C++ values as the arguments of one call, straight into the bytes that travel. What Converter<T>::write() gets.
//
// Threads: one; it does not leave the call that it was made for.
// Invariants: (1) Each put() or kind below writes one value, unless it fails. (2) The first failure counts: it is kept with the
// path to it, what is written after it is ignored, and the call then fails with invalid_payload. (3) Small values allocate
// nothing, once a thread has made some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <samovar/api.h>
#include <samovar/payload.h>
#include <samovar/value.h>

namespace samovar {

namespace ipc {
class ValueWriter;
}

template <typename T>
struct Converter;  // convert.h

class SAMOVAR_API Encoder {
 public:
  // For a call with that many arguments.
  explicit Encoder(std::size_t arguments);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // One value of any type that has a Converter.
  template <typename T>
  void put(const T& value) {
    Converter<T>::write(*this, value);
  }

  void none();
  void boolean(bool value);
  void integer(std::int64_t value);
  void unsigned_integer(std::uint64_t value);
  void number(double value);
  void text(std::string_view utf8);
  void bytes(std::span<const std::byte> data);
  void value(const Value& value);

  // A list of what `items()` puts by item().
  template <typename Items>
  void list(Items&& items) {
    const Open open = open_list();
    if (ok()) items();
    close_list(open);
  }
  template <typename T>
  void item(const T& value) {
    const bool was_ok = ok();
    put(value);
    if (was_ok && !ok()) add_step(item_);
    ++item_;
  }

  // A dict of what `entries()` puts by entry(). Keys: None, bool, numbers, str, bytes; Python refuses equal ones.
  template <typename Entries>
  void dict(Entries&& entries) {
    const Open open = open_dict();
    if (ok()) entries();
    close_dict(open);
  }
  template <typename K, typename T>
  void entry(const K& key, const T& value) {
    const bool was_ok = ok();
    put(key);
    put(value);
    if (was_ok && !ok()) add_step(step_of(key));
  }

  // The next argument of the call.
  template <typename T>
  void argument(const T& value) {
    ++argument_;
    if (ok()) put(value);
  }

  // Ends in failure: `why` completes "argument 2["a"]: ".
  void fail(std::string_view why);
  bool ok() const noexcept { return failure_ == nullptr; }

  // What to send. Views this encoder's bytes. Requires: every argument was put.
  Payload finish();

 private:
  struct Failure;
  struct Open {
    std::size_t first;
    std::size_t item;
  };

  // "["bid"]", or "[7]".
  template <typename K>
  static std::string step_of(const K& key) {
    if constexpr (std::is_convertible_v<const K&, std::string_view>) {
      return "[\"" + std::string(std::string_view(key)) + "\"]";
    } else if constexpr (std::is_arithmetic_v<K>) {
      return "[" + std::to_string(key) + "]";
    } else {
      return "[a key]";
    }
  }

  template <typename Write>
  void write(Write&& write);
  Open open_list();
  void close_list(const Open& open);
  Open open_dict();
  void close_dict(const Open& open);
  void add_step(std::size_t index);
  void add_step(std::string step);

  ipc::ValueWriter* writer_;
  std::size_t arguments_;
  std::size_t argument_ = 0;  // the one that is being put
  std::size_t item_ = 0;      // of the list that is being put
  int depth_;
  Failure* failure_ = nullptr;
};

}  // namespace samovar
