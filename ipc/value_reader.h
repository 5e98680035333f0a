// ValueReader: checks and reads bytes of kind `value` (VALUES.md) in one pass, handing what it finds to a Maker.
//
// Threads and invariants: those of ValueSlots; no more is made than value_budget() allows.
//
// A Maker has an `Object`, movable and default-constructible, and makes one of each kind. Each function returns nullptr, or
// what is wrong, in words that outlive the reader (kMakerRaised: the maker has recorded it elsewhere):
//   null(out) boolean(out, bool) integer(out, int64) unsigned_integer(out, uint64) number(out, double)
//   text(out, string_view)          may be any bytes: the maker checks that it is UTF-8
//   blob(out, data, size)
//   open_list(out, n) set_item(list, i, Object&&)           all n are set, in order, unless reading fails
//   open_dict(out, n) set_entry(dict, Object&&, Object&&)   likewise; keys are never lists or dicts
//   close_dict(dict, n)             says whether two keys are equal
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "ipc/value_slots.h"

namespace samovar::ipc {

inline constexpr char kMakerRaised[] = "";

template <class Maker>
class ValueReader {
 public:
  using Object = typename Maker::Object;

  ValueReader(std::span<const std::byte> bytes, Maker& maker) : slots_(bytes, value_budget(bytes.size())), maker_(maker) {}

  // Returns nullptr, or what is wrong; failed_at() then says near which byte.
  const char* read(Object& out) {
    Slot root{};
    if (const char* what = slots_.find_root(root)) return what;
    return read_slot(root, 0, out);
  }

  std::size_t failed_at() const noexcept { return slots_.failed_at(); }

 private:
  using Slot = ValueSlots::Slot;
  using Slots = ValueSlots::Slots;

  const char* wrong(const char* what, std::size_t at) { return slots_.wrong(what, at); }
  const char* made(const char* what, std::size_t at) { return what == nullptr ? nullptr : wrong(what, at); }

  const char* read_slot(const Slot& slot, int depth, Object& out) {
    switch (slot.type()) {
      case ValueType::null: return made(maker_.null(out), slot.at);
      case ValueType::bool_: return made(maker_.boolean(out, slots_.load(slot.at, slot.width) != 0), slot.at);
      case ValueType::int_: return made(maker_.integer(out, slots_.load_signed(slot.at, slot.width)), slot.at);
      case ValueType::uint: return made(maker_.unsigned_integer(out, slots_.load(slot.at, slot.width)), slot.at);
      case ValueType::float_: return read_float(slot.at, slot.width, out);
      default: break;
    }
    std::size_t target = 0;
    if (!slots_.follow(slot.at, slot.width, target)) return wrong("an offset points before the first byte", slot.at);
    const std::uint8_t width = slot.target_width();
    switch (slot.type()) {
      case ValueType::string:
      case ValueType::blob: return read_sized(slot.type(), target, width, depth + 1, out);
      case ValueType::key: return read_key(target, out);
      case ValueType::map: return read_dict(target, width, depth + 1, out);
      case ValueType::indirect_int:
      case ValueType::indirect_uint:
      case ValueType::indirect_float: return read_indirect(slot.type(), target, width, out);
      default: break;
    }
    Slots slots;
    if (const char* what = slots_.find_slots(slot.type(), target, width, depth + 1, slots)) return what;
    if (const char* what = maker_.open_list(out, slots.count)) return wrong(what, target);
    for (std::size_t i = 0; i < slots.count; ++i) {
      Object item{};
      if (const char* what = read_slot(slots_.slot(slots, i), depth + 1, item)) return what;
      if (const char* what = maker_.set_item(out, i, std::move(item))) return wrong(what, slots.at);
    }
    return nullptr;
  }

  const char* read_float(std::size_t at, std::uint8_t width, Object& out) {
    double value = 0;
    if (const char* what = slots_.find_float(at, width, value)) return what;
    return made(maker_.number(out, value), at);
  }

  const char* read_indirect(ValueType type, std::size_t at, std::uint8_t width, Object& out) {
    if (const char* what = slots_.find_indirect(at, width)) return what;
    if (type == ValueType::indirect_int) return made(maker_.integer(out, slots_.load_signed(at, width)), at);
    if (type == ValueType::indirect_uint) return made(maker_.unsigned_integer(out, slots_.load(at, width)), at);
    return read_float(at, width, out);
  }

  const char* read_key(std::size_t at, Object& out) {
    std::string_view text;
    if (const char* what = slots_.find_key(at, text)) return what;
    return made(maker_.text(out, text), at);
  }

  const char* read_sized(ValueType type, std::size_t at, std::uint8_t width, int depth, Object& out) {
    std::string_view bytes;
    if (const char* what = slots_.find_sized(type, at, width, depth, bytes)) return what;
    if (type == ValueType::string) return made(maker_.text(out, bytes), at);
    return made(maker_.blob(out, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), at);
  }

  const char* read_dict(std::size_t at, std::uint8_t width, int depth, Object& out) {
    Slots keys;
    Slots values;
    if (const char* what = slots_.find_entries(at, width, depth, keys, values)) return what;
    if (const char* what = maker_.open_dict(out, keys.count)) return wrong(what, at);
    for (std::size_t i = 0; i < keys.count; ++i) {
      Object key{};
      Object value{};
      const Slot key_slot = slots_.slot(keys, i);
      if (key_slot.type() == ValueType::map || ValueSlots::is_vector(key_slot.type())) {
        return wrong("a list or dict is no key of a dict", key_slot.at);
      }
      if (const char* what = read_slot(key_slot, depth + 1, key)) return what;
      if (const char* what = read_slot(slots_.slot(values, i), depth + 1, value)) return what;
      if (const char* what = maker_.set_entry(out, std::move(key), std::move(value))) return wrong(what, key_slot.at);
    }
    return made(maker_.close_dict(out, keys.count), at);
  }

  ValueSlots slots_;
  Maker& maker_;
};

}  // namespace samovar::ipc
