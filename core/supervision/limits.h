// Limits: what one worker may use of the machine, set on its process from outside before it is told what to run.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <string_view>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>

namespace samovar::core {

struct Limit {
  std::string_view option;
  int resource;  // RLIMIT_DATA and so on
  rlimit value;
};

// Those that the options set; what they leave at 0 stays as the host's. Pure.
std::vector<Limit> limits_of(const Options& options);

// Sets them and worker_nice on the child `pid`. Requires: it has no thread but its first, and runs no code of the user yet.
// Fails: invalid_option, naming the option and what the system allows.
Result<void> limit_worker(pid_t pid, const Options& options);

// Likewise on a nursery: the memory alone, since it loads what workers would. The rest is set on each worker that it forks.
Result<void> limit_nursery(pid_t pid, const Options& options);

}  // namespace samovar::core
