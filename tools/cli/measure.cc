#include "tools/cli/measure.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

namespace samovar::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kProgressEvery = 64;

std::int64_t ns_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(to - from).count();
}

}  // namespace

void Latency::add(std::int64_t whole_ns, std::int64_t service_ns) {
  whole.add(whole_ns);
  service.add(service_ns);
  overhead.add(whole_ns - service_ns);
}

void Latency::append(const Latency& other) {
  whole.append(other.whole);
  service.append(other.service);
  overhead.append(other.overhead);
}

double Measurement::calls_per_second() const {
  return elapsed_ns > 0 ? static_cast<double>(latency.whole.count()) * 1e9 / static_cast<double>(elapsed_ns) : 0;
}

Result<Measurement> measure(Pool& pool, std::span<const Image> images, const Load& load) {
  Measurement all;
  all.answers.assign(load.calls, -1);
  std::atomic<std::size_t> next{0};
  std::vector<Latency> latencies(load.threads);
  std::vector<std::optional<Error>> errors(load.threads);

  const auto start = Clock::now();
  CallOptions options = load.options;
  options.timed = true;
  const auto work = [&](unsigned thread) {
    Latency& latency = latencies[thread];
    for (Samples* samples : {&latency.whole, &latency.service, &latency.overhead}) samples->reserve(load.calls);
    while (true) {
      const std::size_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= load.calls || Clock::now() - start > load.time_max) return;
      const Payload image = bytes(images[i % images.size()]);
      const auto begin = Clock::now();
      const auto reply = pool.call(load.method, image, options);
      const auto end = Clock::now();
      if (!reply) {
        if (!errors[thread]) errors[thread] = reply.error();
        continue;
      }
      latency.add(ns_between(begin, end), reply->service_time().count());
      if (const auto value = reply->value()) all.answers[i] = static_cast<int>(value->as_int().value_or(-1));
      if (load.progress && i % kProgressEvery == 0) load.progress(i);
    }
  };

  if (load.threads == 1) {
    work(0);
  } else {
    std::vector<std::thread> threads;
    for (unsigned thread = 0; thread < load.threads; ++thread) threads.emplace_back(work, thread);
    for (std::thread& thread : threads) thread.join();
  }
  all.elapsed_ns = ns_between(start, Clock::now());

  for (std::optional<Error>& error : errors) {
    if (error) return tl::unexpected(*std::move(error));
  }
  for (const Latency& latency : latencies) all.latency.append(latency);
  return all;
}

}  // namespace samovar::cli
