// Decoding: the reading of one result by a Converter, part by part and in place. Decoder is its view of one value.
//
// Threads: one. Functions may throw std::bad_alloc, and run() what a Converter throws.
// Invariant: `slots` pays for all that is found; a Converter that reads a part several times pays each time, so the budget is
// several times what ValueReader has.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/decoder.h>
#include <samovar/payload.h>

#include "ipc/value_slots.h"

namespace samovar::core {

class Decoding {
 public:
  // Requires: `data` is private memory.
  Decoding(PayloadKind kind, std::span<const std::byte> data)
      : kind_(kind), data_(data), slots_(data, kBudgetFactor * ipc::value_budget(data.size())) {}

  // Reads the whole result by `read`. False: message() says why.
  bool run(bool (*read)(const Decoder&, void*), void* out);

  // "result["a"][3]: a str where an int is expected". Requires: run() was false.
  std::string message(std::string_view method) const;
  bool is_malformed() const { return malformed_; }  // the bytes are no value at all

 private:
  friend class samovar::Decoder;

  static constexpr std::size_t kBudgetFactor = 8;

  ipc::ValueSlots::Slot slot(const Decoder::Run& run, std::size_t i) const;
  bool find(const ipc::ValueSlots::Slot& slot, int depth, Decoder& out);
  bool find_pointed(const ipc::ValueSlots::Slot& slot, int depth, Decoder& out);
  bool malformed(const char* what);
  bool note(std::string why);
  bool step(std::string text);

  const PayloadKind kind_;
  const std::span<const std::byte> data_;
  ipc::ValueSlots slots_;
  bool malformed_ = false;
  bool failed_ = false;
  std::string why_;
  std::vector<std::string> steps_;  // the innermost first
};

}  // namespace samovar::core
