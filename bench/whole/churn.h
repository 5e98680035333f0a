// Question: do memory and speed stay as they are when payloads of all sizes come and go, with half of the arena in use?
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "bench/whole/samples.h"
#include "bench/whole/pinning.h"
#include "samovar/pool.h"

namespace samovar::bench {

struct Churn {
  double per_s = 0;                  // loan, call, drop
  std::uint64_t calls = 0;
  std::uint64_t refused = 0;         // loans that found no room, at half fill
  double fill = 0;                   // of the arena, in use on average
  std::uint64_t resident_quarter = 0;  // bytes of memory that the arena held after a quarter of the time
  std::uint64_t resident_end = 0;
  std::chrono::seconds window{0};
};

// Four threads lend, call and drop payloads of 4 KiB to 16 MiB, log-uniform, and hold replies to an eighth of the arena each.
Made<Churn> measure_churn(Pool& pool, std::chrono::seconds window);

}  // namespace samovar::bench
