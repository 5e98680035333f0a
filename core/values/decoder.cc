#include <samovar/decoder.h>

#include <cmath>
#include <limits>
#include <utility>

#include "core/values/decoding.h"
#include "core/values/value_codec.h"

namespace samovar {
namespace core {

using ipc::ValueSlots;
using ipc::ValueType;

bool Decoding::run(bool (*read)(const Decoder&, void*), void* out) {
  Decoder root;
  root.decoding_ = this;
  root.depth_ = 0;
  root.count_ = data_.size();
  root.data_ = reinterpret_cast<const char*>(data_.data());
  switch (kind_) {
    case PayloadKind::none: root.kind_ = Value::Kind::none; break;
    case PayloadKind::bytes: root.kind_ = Value::Kind::bytes; break;
    case PayloadKind::text: root.kind_ = Value::Kind::str; break;
    case PayloadKind::flatbuffer: return note("a FlatBuffer, which no C++ type stands for: call it by name and read the reply with as<T>()");
    default: {
      ValueSlots::Slot slot{};
      if (const char* what = slots_.find_root(slot)) return malformed(what);
      if (!find(slot, 0, root)) return false;
    }
  }
  return read(root, out) || note("its conversion refused it");
}

bool Decoding::find(const ValueSlots::Slot& slot, int depth, Decoder& out) {
  out.decoding_ = this;
  switch (slot.type()) {
    case ValueType::null: out.kind_ = Value::Kind::none; return true;
    case ValueType::bool_:
      out.kind_ = Value::Kind::boolean;
      out.boolean_ = slots_.load(slot.at, slot.width) != 0;
      return true;
    case ValueType::int_:
      out.kind_ = Value::Kind::integer;
      out.integer_ = slots_.load_signed(slot.at, slot.width);
      return true;
    case ValueType::uint:
      out.unsigned_ = slots_.load(slot.at, slot.width);
      out.kind_ = out.unsigned_ > static_cast<std::uint64_t>(INT64_MAX) ? Value::Kind::unsigned_integer : Value::Kind::integer;
      return true;
    case ValueType::float_: {
      out.kind_ = Value::Kind::number;
      const char* what = slots_.find_float(slot.at, slot.width, out.number_);
      return !what || malformed(what);
    }
    default: return find_pointed(slot, depth, out);
  }
}

bool Decoding::find_pointed(const ValueSlots::Slot& slot, int depth, Decoder& out) {
  std::size_t target = 0;
  if (!slots_.follow(slot.at, slot.width, target)) return malformed("an offset points before the first byte");
  const std::uint8_t width = slot.target_width();
  const auto run = [](const ValueSlots::Slots& s) {
    return Decoder::Run{static_cast<std::uint32_t>(s.at), static_cast<std::uint32_t>(s.types_at), s.width, s.packed};
  };
  const char* what = nullptr;
  switch (slot.type()) {
    case ValueType::key:
    case ValueType::string:
    case ValueType::blob: {
      std::string_view bytes;
      what = slot.type() == ValueType::key ? slots_.find_key(target, bytes)
                                           : slots_.find_sized(slot.type(), target, width, depth + 1, bytes);
      out.kind_ = slot.type() == ValueType::blob ? Value::Kind::bytes : Value::Kind::str;
      out.data_ = bytes.data();
      out.count_ = bytes.size();
      break;
    }
    case ValueType::indirect_int:
    case ValueType::indirect_uint:
    case ValueType::indirect_float: {
      if ((what = slots_.find_indirect(target, width))) break;
      const ValueType type = slot.type() == ValueType::indirect_int    ? ValueType::int_
                             : slot.type() == ValueType::indirect_uint ? ValueType::uint
                                                                       : ValueType::float_;
      return find({target, width, static_cast<std::uint8_t>(static_cast<unsigned>(type) << 2U)}, depth, out);
    }
    case ValueType::map: {
      ValueSlots::Slots keys;
      ValueSlots::Slots values;
      what = slots_.find_entries(target, width, depth + 1, keys, values);
      out.kind_ = Value::Kind::dict;
      out.depth_ = static_cast<std::uint8_t>(depth + 2);
      out.keys_ = run(keys);
      out.items_ = run(values);
      out.count_ = values.count;
      break;
    }
    default: {
      ValueSlots::Slots items;
      what = slots_.find_slots(slot.type(), target, width, depth + 1, items);
      out.kind_ = Value::Kind::list;
      out.depth_ = static_cast<std::uint8_t>(depth + 1);
      out.items_ = run(items);
      out.count_ = items.count;
    }
  }
  return !what || malformed(what);
}

bool Decoding::malformed(const char* what) {
  malformed_ = true;
  return note("malformed at byte " + std::to_string(slots_.failed_at()) + ": " + what);
}

bool Decoding::note(std::string why) {
  if (!std::exchange(failed_, true)) why_ = std::move(why);
  return false;
}

bool Decoding::step(std::string text) {
  steps_.push_back(std::move(text));
  return false;
}

std::string Decoding::message(std::string_view method) const {
  std::string text = "result";
  for (auto at = steps_.rbegin(); at != steps_.rend(); ++at) text += *at;
  return text + " of \"" + std::string(method) + "\": " + why_;
}

ValueSlots::Slot Decoding::slot(const Decoder::Run& run, std::size_t i) const {
  return slots_.slot({.at = run.at, .count = 0, .width = run.width, .packed = run.packed, .types_at = run.types_at}, i);
}

}  // namespace core

// --- what came, and whether it will do --------------------------------------------------------------------------------------

std::string Decoder::to_string() const {
  switch (kind_) {
    case Value::Kind::none: return "None";
    case Value::Kind::boolean: return boolean_ ? "True" : "False";
    case Value::Kind::integer: return "the int " + std::to_string(integer_);
    case Value::Kind::unsigned_integer: return "the int " + std::to_string(unsigned_);
    case Value::Kind::number: return "the float " + Value(number_).to_string();
    case Value::Kind::str: return "a str";
    case Value::Kind::bytes: return "bytes";
    case Value::Kind::list: return "a list of " + std::to_string(count_);
    case Value::Kind::dict: return "a dict of " + std::to_string(count_);
  }
  return {};
}

bool Decoder::fail(std::string_view expected) const {
  return decoding_->note(to_string() + " where " + std::string(expected) + " is expected");
}

bool Decoder::boolean(bool& out) const {
  if (kind_ != Value::Kind::boolean) return fail("a bool");
  out = boolean_;
  return true;
}

bool Decoder::integer(std::int64_t& out, std::int64_t min, std::int64_t max) const {
  if (kind_ == Value::Kind::integer && integer_ >= min && integer_ <= max) [[likely]] {
    out = integer_;
    return true;
  }
  if (kind_ != Value::Kind::integer && kind_ != Value::Kind::unsigned_integer) return fail("an int");
  return fail("an int within " + std::to_string(min) + " .. " + std::to_string(max));
}

bool Decoder::unsigned_integer(std::uint64_t& out, std::uint64_t max) const {
  const bool is_int = kind_ == Value::Kind::integer || kind_ == Value::Kind::unsigned_integer;
  if (!is_int) return fail("an int");
  if ((kind_ == Value::Kind::integer && integer_ < 0) || unsigned_ > max) {
    return fail("an int within 0 .. " + std::to_string(max));
  }
  out = unsigned_;
  return true;
}

bool Decoder::number(double& out) const {
  switch (kind_) {
    case Value::Kind::number: out = number_; return true;
    case Value::Kind::integer:
      out = static_cast<double>(integer_);
      // 2^63 is what INT64_MAX and its neighbours round to, and no int64.
      if (out < 0x1p63 && static_cast<std::int64_t>(out) == integer_) return true;
      return fail("an int that a double holds exactly");
    case Value::Kind::unsigned_integer:
      out = static_cast<double>(unsigned_);
      if (out < 0x1p64 && static_cast<std::uint64_t>(out) == unsigned_) return true;
      return fail("an int that a double holds exactly");
    default: return fail("a float");
  }
}

bool Decoder::number(float& out) const {
  double value = 0;
  if (!number(value)) return false;
  // A float of Python is rounded, as in C++; an int is not.
  if (kind_ == Value::Kind::number) {
    if (std::isfinite(value) && std::abs(value) > double{std::numeric_limits<float>::max()}) {
      return fail("a number within the range of a C++ float");
    }
  } else if (static_cast<double>(static_cast<float>(value)) != value) {
    return fail("an int that a float holds exactly");
  }
  out = static_cast<float>(value);
  return true;
}

bool Decoder::text(std::string_view& out) const {
  if (kind_ != Value::Kind::str) return fail("a str");
  out = {data_, count_};
  return ipc::is_utf8(out) || decoding_->malformed("a str is not UTF-8");
}

bool Decoder::bytes(std::span<const std::byte>& out) const {
  if (kind_ != Value::Kind::bytes) return fail("bytes");
  out = {reinterpret_cast<const std::byte*>(data_), count_};
  return true;
}

bool Decoder::expect(Value::Kind kind) const {
  if (kind_ == kind) return true;
  constexpr std::string_view kNames[] = {"None", "a bool", "an int", "an int", "a float", "a str", "bytes", "a list", "a dict"};
  return fail(kNames[static_cast<std::size_t>(kind)]);
}

bool Decoder::expect_list_of(std::size_t size) const {
  return (kind_ == Value::Kind::list && count_ == size) || fail("a list of " + std::to_string(size));
}

bool Decoder::value(Value& out) const {
  switch (kind_) {
    case Value::Kind::none: out = Value(); return true;
    case Value::Kind::boolean: out = Value(boolean_); return true;
    case Value::Kind::integer: out = Value(integer_); return true;
    case Value::Kind::unsigned_integer: out = Value(unsigned_); return true;
    case Value::Kind::number: out = Value(number_); return true;
    case Value::Kind::str: {
      std::string_view characters;
      if (!text(characters)) return false;
      out = Value(characters);
      return true;
    }
    case Value::Kind::bytes: out = Value::bytes(data_, count_); return true;
    case Value::Kind::list: {
      Value::List items(count_);
      for (std::size_t i = 0; i < count_; ++i) {
        Decoder at;
        if (!find_item(i, at) || !at.value(items[i])) return add_step(i);
      }
      out = Value(std::move(items));
      return true;
    }
    case Value::Kind::dict: {
      Value::Dict entries(count_);
      for (std::size_t i = 0; i < count_; ++i) {
        Decoder key;
        Decoder at;
        if (!find_key(i, key) || !key.value(entries[i].first)) return add_key_step(i);
        if (!find_item(i, at) || !at.value(entries[i].second)) return add_step(key);
      }
      if (core::find_duplicate(entries)) return decoding_->malformed("two keys of a dict are equal");
      out = Value(std::move(entries));
      return true;
    }
  }
  return false;
}

// --- parts --------------------------------------------------------------------------------------------------------------------

bool Decoder::find_item(std::size_t i, Decoder& out) const {
  return decoding_->find(decoding_->slot(items_, i), depth_, out);
}

bool Decoder::find_key(std::size_t i, Decoder& out) const {
  const ipc::ValueSlots::Slot slot = decoding_->slot(keys_, i);
  if (slot.type() == ipc::ValueType::map || ipc::ValueSlots::is_vector(slot.type())) {
    return decoding_->malformed("a list or dict is no key of a dict");
  }
  return decoding_->find(slot, depth_, out);
}

Decoder::Found Decoder::find_entry(std::string_view key, Decoder& out) const {
  Decoder at;
  for (std::size_t i = 0; i < count_; ++i) {
    if (!find_key(i, at)) return Found::failed;
    if (at.kind_ != Value::Kind::str || std::string_view(at.data_, at.count_) != key) continue;
    return find_item(i, out) ? Found::yes : Found::failed;
  }
  return Found::no;
}

bool Decoder::missing(std::string_view key) const {
  return decoding_->note("a dict without the key \"" + std::string(key) + "\"");
}

bool Decoder::add_step(std::size_t index) const { return decoding_->step("[" + std::to_string(index) + "]"); }
bool Decoder::add_step(std::string_view key) const { return decoding_->step(core::key_step(Value(key))); }
bool Decoder::add_step(const Decoder& key) const {
  Value shown;
  return decoding_->step(key.value(shown) ? core::key_step(shown) : "[" + key.to_string() + "]");
}
bool Decoder::add_key_step(std::size_t i) const { return decoding_->step("[key " + std::to_string(i) + "]"); }

}  // namespace samovar
