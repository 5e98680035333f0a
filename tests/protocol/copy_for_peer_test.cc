#include "ipc/copy_for_peer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "ipc/layout.h"

namespace samovar::ipc {
namespace {

constexpr std::size_t kRoom = kPastCachesBytesMin + 4 * kCacheLineBytes;
constexpr std::byte kUntouched{0xaa};

std::vector<std::byte> noise() {
  std::vector<std::byte> bytes(kRoom + kCacheLineBytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  return bytes;
}

TEST(CopyForPeer, copies_what_it_is_given_and_touches_nothing_else_however_it_lies) {
  const std::vector<std::byte> source = noise();
  std::vector<std::byte> memory(kRoom + 2 * kCacheLineBytes);
  const std::size_t lengths[] = {0, 1, 63, kPastCachesBytesMin - 1, kPastCachesBytesMin, kPastCachesBytesMin + 1, kPastCachesBytesMin + 130};
  for (const std::size_t length : lengths) {
    for (std::size_t to = 0; to < kCacheLineBytes; to += 7) {
      for (const std::size_t from : {0, 1, 33}) {
        std::ranges::fill(memory, kUntouched);
        copy_for_peer(memory.data() + to, std::span(source).subspan(from, length));
        const auto copied = memory.begin() + static_cast<std::ptrdiff_t>(to);
        const auto end = copied + static_cast<std::ptrdiff_t>(length);
        EXPECT_TRUE(std::equal(copied, end, source.begin() + static_cast<std::ptrdiff_t>(from))) << length << " bytes from " << from << " to " << to;
        EXPECT_TRUE(std::all_of(memory.begin(), copied, [](std::byte b) { return b == kUntouched; })) << length << " bytes to " << to;
        EXPECT_TRUE(std::all_of(end, memory.end(), [](std::byte b) { return b == kUntouched; })) << length << " bytes to " << to;
      }
    }
  }
}

}  // namespace
}  // namespace samovar::ipc
