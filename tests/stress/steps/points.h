// Points: at which instructions of a script the tests stop. All of the extension's in a soak, a sample spread over them
// otherwise; and some of those in between, in the interpreter and in libraries, which touch nothing that is shared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "tests/stress/steps/stage.h"
#include "tests/stress/stress.h"

namespace samovar::test {

inline std::vector<Point> choose_points(const Course& course) {
  constexpr std::size_t kSample = 12, kBetween = 4;
  std::vector<Point> points;
  // `count` of `all`, from the middle of as many equal parts.
  const auto spread = [](std::size_t count, std::size_t all, auto&& choose) {
    count = std::min(count, all);
    for (std::size_t i = 0; i < count; ++i) choose((2 * i + 1) * all / (2 * count));
  };
  const std::size_t telling = course.telling.size();
  spread(for_soak(kSample, telling), telling, [&](std::size_t i) { points.push_back(course.telling[i]); });
  spread(for_soak(kBetween, std::size_t{200}), course.steps, [&](std::size_t i) {
    points.push_back({.number = i + 1, .in_extension = false, .steps = i + 1});
  });
  return points;
}

}  // namespace samovar::test
