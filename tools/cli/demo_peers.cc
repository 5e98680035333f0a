#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include "tools/cli/demo.h"
#include "tools/cli/failure.h"
#include "tools/cli/peers.h"
#include "tools/cli/pinning.h"
#include "tools/cli/temporary_directory.h"

namespace samovar::cli {
namespace {

using Clock = std::chrono::steady_clock;

// `calls` images through `classify`. Fails: as it does, or where an answer differs from the pool's.
template <typename Classify>
Result<Latency> measure_peer(const Demo& demo, const std::vector<int>& expected, std::size_t calls, Classify classify) {
  Latency latency;
  for (std::size_t i = 0; i < calls; ++i) {
    const std::size_t at = i % expected.size();
    const auto begin = Clock::now();
    const Result<PeerAnswer> answer = classify(demo.digits.unseen()[at]);
    const auto end = Clock::now();
    if (!answer) return tl::unexpected(answer.error());
    if (answer->digit != expected[at]) return tl::unexpected(system_error("a peer gave another answer than the worker", 0));
    latency.add(std::chrono::nanoseconds(end - begin).count(), answer->service_ns);
    if (calls < 16 || i % 256 == 0) demo.progress.update(i, calls);
  }
  return latency;
}

void print_peer(const char* name, const Latency& latency, double own_overhead_ns) {
  const auto whole_ns = static_cast<double>(latency.whole.quantile(0.5));
  const auto overhead_ns = static_cast<double>(latency.overhead.quantile(0.5));
  std::printf("  %-34s %10s %10s %12s\n", name, human_time(whole_ns).c_str(), human_time(overhead_ns).c_str(),
              (human_ratio(overhead_ns / own_overhead_ns) + "x").c_str());
}

struct JsonlLatency {
  Latency latency;
  const char* where;
};

// Where it does best: pipes may prefer one CPU for both ends, on which nobody can spin.
Result<JsonlLatency> measure_jsonl(const Demo& demo, const Places& places, const std::vector<int>& expected, JsonlPeer& peer) {
  const auto classify = [&](const Image& image) { return peer.classify(image); };
  const std::size_t warm_up = std::min<std::size_t>(100, demo.amounts.jsonl_calls);
  struct Trial {
    Places places;
    const char* where;
  };
  // Unpinned first: it cannot be had back.
  const Trial trials[] = {{Places{}, "unpinned"},
                          {places, "pinned to two CPUs"},
                          {{.caller_cpu = places.callee_cpu, .callee_cpu = places.callee_cpu}, "pinned to one CPU"}};
  std::optional<JsonlLatency> best;
  for (const Trial& trial : trials) {
    pin(peer.pid(), trial.places.callee_cpu);
    const PinnedThread pinned(trial.places.caller_cpu);
    if (const auto warm = measure_peer(demo, expected, warm_up, classify); !warm) return tl::unexpected(warm.error());
    auto measured = measure_peer(demo, expected, demo.amounts.jsonl_calls, classify);
    if (!measured) return tl::unexpected(std::move(measured).error());
    if (!best || measured->overhead.quantile(0.5) < best->latency.overhead.quantile(0.5)) best = {*std::move(measured), trial.where};
  }
  return *std::move(best);
}

}  // namespace

Result<void> compare_with_peers(const Demo& demo, const Places& places, const std::vector<int>& expected, const Latency& own) {
  const auto directory = TemporaryDirectory::make("samovar-demo-");
  if (!directory) return tl::unexpected(directory.error());
  const PeerSetup setup{
      .python = demo.digits.python, .scripts = demo.scripts, .model = directory->path() / "model.joblib"};
  const auto saved = demo.pool.call("save", arguments({setup.model.string()}));
  if (!saved) return tl::unexpected(saved.error());

  demo.progress.step("JSON lines over stdin and stdout");
  auto jsonl = JsonlPeer::start(setup);
  if (!jsonl) return tl::unexpected(std::move(jsonl).error());
  const auto by_jsonl = measure_jsonl(demo, places, expected, *jsonl);
  if (!by_jsonl) return tl::unexpected(by_jsonl.error());

  demo.progress.step("a Python process for each call");
  const auto by_process = measure_peer(demo, expected, demo.amounts.process_calls,
                                       [&](const Image& image) { return classify_in_new_process(setup, image); });
  if (!by_process) return tl::unexpected(by_process.error());

  demo.progress.clear();
  const auto own_ns = static_cast<double>(std::max<std::int64_t>(own.overhead.quantile(0.5), 1));
  std::printf("The same model called in other ways, p50; JSON %s, the best of three ways to place it\n", by_jsonl->where);
  std::printf("  %-34s %10s %10s %12s\n", "", "whole call", "overhead", "to Samovar");
  print_peer("Samovar", own, own_ns);
  print_peer("JSON lines over stdin/stdout", by_jsonl->latency, own_ns);
  print_peer("a Python process per call", *by_process, own_ns);
  const auto ratio = [&](const Latency& peer) {
    return human_ratio(static_cast<double>(peer.overhead.quantile(0.5)) / own_ns);
  };
  std::printf("  JSON over stdin/stdout costs %s times the overhead, a process per call %s times.\n\n", ratio(by_jsonl->latency).c_str(),
              ratio(*by_process).c_str());
  return {};
}

}  // namespace samovar::cli
