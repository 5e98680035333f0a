// An arena over a real memfd, and references into it: blocks keep what was written to them while others come, go, and
// have their pages given back; a reference that a peer made up lies within the arena or is refused.
#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "ipc/arena.h"
#include "tests/fuzz/target.h"

namespace samovar::fuzz {
namespace {

constexpr std::uint64_t kArenaBytes = 12 * ipc::kChunkBytes;

class Program {
 public:
  Program(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size), arena_(make_arena()) {}

  void run() {
    while (at_ != end_) step();
    while (!blocks_.empty()) free(blocks_.begin()->first);
    expect(arena_.bytes_in_use() == 0 && arena_.longest_free_bytes() == arena_.bytes_total(),
           "all of it is one block again");
    for (int period = 0; period < 3; ++period) give_back(UINT32_MAX);
    expect(!arena_.end_period() && arena_.bytes_backed() == 0, "what is free for two periods goes back to the kernel");
  }

 private:
  static ipc::Arena make_arena() {
    auto fd = ipc::create_memfd("samovar-fuzz", kArenaBytes);
    expect(fd.has_value(), "there is a memfd");
    auto arena = ipc::Arena::map(std::move(*fd), kArenaBytes);
    expect(arena.has_value(), "it can be mapped");
    return std::move(*arena);
  }

  std::uint8_t byte() { return at_ == end_ ? 0 : *at_++; }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value |= static_cast<std::uint64_t>(byte()) << (8 * i);
    return value;
  }

  void step() {
    const std::uint8_t code = byte();
    switch (code % 6) {
      case 0:
        return allocate(1 + code / 6 * 1000U);  // within a page or a few
      case 1:
        return allocate(1 + (byte() + code) * 2000ULL);  // over several chunks
      case 2:
        if (!blocks_.empty()) free(std::next(blocks_.begin(), static_cast<std::ptrdiff_t>(byte() % blocks_.size()))->first);
        return;
      case 3:
        return give_back(1 + byte());
      case 4: {  // where no block begins
        const std::uint64_t offset = number();
        if (!blocks_.contains(offset)) expect(!arena_.free(offset), "what is no block cannot be freed");
        return;
      }
      default:
        return refer({.offset = number(), .size = number()});
    }
  }

  void allocate(std::uint64_t bytes) {
    const bool fits = (bytes + ipc::kPageBytes - 1) / ipc::kPageBytes * ipc::kPageBytes <= arena_.longest_free_bytes();
    const auto block = arena_.allocate(bytes);
    expect(block.has_value(), "the system has memory");
    expect(block->has_value() == fits, "a block is found if and only if there is room");
    if (!fits) return;
    const std::uint64_t offset = **block;
    expect(offset % ipc::kPageBytes == 0 && offset + bytes <= kArenaBytes,
           "a block begins on a page and lies within the arena");
    const auto behind = blocks_.lower_bound(offset);
    expect(behind == blocks_.end() || offset + bytes <= behind->first, "it does not overlap the one behind it");
    expect(behind == blocks_.begin() || std::prev(behind)->first + std::prev(behind)->second <= offset,
           "nor the one before");
    blocks_[offset] = bytes;
    write(offset, bytes);
  }

  // In each page of it, so that a page that went is noticed.
  static std::byte mark_of(std::uint64_t offset, std::uint64_t bytes) {
    return static_cast<std::byte>(1 + (offset + bytes) % 251);
  }
  void write(std::uint64_t offset, std::uint64_t bytes) {
    for (std::uint64_t at = offset; at < offset + bytes; at += ipc::kPageBytes) *arena_.at(at) = mark_of(offset, bytes);
  }
  void free(std::uint64_t offset) {
    const std::uint64_t bytes = blocks_[offset];
    for (std::uint64_t at = offset; at < offset + bytes; at += ipc::kPageBytes) {
      expect(*arena_.at(at) == mark_of(offset, bytes), "a block keeps what was written to it");
    }
    blocks_.erase(offset);
    expect(arena_.free(offset), "a block can be freed");
  }

  void give_back(std::uint32_t pages_max) {
    arena_.end_period();
    while (const auto span = arena_.take_stale(pages_max)) {
      for (const auto& [offset, bytes] : blocks_) {
        const std::uint64_t first = std::uint64_t{span->first} * ipc::kPageBytes;
        const std::uint64_t end = std::uint64_t{span->end()} * ipc::kPageBytes;
        expect(end <= offset || offset + bytes <= first, "pages of a block are not given back");
      }
      arena_.punch(*span);
      arena_.return_punched(*span);
    }
  }

  void refer(ipc::BlockReference block) const {
    const auto bytes = ipc::block_at(arena_.memory(), block);
    const bool within = block.offset <= kArenaBytes && block.size <= kArenaBytes && block.offset + block.size <= kArenaBytes;
    expect(bytes.has_value() == within, "a reference is taken if and only if it lies within the arena");
    if (bytes) expect(bytes->data() == arena_.at(block.offset) && bytes->size() == block.size, "it is what it says");
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  ipc::Arena arena_;
  std::map<std::uint64_t, std::uint64_t> blocks_;  // offset and bytes
};

}  // namespace

std::vector<Input> seeds() {
  return {
      {0, 6, 12, 2, 1, 3, 0, 3, 0, 3, 0},                         // small blocks; one goes, with its pages
      {1, 200, 1, 200, 2, 0, 3, 16, 3, 16, 3, 16, 1, 100},        // over chunks, given back, taken again
      {1, 255, 1, 255, 1, 255, 2, 1, 0, 3, 3, 3, 3, 3, 3, 2, 0},  // full
      {0, 4, 0, 16, 0, 0, 0, 0, 0, 0, 4, 255, 255, 255, 255, 255, 255, 255, 255},
      {5, 0, 16, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0},                // a reference to the second page
      {5, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0},  // whose end wraps around
      {5, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},                 // of nothing, at the end
  };
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  samovar::fuzz::Program(data, std::min<std::size_t>(size, 400)).run();
  return 0;
}
