// samovar doctor, the proof: a pool of one worker is started and called.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include <samovar/samovar.h>

#include "tools/cli/doctor.h"
#include "tools/cli/temporary_directory.h"
#include "tools/cli/text.h"

namespace samovar::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kWarmUpCalls = 200;
constexpr std::size_t kCalls = 2000;

double ns_since(Clock::time_point begin) {
  return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count());
}

Finding failed(const Error& error) {
  return {Verdict::fail, "pool", "call", error.to_string(), "this is what Pool::start() and call() say here"};
}

}  // namespace

void examine_pool(Findings& findings, const Options& options) {
  const auto folder = TemporaryDirectory::make("samovar-doctor-");
  if (!folder) {
    findings.push_back({Verdict::warn, "pool", "call", folder.error().message, "no pool was tried"});
    return;
  }
  const std::string module = (folder->path() / "samovar_doctor_methods.py").string();
  std::ofstream(module) << "import samovar\n\n\n@samovar.method\ndef echo(data):\n    return data\n";

  Options one = options;
  one.module = module;
  one.workers = 1;
  one.log = [](LogLevel, std::string_view) {};
  const auto begin = Clock::now();
  Result<Pool> pool = Pool::start(std::move(one));
  if (!pool) return findings.push_back(failed(pool.error()));
  const double started_ns = ns_since(begin);

  const std::string payload(64, 'x');
  std::vector<double> times_ns;
  for (std::size_t call = 0; call < kWarmUpCalls + kCalls; ++call) {
    const auto called = Clock::now();
    const Result<Reply> reply = pool->call("echo", bytes(payload.data(), payload.size()));
    if (!reply) return findings.push_back(failed(reply.error()));
    if (call >= kWarmUpCalls) times_ns.push_back(ns_since(called));
  }
  std::nth_element(times_ns.begin(), times_ns.begin() + kCalls / 2, times_ns.end());
  findings.push_back({Verdict::ok, "pool", "call", "one worker was ready in " + human_time(started_ns) + "; half of the calls took less than " +
                                                       human_time(times_ns[kCalls / 2]), {}});
}

}  // namespace samovar::cli
