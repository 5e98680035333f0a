// copy_for_peer(): memcpy() of a payload into shared memory, which is read next on another core and never again on this one.
//
// memcpy() brings each line of the target here first, from the peer's cache, which has just read it: a round trip of caches for each, 3 ms
// for 8 MiB where the two cores share no cache; and it takes the place of something of ours. Stores that go past the caches (movntdq)
// ask nobody: 0.3 ms. They lose, by a fifth to a half, only between two threads of one core. DESIGN.md, arenas, has the figures.
#pragma once

#include <cstddef>
#include <span>

namespace samovar::ipc {

// Copies of this size and more. Shorter ones reach the peer sooner from cache to cache.
inline constexpr std::size_t kPastCachesBytesMin = 64 << 10;

// Ordered before what this thread stores afterwards, as memcpy() is. Requires: `out` has room, and does not overlap.
void copy_for_peer(std::byte* out, std::span<const std::byte> bytes);

}  // namespace samovar::ipc
