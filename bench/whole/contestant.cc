#include "bench/whole/contestant.h"

#include "ipc/clock.h"

namespace samovar::bench {

void interleave(std::span<Entry> entries, const Rounds& rounds) {
  std::vector<std::int64_t> samples;
  const std::int64_t end_ns = ipc::now_ns() + rounds.budget.count();
  for (Entry& entry : entries) {
    entry.series = {};
    entry.contestant->park();
  }
  for (std::size_t round = 0; round <= rounds.rounds_min || ipc::now_ns() < end_ns; ++round) {
    for (Entry& entry : entries) {
      if (!entry.error.empty()) continue;
      samples.assign(entry.trips, 0);
      if (const Outcome outcome = entry.contestant->round(samples); !outcome) entry.error = outcome.error();
      entry.contestant->park();
      if (entry.error.empty() && round != 0) entry.series.add_round(samples, entry.tick_ns);
    }
  }
}

}  // namespace samovar::bench
