// Samples: what rounds of round trips say. A round is sorted and summed up; the rounds of one contestant are a Series.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace samovar::bench {

struct RoundSummary {
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

// The clock of some processors moves in steps of `tick_ns` (seen: 10 ns, AMD EPYC), so that trips of 100 ns fall on a grid
// and their plain median jumps from one line to the next. The p50 is that of the samples spread evenly over their tick, which
// is how a median of grouped data is taken; 0 or 1 changes nothing. The other percentiles are plain.
// Requires: samples not empty. Sorts them.
RoundSummary summarize(std::span<std::int64_t> samples_ns, std::int64_t tick_ns = 0);

double median(std::vector<double> values);  // NaN of nothing

// Every sample of every round by itself, with a relative error of at most 1/64.
class Histogram {
 public:
  void add(std::int64_t ns);
  double quantile(double q) const;  // upper edge of its bucket, ns; NaN of nothing
  std::uint64_t count() const { return count_; }

 private:
  static constexpr int kSubBits = 6;
  static constexpr std::size_t kBuckets = std::size_t{64 - kSubBits + 1} << kSubBits;

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
};

// Nanoseconds throughout.
class Series {
 public:
  void add_round(std::span<std::int64_t> samples_ns, std::int64_t tick_ns = 0);  // sorts them

  double p50() const;      // lowest of the rounds' medians: the machine when nobody else used it
  double typical() const;  // median of the rounds' medians
  double p99() const;      // median of the rounds' p99; of all samples where rounds are too short to have one
  double p999() const;     // likewise
  double max() const;      // of all samples
  double tail() const;     // median of the rounds' p99.9 / p50

  bool measured() const { return !rounds_.empty(); }
  const std::vector<RoundSummary>& rounds() const { return rounds_; }
  const Histogram& pooled() const { return pooled_; }

 private:
  bool rounds_have_tails() const { return pooled_.count() >= kTailSamples * rounds_.size(); }

  static constexpr std::size_t kTailSamples = 1000;  // of a round that has a p99.9

  std::vector<RoundSummary> rounds_;
  Histogram pooled_;
};

// Median over rounds of a's p50 / b's p50. Requires: round i of both ran one after the other.
double median_ratio(const Series& a, const Series& b);
double median_difference(const Series& a, const Series& b);

// Cost of one reading of the clock in a loop, subtracted from every sample that has one inside.
std::int64_t timestamp_cost_ns();

// The steps in which the clock moves.
std::int64_t timestamp_tick_ns();

}  // namespace samovar::bench
