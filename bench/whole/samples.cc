#include "bench/whole/samples.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "ipc/clock.h"

namespace samovar::bench {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double quantile_of_sorted(std::span<const std::int64_t> sorted, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1]);
}

double median_of_spread(std::span<const std::int64_t> samples, std::int64_t tick_ns) {
  constexpr double kGoldenRatio = 0.6180339887498949;  // its multiples fill [0, 1) evenly, however many are taken
  std::vector<double> spread;
  spread.reserve(samples.size());
  double place = 0;
  for (const std::int64_t sample : samples) {
    place += kGoldenRatio;
    place -= std::floor(place);
    spread.push_back(static_cast<double>(sample) + (place - 0.5) * static_cast<double>(tick_ns));
  }
  return bench::median(std::move(spread));
}

template <typename Field>
std::vector<double> each(const std::vector<RoundSummary>& rounds, Field field) {
  std::vector<double> values;
  values.reserve(rounds.size());
  for (const RoundSummary& round : rounds) values.push_back(field(round));
  return values;
}

template <typename Combine>
double median_of_pairs(const Series& a, const Series& b, Combine combine) {
  std::vector<double> values;
  for (std::size_t i = 0; i < std::min(a.rounds().size(), b.rounds().size()); ++i) {
    values.push_back(combine(a.rounds()[i].p50, b.rounds()[i].p50));
  }
  return median(std::move(values));
}

}  // namespace

RoundSummary summarize(std::span<std::int64_t> samples_ns, std::int64_t tick_ns) {
  std::sort(samples_ns.begin(), samples_ns.end());
  return {.p50 = tick_ns > 1 ? median_of_spread(samples_ns, tick_ns) : quantile_of_sorted(samples_ns, 0.5),
          .p99 = quantile_of_sorted(samples_ns, 0.99),
          .p999 = quantile_of_sorted(samples_ns, 0.999),
          .max = static_cast<double>(samples_ns.back())};
}

double median(std::vector<double> values) {
  if (values.empty()) return kNothing;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void Histogram::add(std::int64_t ns) {
  // Values below 2^kSubBits have a bucket each; above, each power of two has 2^kSubBits of them.
  const std::uint64_t value = ns > 0 ? static_cast<std::uint64_t>(ns) : 0;
  const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kSubBits - 1);
  ++buckets_[(static_cast<std::size_t>(shift) << kSubBits) + static_cast<std::size_t>(value >> shift)];
  ++count_;
}

double Histogram::quantile(double q) const {
  if (count_ == 0) return kNothing;
  const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen < rank) continue;
    // Bucket i holds values v with (shift << kSubBits) + (v >> shift) == i; v >> shift is below 2^kSubBits only for shift 0.
    const std::uint64_t shift = i < (std::size_t{2} << kSubBits) ? 0 : (i >> kSubBits) - 1;
    const std::uint64_t leading = i - (shift << kSubBits);
    return static_cast<double>(((leading + 1) << shift) - 1);
  }
  return kNothing;
}

void Series::add_round(std::span<std::int64_t> samples_ns, std::int64_t tick_ns) {
  for (std::int64_t ns : samples_ns) pooled_.add(ns);
  rounds_.push_back(summarize(samples_ns, tick_ns));
}

double Series::p50() const {
  double lowest = kNothing;
  for (const RoundSummary& round : rounds_) lowest = std::isnan(lowest) ? round.p50 : std::min(lowest, round.p50);
  return lowest;
}

double Series::max() const {
  double highest = kNothing;
  for (const RoundSummary& round : rounds_) highest = std::isnan(highest) ? round.max : std::max(highest, round.max);
  return highest;
}

double Series::p99() const {
  return rounds_have_tails() ? median(each(rounds_, [](const RoundSummary& r) { return r.p99; })) : pooled_.quantile(0.99);
}

double Series::p999() const {
  return rounds_have_tails() ? median(each(rounds_, [](const RoundSummary& r) { return r.p999; })) : pooled_.quantile(0.999);
}

double Series::tail() const {
  return median(each(rounds_, [](const RoundSummary& r) { return r.p999 / r.p50; }));
}
double Series::typical() const {
  return median(each(rounds_, [](const RoundSummary& r) { return r.p50; }));
}

double median_ratio(const Series& a, const Series& b) {
  return median_of_pairs(a, b, [](double x, double y) { return x / y; });
}

double median_difference(const Series& a, const Series& b) {
  return median_of_pairs(a, b, [](double x, double y) { return x - y; });
}

std::int64_t timestamp_cost_ns() {
  constexpr int kReadings = 20'000;
  std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
  for (int attempt = 0; attempt < 20; ++attempt) {
    const std::int64_t begin = ipc::now_ns();
    std::int64_t last = begin;
    for (int i = 0; i < kReadings; ++i) last = ipc::now_ns();
    lowest = std::min(lowest, (last - begin) / kReadings);
  }
  return lowest;
}

std::int64_t timestamp_tick_ns() {
  // Readings in a loop lie two or three ticks apart, give or take a rounding; mostly it is one tick that they differ by.
  std::array<int, 64> seen{};
  std::int64_t last = ipc::now_ns();
  std::int64_t last_distance = 0;
  for (int i = 0; i < 50'000; ++i) {
    const std::int64_t now = ipc::now_ns();
    const auto difference = static_cast<std::size_t>(std::abs(now - last - last_distance));
    last_distance = now - last;
    last = now;
    if (difference != 0 && difference < seen.size()) ++seen[difference];
  }
  return std::max_element(seen.begin(), seen.end()) - seen.begin();
}

}  // namespace samovar::bench
