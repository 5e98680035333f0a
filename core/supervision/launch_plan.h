// LaunchPlan: how worker processes and nurseries are started: which interpreter, which environment. Made once per pool, from its options.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar::core {

struct LaunchPlan {
  std::string python;
  std::vector<std::pair<std::string, std::string>> environment;

  // To run the Python module `module`, which finds its socket at kInheritedSocket.
  std::vector<std::string> argv(const std::string& module) const { return {python, "-m", module, "3"}; }
};

// Fails: python_not_found, with the places that were looked at.
Result<LaunchPlan> plan_launch(const Options& options);

}  // namespace samovar::core
