// Decoder: one value of a result, read where it lies. What Converter<T>::read() gets.
//
// Threads: one. A view, cheap to copy; valid while the read() it was given to runs.
// Invariants: (1) Everything was checked before it is shown, whatever the worker sent. (2) A function that returns false has noted
// what came, what was expected and where; its caller returns false, too, and the call fails with invalid_result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <samovar/api.h>
#include <samovar/value.h>

namespace samovar {

namespace core {
class Decoding;
}

template <typename T>
struct Converter;  // convert.h

namespace detail {
// Whether a missing entry of a dict is fine for T, and then leaves it as made by T().
template <typename T>
inline constexpr bool kMayBeMissing = false;
}  // namespace detail

class SAMOVAR_API Decoder {
 public:
  Value::Kind kind() const noexcept { return kind_; }
  bool is_none() const noexcept { return kind_ == Value::Kind::none; }

  // As a T, by its Converter.
  template <typename T>
  bool get(T& out) const {
    return Converter<T>::read(*this, out);
  }

  // This value as the kind of that name; see core/CONVERSIONS.md for what each takes. Views live as long as the result's bytes.
  bool boolean(bool& out) const;
  bool integer(std::int64_t& out, std::int64_t min = INT64_MIN, std::int64_t max = INT64_MAX) const;
  bool unsigned_integer(std::uint64_t& out, std::uint64_t max = UINT64_MAX) const;
  bool number(double& out) const;
  bool number(float& out) const;
  bool text(std::string_view& out) const;
  bool bytes(std::span<const std::byte>& out) const;
  bool value(Value& out) const;

  // Items of a list, entries of a dict; 0 of anything else.
  std::size_t size() const noexcept { return is_container() ? count_ : 0; }
  bool expect(Value::Kind kind) const;
  bool expect_list_of(std::size_t size) const;

  // Requires: a list, i < size().
  template <typename T>
  bool item(std::size_t i, T& out) const {
    Decoder at;
    return (find_item(i, at) && at.get(out)) || add_step(i);
  }

  // The entry with that str as its key. Missing: an error, but a T that may be missing (std::optional) is then left empty.
  // Requires: a dict. Takes linear time.
  template <typename T>
  bool entry(std::string_view key, T& out) const {
    Decoder at;
    switch (find_entry(key, at)) {
      case Found::yes: return at.get(out) || add_step(key);
      case Found::no:
        if constexpr (detail::kMayBeMissing<T>) {
          out = T();
          return true;
        }
        return missing(key);
      case Found::failed: break;
    }
    return add_step(key);
  }

  // Requires: a dict, i < size(). In the dict's order.
  template <typename K, typename T>
  bool entry_at(std::size_t i, K& key, T& out) const {
    Decoder key_at;
    Decoder at;
    if (!find_key(i, key_at) || !key_at.get(key)) return add_key_step(i);
    return (find_item(i, at) && at.get(out)) || add_step(key_at);
  }

  // Notes that this value is not what `expected` says ("a list of three floats"). Returns false.
  bool fail(std::string_view expected) const;

 private:
  friend class core::Decoding;

  enum class Found { yes, no, failed };

  Decoder() noexcept {}  // filled by the functions that find something
  bool is_container() const noexcept { return kind_ == Value::Kind::list || kind_ == Value::Kind::dict; }
  bool find_item(std::size_t i, Decoder& out) const;  // likewise the value of a dict's entry
  Found find_entry(std::string_view key, Decoder& out) const;
  bool find_key(std::size_t i, Decoder& out) const;
  bool missing(std::string_view key) const;
  bool add_step(std::size_t index) const;
  bool add_step(std::string_view key) const;
  bool add_step(const Decoder& key) const;
  bool add_key_step(std::size_t i) const;
  std::string to_string() const;

  struct Run {  // of slots: ipc::ValueSlots::Slots
    std::uint32_t at;
    std::uint32_t types_at;
    std::uint8_t width;
    std::uint8_t packed;
  };

  core::Decoding* decoding_;
  union {
    bool boolean_;
    std::int64_t integer_;
    std::uint64_t unsigned_;
    double number_;
    const char* data_;
    Run items_;  // of a list; the values of a dict
  };
  std::size_t count_;  // of what data_ or items_ has
  Run keys_;           // of a dict
  Value::Kind kind_;
  std::uint8_t depth_;
};

}  // namespace samovar
