#include "ipc/copy_for_peer.h"

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "ipc/layout.h"

namespace samovar::ipc {

void copy_for_peer(std::byte* out, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
#if defined(__SSE2__)
  if (bytes.size() >= kPastCachesBytesMin) {
    // Whole lines alone: a part of one is read back first.
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(out) % kCacheLineBytes;
    std::memcpy(out, bytes.data(), before);
    const std::size_t end = before + (bytes.size() - before) / kCacheLineBytes * kCacheLineBytes;
    for (std::size_t at = before; at < end; at += kCacheLineBytes) {
      const auto* from = reinterpret_cast<const __m128i*>(bytes.data() + at);
      auto* to = reinterpret_cast<__m128i*>(out + at);
      const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
      _mm_stream_si128(to, a);
      _mm_stream_si128(to + 1, b);
      _mm_stream_si128(to + 2, c);
      _mm_stream_si128(to + 3, d);
    }
    _mm_sfence();  // no release store of ours orders these
    std::memcpy(out + end, bytes.data() + end, bytes.size() - end);
    return;
  }
#endif
  std::memcpy(out, bytes.data(), bytes.size());
}

}  // namespace samovar::ipc
