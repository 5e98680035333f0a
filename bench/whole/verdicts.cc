// The bars, in one place.
#include <cmath>
#include <limits>

#include "bench/whole/report.h"

namespace samovar::bench {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

const Entry* find_peer(const Figures& figures, const std::string& name) {
  for (const PeerFigure& peer : figures.peers) {
    if (peer.name == name) return &peer.pinned;
  }
  return nullptr;
}

}  // namespace

std::vector<Verdict> judge(const Figures& f) {
  const Series& call = f.call_64.series;
  std::vector<Verdict> verdicts;
  verdicts.push_back({.key = "call_over_floor",
                      .title = "call / floor",
                      .value = call.p50() / f.floor.series.p50(),
                      .by_rounds = median_ratio(call, f.floor.series),
                      .bar = 3.0,
                      .aim = 2.4});
  verdicts.push_back({.key = "call_minus_bare_ns",
                      .title = "call - bare lane, ns",
                      .value = call.p50() - f.bare_lane.series.p50(),
                      .by_rounds = median_difference(call, f.bare_lane.series),
                      .bar = 300,
                      .aim = 180});
  verdicts.push_back({.key = "call_tail_ratio",
                      .title = "p99.9 / p50 of the call",
                      .value = call.p999() / call.p50(),
                      .by_rounds = call.tail(),
                      .bar = 5,
                      .aim = 2.5});
  verdicts.push_back({.key = "throughput_over_floor",
                      .title = "calls per second / bare ring",
                      .value = f.throughput.best() / f.floor_throughput.best(),
                      .by_rounds = median_ratio(f.throughput, f.floor_throughput),
                      .bar = 0.35,
                      .aim = 0.6,
                      .better = Verdict::Better::higher});
  const Series& beside = f.call_beside_interfaces.series;
  verdicts.push_back({.key = "typed_added_ns",
                      .title = "typed call - call with bytes, ns",
                      .value = f.typed_call.series.p50() - beside.p50(),
                      .by_rounds = median_difference(f.typed_call.series, beside),
                      .bar = 400,
                      .aim = 200});
  verdicts.push_back({.key = "co_await_added_ns",
                      .title = "co_await - call, ns",
                      .value = f.awaited_call.series.p50() - beside.p50(),
                      .by_rounds = median_difference(f.awaited_call.series, beside),
                      .bar = 100,
                      .aim = 40});
  verdicts.push_back({.key = "reference_over_call",
                      .title = "64 MiB by reference / 64 B call",
                      .value = f.reference_call.series.p50() / f.call_beside_reference.series.p50(),
                      .by_rounds = median_ratio(f.reference_call.series, f.call_beside_reference.series),
                      .bar = 2.0,
                      .aim = 1.5});
  verdicts.push_back({.key = "large_touch_over_memcpy",
                      .title = "8 MiB written and read / memcpy",
                      .value = f.touching_call.series.p50() / f.touching_here.series.p50(),
                      .by_rounds = median_ratio(f.touching_call.series, f.touching_here.series),
                      .bar = 1.25,
                      .aim = 1.1});
  if (const auto& p = f.payload) {
    double nearest_peer = kNothing;
    for (const PayloadPeer& peer : p->peers) nearest_peer = std::fmin(nearest_peer, peer.p50_ns);
    verdicts.push_back({.key = "tensor_over_call",
                        .title = "tensor of 8 MiB / 64 B call",
                        .value = p->tensor_8mib.series.p50() / p->call_64.series.p50(),
                        .by_rounds = median_ratio(p->tensor_8mib.series, p->call_64.series),
                        .bar = 3.0,
                        .aim = 2.0});
    verdicts.push_back({.key = "tensor_sum_over_in_process",
                        .title = "8 MiB written, summed / in process",
                        .value = p->tensor_sum.series.p50() / p->sum_in_process.series.p50(),
                        .by_rounds = median_ratio(p->tensor_sum.series, p->sum_in_process.series),
                        .bar = 1.15,
                        .aim = 1.05});
    verdicts.push_back({.key = "batch32_item_over_single",
                        .title = "an item of a batch of 32 / a call",
                        .value = item_over_single(*p),
                        .by_rounds = median_ratio(p->batch_32.series, p->call_8.series) / kBatchCalls,
                        .bar = 0.35,
                        .aim = 0.2});
    verdicts.push_back({.key = "stream_chunks_per_s",
                        .title = "chunks of 64 B a second",
                        .value = p->stream.best(),
                        .by_rounds = kNothing,
                        .bar = 1e6,
                        .aim = 2e6,
                        .better = Verdict::Better::higher});
    const auto schema = [&](const char* key, const char* title, double value, double bar, double aim, Verdict::Better better) {
      verdicts.push_back({.key = key, .title = title, .value = value, .by_rounds = kNothing, .bar = bar, .aim = aim, .better = better});
    };
    if (p->schema) {
      const SchemaCosts& s = *p->schema;
      schema("schema_field_ns", "field through the schema, ns", s.schema_field, 150, 80, Verdict::Better::lower);
      schema("stock_field_over_schema", "stock field / the same", s.stock_field / s.schema_field, 10, kNothing, Verdict::Better::higher);
      schema("stock_reply_over_native", "384 floats, stock / native", s.reply_384_stock / s.reply_384_native, 20, kNothing, Verdict::Better::higher);
    }
    verdicts.push_back({.key = "peers_over_tensor",
                        .title = "8 MiB by the best peer / tensor",
                        .value = nearest_peer / p->tensor_8mib.series.p50(),
                        .by_rounds = kNothing,
                        .bar = kNothing,
                        .aim = 100,
                        .better = Verdict::Better::higher});
  }
  const Entry* json = find_peer(f, "jsonrpc_stdio");
  verdicts.push_back({.key = "json_over_call",
                      .title = "JSON over stdio / call",
                      .value = json ? json->series.p50() / f.call_beside_peers.series.p50() : kNothing,
                      .by_rounds = json ? median_ratio(json->series, f.call_beside_peers.series) : kNothing,
                      .bar = 20,
                      .aim = 30,
                      .better = Verdict::Better::higher});
  const auto alone = [&](const char* key, const char* title, double value, double bar, double aim) {
    verdicts.push_back({.key = key, .title = title, .value = value, .by_rounds = kNothing, .bar = bar, .aim = aim});
  };
  const auto recovery = [&](Histogram Recovery::* figure, double quantile) {
    return f.recovery ? ((*f.recovery).*figure).quantile(quantile) / 1e6 : kNothing;
  };
  alone("kill_to_error_p50_ms", "SIGKILL to its caller's error, ms", recovery(&Recovery::kill_to_error, 0.5), 2, 0.6);
  alone("kill_to_error_p99_ms", "the same, p99, ms", recovery(&Recovery::kill_to_error, 0.99), 10, 3);
  alone("kill_to_next_reply_ms", "SIGKILL to the next reply, ms", recovery(&Recovery::kill_to_next_reply, 0.5), 400, 150);
  const auto start = [&](Histogram Start::* figure, double quantile) {
    return f.start ? ((*f.start).*figure).quantile(quantile) / 1e6 : kNothing;
  };
  alone("fork_ready_p50_ms", "fork to ready, ms", start(&Start::fork_ready, 0.5), 10, 5);
  alone("fork_ready_p99_ms", "the same, p99, ms", start(&Start::fork_ready, 0.99), 25, 10);
  alone("burst_ready_ms", "burst to overflow workers, ms", start(&Start::burst_ready, 0.5), 25, kNothing);
  alone("model_burst_ready_ms", "the same, 100 MB, ms", start(&Start::model_burst_ready, 0.5), 25, kNothing);
  alone("model_kill_to_next_reply_ms", "SIGKILL to the next, 100 MB, ms", start(&Start::kill_to_next_reply, 0.5), 30, 10);
  alone("memory_ratio_8_over_1", "memory of 8 workers / 1", f.start && f.start->memory ? f.start->memory->ratio() : kNothing, 2.0, 1.4);
  verdicts.push_back({.key = "idle_cpu_percent",
                      .title = "CPU of an idle pool of 4, %",
                      .value = f.idle ? f.idle->cpu_fraction * 100 : kNothing,
                      .by_rounds = kNothing,
                      .bar = 1,
                      .aim = 0.2});
  verdicts.push_back({.key = "wake_over_futex",
                      .title = "call to a parked worker / futex",
                      .value = f.parked_call.series.p50() / f.futex_floor.series.p50(),
                      .by_rounds = median_ratio(f.parked_call.series, f.futex_floor.series),
                      .bar = 1.3,
                      .aim = 1.1});
  return verdicts;
}

}  // namespace samovar::bench
