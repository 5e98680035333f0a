#include <algorithm>
#include <cstdio>
#include <string>

#include "tools/cli/demo.h"
#include "tools/cli/pinning.h"

namespace samovar::cli {
namespace {

using namespace std::chrono_literals;

constexpr Duration kMethodTimeMax = 6s;   // a busy machine gets fewer calls, not a longer demo
constexpr Duration kThreadsTimeMax = 3s;

void print_samples(const char* label, const Samples& samples) {
  const auto us = [&](double q) { return static_cast<double>(samples.quantile(q)) / 1e3; };
  std::printf("    %-24s %9.2f %9.2f %9.2f %9.2f\n", label, us(0.5), us(0.99), us(0.999), us(1));
}

struct Method {
  std::string_view name;
  const char* says;
  const char* service_label;
};
constexpr Method kMethods[] = {
    {"classify", "classify: model.predict() of scikit-learn", "model"},
    {"classify_numpy", "classify_numpy: the same model and answers, in NumPy without scikit-learn's checks", "model"},
    {"nothing", "nothing: takes the image and returns", "method"},
};

}  // namespace

Result<Places> find_places(Pool& pool) {
  const auto reply = pool.call("pid");
  if (!reply) return tl::unexpected(reply.error());
  const std::vector<int>& cpus = pool.options().worker_cpus;
  if (cpus.size() < 2) return Places{};
  const auto used = static_cast<std::size_t>(reply->worker()) % cpus.size();
  // The last of them has no worker where there are enough; else another worker's, which sleeps meanwhile.
  const std::size_t own = cpus.size() > pool.options().workers ? cpus.size() - 1 : (used + 1) % cpus.size();
  return Places{.caller_cpu = cpus[own], .callee_cpu = cpus[used]};
}

Result<Latency> measure_one_caller(const Demo& demo, const Places& places) {
  const PinnedThread pinned(places.caller_cpu);
  demo.progress.clear();
  std::printf("One caller, one image after the other: up to %s calls of each method in %.0f s; microseconds\n",
              grouped(demo.amounts.calls).c_str(), std::chrono::duration<double>(kMethodTimeMax).count());
  std::printf("  %-26s %9s %9s %9s %9s\n", "", "p50", "p99", "p99.9", "max");
  Latency of_classify;
  for (const Method& method : kMethods) {
    demo.progress.step("calling " + std::string(method.name));
    auto measured = measure(demo.pool, demo.digits.unseen(),
                            {.method = method.name,
                             .calls = demo.amounts.calls,
                             .time_max = kMethodTimeMax,
                             .progress = [&](std::size_t done) {
                               if (done % 1024 == 0) demo.progress.update(done, demo.amounts.calls);
                             }});
    demo.progress.clear();
    if (!measured) return tl::unexpected(std::move(measured).error());
    std::printf("  %s\n", method.says);
    print_samples("whole call", measured->latency.whole);
    print_samples(method.service_label, measured->latency.service);
    print_samples("overhead", measured->latency.overhead);
    if (method.name == "classify") of_classify = std::move(measured->latency);
  }
  std::printf("  overhead = whole call - time in the Python function, call by call: queue, both ways, waking, decoding\n\n");
  std::printf("Overhead of classify, %s calls\n", grouped(of_classify.overhead.count()).c_str());
  of_classify.overhead.print_bars(stdout, 2);
  std::printf("Whole call of classify\n");
  of_classify.whole.print_bars(stdout, 2);
  std::printf("\n");
  return of_classify;
}

Result<void> measure_threads(const Demo& demo) {
  const unsigned workers = demo.pool.options().workers;
  std::printf("Several threads call classify on %u workers\n", workers);
  std::printf("  %7s %12s %12s %12s %14s\n", "threads", "calls/s", "p50", "p99", "workers busy");
  for (const unsigned threads : {1U, 2U, 4U, 8U}) {
    demo.progress.step("calling from " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"));
    const auto measured = measure(demo.pool, demo.digits.unseen(),
                                  {.method = "classify",
                                   .calls = demo.amounts.threads_calls,
                                   .threads = threads,
                                   .time_max = kThreadsTimeMax});
    demo.progress.clear();
    if (!measured) return tl::unexpected(measured.error());
    const Latency& latency = measured->latency;
    const double busy = measured->calls_per_second() * latency.service.mean() / 1e9 / workers;
    std::printf("  %7u %12s %12s %12s %12.0f %%\n", threads,
                grouped(static_cast<std::uint64_t>(measured->calls_per_second())).c_str(),
                human_time(static_cast<double>(latency.whole.quantile(0.5))).c_str(),
                human_time(static_cast<double>(latency.whole.quantile(0.99))).c_str(), 100 * busy);
  }
  std::printf("\n");
  return {};
}

}  // namespace samovar::cli
