// Question: what does a round trip between two processes cost at least?
// Two pinned processes, one own cache line each way, no pause instruction: a cache line there, a cache line back.
#pragma once

#include <memory>

#include "bench/whole/contestant.h"

namespace samovar::bench {

Made<std::unique_ptr<Contestant>> make_floor(const Placement& placement, std::int64_t timestamp_ns);

}  // namespace samovar::bench
