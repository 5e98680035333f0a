// What the demo measures: calls of one method with one image each, from one thread or from several.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include <samovar/samovar.h>

#include "tools/cli/digits_client.h"
#include "tools/cli/histogram.h"

namespace samovar::cli {

// Per call; `overhead` is whole minus service of the same call, so its quantiles are its own and do not add up with the others'.
struct Latency {
  Samples whole;     // before call() to after it, clock of the caller
  Samples service;   // inside the Python function, clock of the worker: the same CLOCK_MONOTONIC
  Samples overhead;

  void add(std::int64_t whole_ns, std::int64_t service_ns);
  void append(const Latency& other);
};

struct Measurement {
  Latency latency;
  std::vector<int> answers;  // of call i; -1 where the method returned no int, or the call was not made
  std::int64_t elapsed_ns = 0;

  double calls_per_second() const;
};

struct Load {
  std::string_view method;
  std::size_t calls = 0;
  unsigned threads = 1;
  Duration time_max = Duration::max();  // no call begins later than this
  CallOptions options;
  // Told now and then, from any of the threads, how many calls are done. May be empty.
  std::function<void(std::size_t done)> progress;
};

// Call i gets image i % images.size(). Blocks. Fails: with the first error that any call got; the other calls go on to their end.
Result<Measurement> measure(Pool& pool, std::span<const Image> images, const Load& load);

}  // namespace samovar::cli
