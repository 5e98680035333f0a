#include "ipc/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace samovar::ipc {
namespace {

long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* until) {
  return syscall(SYS_futex, reinterpret_cast<const std::uint32_t*>(&word), operation, value, until, nullptr,
                 FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) {
  if (deadline_ns == kNever) {
    futex(word, FUTEX_WAIT_BITSET, expected, nullptr);
    return;
  }
  // FUTEX_WAIT_BITSET takes a point in CLOCK_MONOTONIC, FUTEX_WAIT a duration.
  const timespec until{deadline_ns / 1'000'000'000, deadline_ns % 1'000'000'000};
  futex(word, FUTEX_WAIT_BITSET, expected, &until);
}

bool futex_wake_one(const std::atomic<std::uint32_t>& word) { return futex(word, FUTEX_WAKE, 1, nullptr) > 0; }

}  // namespace samovar::ipc
