#include "bench/whole/contestant.h"

#include <algorithm>

#include "ipc/clock.h"

namespace samovar::bench {
namespace {

constexpr std::size_t kTripsMin = 20;

void shorten(std::span<Entry> entries, std::int64_t tenth_of_round_ns, const Rounds& rounds) {
  const auto wanted_ns = static_cast<double>(10 * tenth_of_round_ns) * static_cast<double>(rounds.rounds_min + 1);
  const double part = static_cast<double>(rounds.budget.count()) / wanted_ns;
  if (part >= 1) return;
  for (Entry& entry : entries) {
    const auto fewer = static_cast<std::size_t>(part * static_cast<double>(entry.trips));
    entry.trips = std::min(entry.trips, std::max(fewer, kTripsMin));
  }
}

}  // namespace

Outcome TimedTrips::round(std::span<std::int64_t> samples_ns) {
  for (std::size_t i = 0; i < warm_up_trips(samples_ns.size()); ++i) {
    if (Outcome done = trip(); !done) return done;
  }
  std::int64_t begin_ns = ipc::now_ns();
  for (std::int64_t& sample : samples_ns) {
    if (Outcome done = trip(); !done) return done;
    const std::int64_t end_ns = ipc::now_ns();
    sample = end_ns - begin_ns - timestamp_ns_;
    begin_ns = end_ns;
  }
  return {};
}

void interleave(std::span<Entry> entries, const Rounds& rounds) {
  std::vector<std::int64_t> samples;
  const std::int64_t begin_ns = ipc::now_ns();
  const std::int64_t end_ns = begin_ns + rounds.budget.count();
  for (Entry& entry : entries) {
    entry.series = {};
    entry.contestant->park();
  }
  for (std::size_t round = 0; round <= rounds.rounds_min || ipc::now_ns() < end_ns; ++round) {
    for (Entry& entry : entries) {
      if (!entry.error.empty()) continue;
      // The first round is a short one: it warms up, and its price is that of the rounds to come.
      samples.assign(round == 0 ? warm_up_trips(entry.trips) : entry.trips, 0);
      if (const Outcome outcome = entry.contestant->round(samples); !outcome) entry.error = outcome.error();
      entry.contestant->park();
      if (entry.error.empty() && round != 0) entry.series.add_round(samples, entry.tick_ns);
    }
    if (round == 0) shorten(entries, ipc::now_ns() - begin_ns, rounds);
  }
}

}  // namespace samovar::bench
