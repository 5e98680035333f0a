// Contestant: something whose round trips are measured in short rounds, in turn with others'. On a shared machine the same
// code may take three times as long a minute later, so what is compared runs within the same few milliseconds.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/whole/pinning.h"
#include "bench/whole/samples.h"

namespace samovar::bench {

class Contestant {
 public:
  virtual ~Contestant() = default;

  // Makes one round trip for each sample, after some that warm up. Fails: a trip failed, or its answer was wrong. Blocks.
  virtual Outcome round(std::span<std::int64_t> samples_ns) = 0;

  // Waits, with a bound, until nothing of this runs any more: what is parked costs the others nothing. Blocks.
  virtual void park() {}
};

// One whose round is one trip after another, each timed as a whole; `timestamp_ns` is what reading the clock costs.
class TimedTrips : public Contestant {
 public:
  explicit TimedTrips(std::int64_t timestamp_ns) : timestamp_ns_(timestamp_ns) {}
  Outcome round(std::span<std::int64_t> samples_ns) final;

 private:
  virtual Outcome trip() = 0;  // and a look at its answer

  const std::int64_t timestamp_ns_;
};

struct Entry {
  std::string name;
  Contestant* contestant = nullptr;
  std::size_t trips = 0;     // a round; fewer on a busy machine
  std::int64_t tick_ns = 0;  // of the clock, where trips are so short that it matters; see summarize()
  Series series;
  std::string error;  // why it was left out, or empty
};

struct Rounds {
  std::chrono::nanoseconds budget{0};
  std::size_t rounds_min = 3;
};

// Runs rounds of all entries in turn until the budget is spent; the first round warms up and does not count. Where it shows that
// the budget would not hold `rounds_min` of them (somebody else uses the CPUs), rounds are made shorter. An entry that fails is
// left out from then on, and says why.
void interleave(std::span<Entry> entries, const Rounds& rounds);

// The warm-up of one round of n trips.
inline std::size_t warm_up_trips(std::size_t trips) { return trips / 10 + 1; }

}  // namespace samovar::bench
