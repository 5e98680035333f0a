// The variables by which libraries that compute in a worker learn how many threads to start. They are read when such a library is loaded.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samovar/options.h>

namespace samovar::core {

// What a worker's environment needs over the host's own: Options::worker_threads, where the host's says nothing.
std::vector<std::pair<std::string, std::string>> thread_counts(const Options& options);

// Whether workers will compute with one thread each: what the option and the environment come to.
bool compute_with_one_thread(const Options& options);

}  // namespace samovar::core
