// The allocator of arenas under any sequence of requests, offsets that a peer made up among them: spans never overlap,
// and what is free is found again.
#include <algorithm>
#include <iterator>
#include <map>

#include "ipc/span_allocator.h"
#include "tests/fuzz/target.h"

namespace samovar::fuzz {
namespace {

// Reads the input as a program: the number of granules, then operations.
class Program {
 public:
  Program(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size), spans_(1 + number() % 3000) {}

  void run() {
    while (at_ != end_) {
      step();
      check();
    }
    while (!used_.empty()) free(used_.begin()->first);
    check();
    expect(spans_.longest_free() == spans_.granules(), "all of it is one span again");
  }

 private:
  std::uint8_t byte() { return at_ == end_ ? 0 : *at_++; }
  std::uint32_t number() {
    const std::uint32_t low = byte();
    return low | static_cast<std::uint32_t>(byte()) << 8U;
  }

  void step() {
    const std::uint8_t code = byte();
    switch (code % 4) {
      case 0:
      case 1:
        return allocate(1 + (code < 128 ? code % 32 : number() % 4000));
      case 2: {  // one that is in use
        if (used_.empty()) return;
        auto chosen = std::next(used_.begin(), static_cast<std::ptrdiff_t>(byte() % used_.size()));
        return free(chosen->first);
      }
      default:
        if (code < 128) return free(code < 64 ? number() : number() << 16U);
        return take();
    }
  }

  void allocate(std::uint32_t count) {
    const std::uint32_t longest = spans_.longest_free();
    const auto first = spans_.allocate(count);
    expect(first.has_value() == (count <= longest), "a span is found if and only if one is long enough");
    if (first) add({*first, count});
  }

  void free(std::uint32_t first) {
    const bool known = used_.erase(first) == 1;
    expect(spans_.free(first) == known, "what is in use, and nothing else, can be freed");
  }

  // A part of some free span.
  void take() {
    std::uint32_t skip = byte() % 8;
    for (ipc::Span span = spans_.last(); span.count != 0; span = spans_.before(span)) {
      if (!spans_.is_free(span) || skip-- > 0) continue;
      const std::uint32_t first = span.first + byte() % span.count;
      const ipc::Span part{first, 1 + byte() % (span.end() - first)};
      spans_.take(span, part);
      return add(part);
    }
  }

  void add(ipc::Span span) {
    const auto behind = used_.lower_bound(span.first);
    expect(span.end() <= spans_.granules(), "a span lies within the arena");
    expect(behind == used_.end() || behind->first >= span.end(), "it does not overlap the one behind it");
    expect(behind == used_.begin() || std::prev(behind)->first + std::prev(behind)->second <= span.first,
           "nor the one before");
    used_[span.first] = span.count;
  }

  void check() const {
    std::uint32_t end = spans_.granules();
    std::uint32_t in_use = 0;
    bool free_behind = false;
    for (ipc::Span span = spans_.last(); span.count != 0; span = spans_.before(span)) {
      expect(span.end() == end, "spans tile the arena");
      const bool free = spans_.is_free(span);
      expect(!free || !free_behind, "free spans never touch");
      const auto known = used_.find(span.first);
      expect(free ? known == used_.end() : known != used_.end() && known->second == span.count,
             "they are those that were made");
      if (!free) in_use += span.count;
      free_behind = free;
      end = span.first;
      if (end == 0) break;
    }
    expect(end == 0 && in_use == spans_.in_use(), "all of it is accounted for");
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  ipc::SpanAllocator spans_;
  std::map<std::uint32_t, std::uint32_t> used_;  // first and count
};

}  // namespace

std::vector<Input> seeds() {
  return {
      {64, 0, 8, 8, 8, 2, 1, 2, 0, 8},                     // three spans of 9, the inner one freed, then the first
      {232, 3, 128, 231, 3, 4, 2, 0, 128, 231, 3},         // all but one granule, the last one, and again
      {64, 0, 8, 3, 0, 0, 3, 5, 0, 67, 255, 255},          // frees where a span begins, within one, and outside
      {64, 0, 8, 131, 0, 3, 4, 131, 0, 0, 0, 2, 0, 2, 0},  // parts of free spans
      {255, 255, 4, 12, 20, 28, 4, 12, 20, 28, 2, 0, 2, 1, 2, 2, 2, 3, 128, 40, 0, 128, 200, 1},
  };
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  samovar::fuzz::Program(data, std::min<std::size_t>(size, 600)).run();
  return 0;
}
