// Run: the sections of `samovar bench`, in the order in which they disturb each other least.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bench/whole/figures.h"

namespace samovar::bench {

// Names for --only, and without it.
inline const std::vector<std::string> kSections{"floor", "bare", "call", "interfaces", "large", "throughput", "wake", "peers", "churn", "payload", "recovery",
                                               "start", "idle"};

enum class Length { full, quick };  // quick: within 40 s

struct RunSettings {
  Length length = Length::full;
  std::string python;                              // empty: see choose_python()
  std::set<std::string> only;                      // empty: all
  std::function<void(std::string_view)> progress;  // one line, now and then
};

// Fails: nothing at all can be measured. What single sections lack is in Figures::failures. Blocks for minutes.
Made<Figures> run(const RunSettings& settings);

}  // namespace samovar::bench
