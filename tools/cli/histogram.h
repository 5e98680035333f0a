// Samples: durations, all of them kept, so that quantiles are exact; and a picture of how they are spread.
// Threads: one at a time; threads that measure keep their own and append() joins them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace samovar::cli {

class Samples {
 public:
  void reserve(std::size_t count) { ns_.reserve(count); }
  void add(std::int64_t ns) {
    ns_.push_back(ns);
    sorted_ = false;
  }
  void append(const Samples& other);

  std::size_t count() const { return ns_.size(); }
  // The smallest sample that is not below a share `q` of all (0 < q <= 1). Zero without samples.
  std::int64_t quantile(double q) const;
  std::int64_t max() const { return quantile(1); }
  double mean() const;

  // Bars over steps of equal ratio, in microseconds; what lies above the 99.9th percentile is one line.
  void print_bars(std::FILE* out, int indent) const;

 private:
  void sort() const;

  mutable std::vector<std::int64_t> ns_;
  mutable bool sorted_ = true;
};

}  // namespace samovar::cli
