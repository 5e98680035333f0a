// store_load_fence(): the one fence of the protocol. Of my store before it and your store before yours, at least one of us
// sees the other's in the load that follows. Every use names its partner.
#pragma once

#include <atomic>

namespace samovar::ipc {

inline void store_load_fence() {
#if defined(__SANITIZE_THREAD__)
  // ThreadSanitizer does not understand fences; a sequentially consistent read-modify-write it does.
  thread_local std::atomic<int> barrier{0};
  barrier.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// The same, straight after a read-modify-write of this thread, which is such a fence already on x86.
inline void store_load_fence_after_rmw() {
#if defined(__x86_64__)
  std::atomic_signal_fence(std::memory_order_seq_cst);
#else
  store_load_fence();
#endif
}

inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// Has a line brought here that this thread will write soon and another core has. A hint: where it is none nothing happens.
inline void prefetch_to_write(const void* line) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" ::"m"(*static_cast<const char*>(line)));  // __builtin_prefetch() fetches it to be read, by default
#else
  __builtin_prefetch(line, 1);
#endif
}

}  // namespace samovar::ipc
