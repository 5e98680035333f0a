// Report: the figures as one JSON object (for machines) or as tables with the bars beside (for people).
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/whole/figures.h"

namespace samovar::bench {

// A figure with a bar to reach and an aim beyond it.
struct Verdict {
  std::string key;
  std::string title;
  double value = 0;      // of the lowest round medians (best rounds); NaN: not measured
  double by_rounds = 0;  // median over rounds; NaN: there are no pairs of rounds
  double bar = 0;        // NaN: none
  double aim = 0;        // NaN: none
  enum class Better { lower, higher } better = Better::lower;

  bool reaches(double limit) const { return better == Better::lower ? value <= limit : value >= limit; }
};

std::vector<Verdict> judge(const Figures& figures);

nlohmann::ordered_json to_json(const Figures& figures);
std::string to_table(const Figures& figures);

}  // namespace samovar::bench
