// LaunchPlan: how a worker process is started: which interpreter, which environment. Made once per pool, from its options.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar::core {

struct LaunchPlan {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> environment;
};

// Fails: python_not_found, with the places that were looked at.
Result<LaunchPlan> plan_launch(const Options& options);

}  // namespace samovar::core
