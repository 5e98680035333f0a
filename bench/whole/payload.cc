#include "bench/whole/payload.h"

#include <array>
#include <string>
#include <utility>

#include "bench/whole/call.h"
#include "bench/whole/environment.h"
#include "bench/whole/payload_flows.h"
#include "bench/whole/payload_tensors.h"

namespace samovar::bench {
namespace {

constexpr std::size_t kPayloadBytes = 64;
constexpr std::size_t kTripsPerRound = 5'000;
constexpr std::size_t kSumsPerRound = 20;
constexpr std::size_t kBatchesPerRound = 500;
constexpr std::size_t kItemBytes = 8;
constexpr std::size_t kChunksPerRound = 50'000;

class Measuring {
 public:
  explicit Measuring(const PayloadSettings& settings) : settings_(settings) {}

  PayloadFigures run() {
    keep("tensors", tensors());
    keep("sums", sums());
    keep("batches", batches());
    keep("streams", streams());
    keep("schemas", schemas());
    if (settings_.peers.count() > 0) figures_.peers = measure_payload_peers(peer_settings(), settings_.peers);
    for (const PayloadPeer& peer : figures_.peers) {
      if (!peer.failure.empty()) figures_.failures.push_back(peer.name + ": " + peer.failure);
    }
    return std::move(figures_);
  }

 private:
  PeerSettings peer_settings() const {
    return {.python = choose_python(settings_.python), .placement = settings_.placement, .pin = Pin::as_samovar};
  }

  void keep(const char* figure, const Outcome& outcome) {
    if (!outcome) figures_.failures.push_back(std::string(figure) + ": " + outcome.error());
  }
  void keep(Entry& figure, const Entry& measured) {
    figure = measured;
    figure.contestant = nullptr;
    if (!measured.error.empty()) figures_.failures.push_back(measured.name + ": " + measured.error);
  }

  // A pool, and the process of its only worker. Not while this thread is pinned: the pool's own threads would be, too.
  struct Started {
    Pool pool;
    pid_t worker;
  };
  Made<Started> start() const {
    auto pool = start_pool({.python = settings_.python,
                            .module = "payload_methods.py",
                            .worker_cpus = {settings_.placement.worker_cpu}});
    if (!pool) return tl::unexpected(pool.error());
    const auto worker = worker_pid(*pool);
    if (!worker) return tl::unexpected(worker.error());
    return Started{.pool = std::move(*pool), .worker = *worker};
  }

  Outcome tensors() {
    auto started = start();
    if (!started) return tl::unexpected(started.error());
    const PinnedHere pinned(settings_.placement.host_cpu);
    const auto call = make_call(started->pool, started->worker, kPayloadBytes, settings_.timestamp_ns);
    const auto tensor = make_tensor_call(started->pool, started->worker, settings_.timestamp_ns);
    std::array<Entry, 2> entries{Entry{"call, 64 B", call.get(), kTripsPerRound, settings_.tick_ns},
                                 Entry{"tensor of 8 MiB there, another back", tensor.get(), kTripsPerRound, settings_.tick_ns}};
    interleave(entries, {.budget = settings_.pairs});
    keep(figures_.call_64, entries[0]);
    keep(figures_.tensor_8mib, entries[1]);
    return {};
  }

  Outcome sums() {
    auto started = start();
    if (!started) return tl::unexpected(started.error());
    const PinnedHere pinned(settings_.placement.host_cpu);
    const auto here = make_python_peer(peer_settings(), "tensor_sum_here.py");
    if (!here) return tl::unexpected(here.error());
    const auto there = make_tensor_sum(started->pool, started->worker);
    std::array<Entry, 2> entries{Entry{"sum in one process", here->get(), kSumsPerRound}, Entry{"sum by a call", there.get(), kSumsPerRound}};
    interleave(entries, {.budget = settings_.pairs});
    keep(figures_.sum_in_process, entries[0]);
    keep(figures_.tensor_sum, entries[1]);
    return {};
  }

  Outcome batches() {
    auto started = start();
    if (!started) return tl::unexpected(started.error());
    const PinnedHere pinned(settings_.placement.host_cpu);
    const auto call = make_call(started->pool, started->worker, kItemBytes, settings_.timestamp_ns);
    const auto batch = make_batch_call(started->pool, started->worker, kBatchCalls, kItemBytes, settings_.timestamp_ns);
    std::array<Entry, 2> entries{Entry{"call, 8 B", call.get(), kTripsPerRound, settings_.tick_ns},
                                 Entry{"batch of 32", batch.get(), kBatchesPerRound, settings_.tick_ns}};
    interleave(entries, {.budget = settings_.pairs});
    keep(figures_.call_8, entries[0]);
    keep(figures_.batch_32, entries[1]);
    return {};
  }

  Outcome streams() {
    auto started = start();
    if (!started) return tl::unexpected(started.error());
    const PinnedHere pinned(settings_.placement.host_cpu);
    const auto stream = make_stream_flow(started->pool, started->worker, kPayloadBytes);
    std::array<FlowEntry, 1> entries{FlowEntry{stream.get()}};
    interleave_flows(entries, kChunksPerRound, {.budget = settings_.pairs});
    figures_.stream = entries[0];
    figures_.stream.flow = nullptr;
    return entries[0].error.empty() ? Outcome() : tl::unexpected(entries[0].error);
  }

  Outcome schemas() {
    const auto costs = measure_schema(choose_python(settings_.python), settings_.placement.host_cpu);
    if (!costs) return tl::unexpected(costs.error());
    figures_.schema = *costs;
    return {};
  }

  const PayloadSettings& settings_;
  PayloadFigures figures_;
};

}  // namespace

PayloadFigures measure_payload(const PayloadSettings& settings) { return Measuring(settings).run(); }

}  // namespace samovar::bench
