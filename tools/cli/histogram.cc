#include "tools/cli/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace samovar::cli {
namespace {

constexpr int kRowsMax = 12;
constexpr std::size_t kBarWidth = 48;

}  // namespace

void Samples::sort() const {
  if (!sorted_) std::sort(ns_.begin(), ns_.end());
  sorted_ = true;
}

void Samples::append(const Samples& other) {
  ns_.insert(ns_.end(), other.ns_.begin(), other.ns_.end());
  sorted_ = false;
}

std::int64_t Samples::quantile(double q) const {
  if (ns_.empty()) return 0;
  sort();
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(ns_.size())));
  return ns_[std::clamp<std::size_t>(rank, 1, ns_.size()) - 1];
}

double Samples::mean() const {
  if (ns_.empty()) return 0;
  return std::accumulate(ns_.begin(), ns_.end(), 0.0) / static_cast<double>(ns_.size());
}

void Samples::print_bars(std::FILE* out, int indent) const {
  if (ns_.empty()) return;
  sort();
  const std::int64_t last_ns = std::max<std::int64_t>(quantile(0.999), 1);
  const double low = std::log2(static_cast<double>(std::max<std::int64_t>(ns_.front(), 1)));
  const double high = std::log2(static_cast<double>(last_ns));

  // The finest of 16, 8, 4, 2, 1, 1/2 ... steps to an octave that needs few enough rows.
  double steps = 16;
  while (std::floor(high * steps) - std::floor(low * steps) + 1 > kRowsMax) steps /= 2;
  const auto row_of = [&](std::int64_t ns) {
    return static_cast<std::size_t>(std::floor(std::log2(static_cast<double>(std::max<std::int64_t>(ns, 1))) * steps) -
                                    std::floor(low * steps));
  };
  std::vector<std::size_t> rows(row_of(last_ns) + 1);
  std::size_t above = 0;
  for (const std::int64_t ns : ns_) ns <= last_ns ? ++rows[row_of(ns)] : ++above;

  const std::size_t most = *std::max_element(rows.begin(), rows.end());
  const auto percent = [&](std::size_t count) { return 100.0 * static_cast<double>(count) / static_cast<double>(ns_.size()); };
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const double from_us = std::exp2((std::floor(low * steps) + static_cast<double>(row)) / steps) / 1e3;
    const double to_us = std::exp2((std::floor(low * steps) + static_cast<double>(row) + 1) / steps) / 1e3;
    const std::string bar((rows[row] * kBarWidth + most - 1) / most, '#');
    std::fprintf(out, "%*s%8.2f to %8.2f us %5.1f %%  %s\n", indent, "", from_us, to_us, percent(rows[row]), bar.c_str());
  }
  if (above > 0) {
    std::fprintf(out, "%*s   above %8.2f us %5.1f %%  up to %.2f us\n", indent, "", static_cast<double>(last_ns) / 1e3,
                 percent(above), static_cast<double>(max()) / 1e3);
  }
}

}  // namespace samovar::cli
