// wait_until: how tests wait. For a condition, with a bound; never for a time.
#pragma once

#include <chrono>
#include <thread>

namespace samovar::test {

inline constexpr std::chrono::seconds kPatience{20};  // for what takes milliseconds on a machine that is not busy

// Whether `condition` became true within `bound`. Blocks.
template <typename Condition>
[[nodiscard]] bool wait_until(Condition&& condition, std::chrono::milliseconds bound = kPatience) {
  const auto until = std::chrono::steady_clock::now() + bound;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until) return condition();
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return true;
}

}  // namespace samovar::test
