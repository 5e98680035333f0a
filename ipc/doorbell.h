// Doorbell: how a side that sleeps is woken. Rings count upwards in a word of the ringing side's page; the sleeper waits on
// it with a shared futex, which works on a read-only mapping.
//
// SYNC POINT, publish <-> asleep. Ringer: publish, FENCE, read `asleep`, ring. Sleeper: read the doorbell, store `asleep`,
// FENCE, look, wait. Without either fence both may miss: the ringer reads `asleep` before the sleeper's store reaches it,
// the sleeper looks before the ringer's record does, and the sleeper sleeps beside a record for ever. The doorbell is read
// before the look, so a ring between the look and the wait makes the wait return. Model: tests/model/doorbell.pml.
#pragma once

#include <atomic>
#include <cstdint>

#include "ipc/clock.h"
#include "ipc/fence.h"

namespace samovar::ipc {

// Sleeps while *word == expected, until woken or `deadline_ns`. May return early. Blocks.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns);
bool futex_wake_one(const std::atomic<std::uint32_t>& word);  // whether it has woken somebody

// Requires: the caller has published and fenced. Adds, since several threads of the host may ring at once, and a ring that
// stored an older count could leave the word as the sleeper has seen it.
inline void ring(std::atomic<std::uint32_t>& doorbell) {
  doorbell.fetch_add(1, std::memory_order_release);
  futex_wake_one(doorbell);
}

// Sleeps until rung, unless `look()` finds something. May return early; the caller looks again. Blocks.
template <typename Look>
void park(const std::atomic<std::uint32_t>& doorbell, std::atomic<std::uint32_t>& asleep, std::int64_t deadline_ns, Look&& look) {
  const std::uint32_t seen = doorbell.load(std::memory_order_acquire);
  asleep.store(1, std::memory_order_relaxed);
  store_load_fence();  // FENCE: pairs with the ringer's between publish and its read of `asleep`.
  if (!look()) futex_wait(doorbell, seen, deadline_ns);
  asleep.store(0, std::memory_order_relaxed);
}

}  // namespace samovar::ipc
