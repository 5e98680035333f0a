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

// Whether workers will compute with one thread each: what `options.worker_threads` and the environment come to.
bool compute_with_one_thread(const Options& options);

// Fails: python_not_found, with the places that were looked at.
Result<LaunchPlan> plan_launch(const Options& options);

}  // namespace samovar::core
