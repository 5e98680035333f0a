#include <cmath>

#include "bench/whole/report.h"
#include "bench/whole/wake.h"

namespace samovar::bench {
namespace {

using Json = nlohmann::ordered_json;

// NaN, which is what was not measured, becomes null.
Json number(double value, int decimals = 1) {
  if (std::isnan(value) || std::isinf(value)) return nullptr;
  const double scale = std::pow(10, decimals);
  return std::round(value * scale) / scale;
}

Json percentiles(const Entry& entry) {
  const Series& s = entry.series;
  Json json{{"p50", number(s.p50())},
            {"p99", number(s.p99())},
            {"p999", number(s.p999())},
            {"max", number(s.max())},
            {"typical_p50", number(s.typical())},
            {"pooled",
             {{"p50", number(s.pooled().quantile(0.5))},
              {"p99", number(s.pooled().quantile(0.99))},
              {"p999", number(s.pooled().quantile(0.999))},
              {"samples", s.pooled().count()}}},
            {"rounds", s.rounds().size()}};
  if (!entry.error.empty()) json["error"] = entry.error;
  return json;
}

std::int64_t ns(Duration duration) { return duration.count(); }

Json options_json(const Figures& f) {
  if (!f.options) return nullptr;
  const Options& o = *f.options;
  return {{"workers", o.workers},
          {"dispatcher", std::string(to_string(o.dispatcher))},
          {"timeout_ns", ns(o.timeout)},
          {"queue_limit", o.queue_limit},
          {"prefetch", o.prefetch == 0 ? Json("auto") : Json(o.prefetch)},
          {"requeue_limit", o.requeue_limit},
          {"lane_bytes", o.lane_bytes},
          {"inline_bytes_max", o.inline_bytes_max},
          {"spin_max_ns", ns(o.spin_max)},
          {"worker_cpus", o.worker_cpus},
          {"python", o.python},
          {"module", o.module}};
}

Json host_json(const Figures& f) {
  return {{"cpu", f.host.cpu_model},
          {"cpus", f.host.cpus},
          {"threads_per_core", f.host.threads_per_core},
          {"topology", std::to_string(f.host.cpus) + (f.host.machine == "virtual machine" ? " vCPUs" : " CPUs")},
          {"machine", f.host.machine},
          {"host_cpu", f.placement.host_cpu},
          {"worker_cpu", f.placement.worker_cpu},
          {"kernel", f.host.kernel},
          {"clock_source", f.host.clock_source},
          {"governor", f.host.governor.empty() ? Json(nullptr) : Json(f.host.governor)},
          {"compiler", f.host.compiler},
          {"build_type", f.host.build_type},
          {"python", f.python_version.empty() ? Json(nullptr) : Json(f.python_version)},
          {"load_average", number(f.host.load_average, 2)},
          {"stolen_fraction", number(f.stolen_fraction, 4)},
          {"timestamp_ns", f.timestamp_ns},
          {"clock_tick_ns", f.tick_ns},
          {"seconds", number(f.seconds)}};
}

Json peers_json(const Figures& f) {
  Json peers = Json::object();
  for (const PeerFigure& peer : f.peers) {
    Json json = percentiles(peer.pinned);
    json["over_call"] = number(median_ratio(peer.pinned.series, f.call_beside_peers.series));
    if (peer.unpinned) json["unpinned_p50"] = number(peer.unpinned->series.p50());
    peers[peer.name] = json;
  }
  return peers;
}

Json verdicts_json(const Figures& f) {
  Json verdicts = Json::object();
  for (const Verdict& v : judge(f)) {
    const bool measured = !std::isnan(v.value);
    verdicts[v.key] = {{"value", number(v.value, 3)},
                       {"by_rounds", number(v.by_rounds, 3)},
                       {"bar", number(v.bar, 3)},
                       {"aim", number(v.aim, 3)},
                       {"reached", measured && !std::isnan(v.bar) ? Json(v.reaches(v.bar)) : Json(nullptr)},
                       {"aim_reached", measured && !std::isnan(v.aim) ? Json(v.reaches(v.aim)) : Json(nullptr)}};
  }
  return verdicts;
}

Json idle_json(const Figures& f) {
  if (!f.idle) return nullptr;
  return {{"host_fraction", number(f.idle->host_fraction, 6)},
          {"workers_fraction", number(f.idle->workers_fraction, 6)},
          {"wakeups_per_s", number(f.idle->wakeups_per_s, 2)},
          {"processes", f.idle->processes},
          {"window_s", f.idle_window.count()},
          {"loaded_cpu_fraction", number(f.idle->loaded_cpu_fraction, 3)},
          {"loaded_calls_per_s", number(f.idle->loaded_calls_per_s, 0)}};
}

Json churn_json(const Figures& f) {
  if (!f.churn) return nullptr;
  return {{"calls", f.churn->calls},
          {"refused", f.churn->refused},
          {"fill", number(f.churn->fill, 3)},
          {"resident_quarter_bytes", f.churn->resident_quarter},
          {"resident_end_bytes", f.churn->resident_end},
          {"window_s", f.churn->window.count()}};
}

// Of a section's figure; nulls where it was not run.
template <typename Section>
Json quantiles(const std::optional<Section>& section, Histogram Section::* figure) {
  const Histogram none;
  const Histogram& histogram = section ? (*section).*figure : none;
  return {{"p50", number(histogram.quantile(0.5), 0)},
          {"p99", number(histogram.quantile(0.99), 0)},
          {"max", number(histogram.quantile(1), 0)},
          {"samples", histogram.count()}};
}

Json payload_peers_json(const PayloadFigures& payload) {
  Json peers = Json::object();
  for (const PayloadPeer& peer : payload.peers) {
    peers[peer.name] = {{"p50", number(peer.p50_ns, 0)}, {"over_tensor", number(peer.p50_ns / payload.tensor_8mib.series.p50(), 0)}};
    if (!peer.failure.empty()) peers[peer.name]["failure"] = peer.failure;
  }
  return peers;
}

Json flow_json(const FlowEntry& entry) {
  Json json{{"typical_per_s", number(median(entry.per_second), 0)}, {"rounds", entry.per_second.size()}};
  if (!entry.error.empty()) json["error"] = entry.error;
  return json;
}

Json payload_json(const Figures& f) {
  if (!f.payload) return nullptr;
  return {{"tensor_sum_ns", percentiles(f.payload->tensor_sum)},
          {"sum_in_process_ns", percentiles(f.payload->sum_in_process)},
          {"call_8_rtt_ns", percentiles(f.payload->call_8)},
          {"batch_32_rtt_ns", percentiles(f.payload->batch_32)},
          {"stream", flow_json(f.payload->stream)},
          {"peers", payload_peers_json(*f.payload)}};
}

// Without the figures that have keys of their own.
Json start_json(const Figures& f) {
  if (!f.start) return nullptr;
  Json json{{"model_bytes", f.start->model_bytes}, {"kill_to_next_reply_ns", quantiles(f.start, &Start::kill_to_next_reply)}};
  if (const auto& memory = f.start->memory) {
    json["memory_1_bytes"] = memory->of_1;
    json["memory_8_bytes"] = memory->of_8;
    json["private_bytes_each"] = memory->private_each;
  }
  return json;
}

}  // namespace

Json to_json(const Figures& f) {
  Json json;
  json["host"] = host_json(f);
  json["options"] = options_json(f);
  json["floor_rtt_ns"] = percentiles(f.floor);
  json["bare_lane_rtt_ns"] = percentiles(f.bare_lane);
  json["call_rtt_ns"] = {
      {"64", percentiles(f.call_64)},
      {"1024", percentiles(f.call_1024)},
      {"4096", percentiles(f.call_4096)},
      {"67108864", percentiles(f.reference_call)}};
  json["call_over_floor"] = number(f.call_64.series.p50() / f.floor.series.p50(), 3);
  json["large_touch_over_memcpy"] = number(median_ratio(f.touching_call.series, f.touching_here.series), 3);
  json["arena_churn_per_s"] = f.churn ? number(f.churn->per_s, 0) : Json(nullptr);
  json["typed_added_ns"] = number(median_difference(f.typed_call.series, f.call_beside_interfaces.series));
  json["co_await_added_ns"] = number(median_difference(f.awaited_call.series, f.call_beside_interfaces.series));
  json["throughput_per_s"] = number(f.throughput.best(), 0);
  json["floor_throughput_per_s"] = number(f.floor_throughput.best(), 0);
  json["idle_cpu_fraction"] = f.idle ? number(f.idle->cpu_fraction, 6) : Json(nullptr);
  json["kill_to_death_ns"] = quantiles(f.recovery, &Recovery::kill_to_death);
  json["kill_to_error_ns"] = quantiles(f.recovery, &Recovery::kill_to_error);
  json["kill_to_error_1gb_ns"] = quantiles(f.recovery, &Recovery::kill_to_error_1gb);
  // Two sections have it; that of recovery where both are run. That of start is in "start", too.
  json["kill_to_next_reply_ns"] = f.start && !f.recovery ? quantiles(f.start, &Start::kill_to_next_reply)
                                                         : quantiles(f.recovery, &Recovery::kill_to_next_reply);
  json["stop_detect_ns"] = f.recovery && f.recovery->stop_detect ? Json(f.recovery->stop_detect->count()) : Json(nullptr);
  json["wedge_detect_ns"] = f.recovery && f.recovery->wedge_detect ? Json(f.recovery->wedge_detect->count()) : Json(nullptr);
  json["fork_ready_ns"] = quantiles(f.start, &Start::fork_ready);
  json["exec_ready_ns"] = quantiles(f.start, &Start::exec_ready);
  json["burst_ready_ns"] = f.start ? number(f.start->burst_ready.quantile(0.5), 0) : Json(nullptr);
  json["model_burst_ready_ns"] = f.start ? number(f.start->model_burst_ready.quantile(0.5), 0) : Json(nullptr);
  json["memory_ratio_8_over_1"] = f.start && f.start->memory ? number(f.start->memory->ratio(), 3) : Json(nullptr);
  const PayloadFigures payload = f.payload.value_or(PayloadFigures{});
  json["tensor_8mib_rtt_ns"] = percentiles(payload.tensor_8mib);
  json["call_64_rtt_ns"] = percentiles(payload.call_64);
  json["tensor_sum_over_in_process"] = number(median_ratio(payload.tensor_sum.series, payload.sum_in_process.series), 3);
  json["batch32_item_over_single"] = number(item_over_single(payload), 3);
  json["stream_chunks_per_s"] = number(payload.stream.best(), 0);
  const auto schema = [&](double SchemaCosts::* cost) { return payload.schema ? number((*payload.schema).*cost) : Json(nullptr); };
  json["schema_field_ns"] = schema(&SchemaCosts::schema_field);
  json["stock_field_ns"] = schema(&SchemaCosts::stock_field);
  json["reply_384_native_ns"] = schema(&SchemaCosts::reply_384_native);
  json["reply_384_stock_ns"] = schema(&SchemaCosts::reply_384_stock);
  json["wake_rtt_ns"] = percentiles(f.parked_call);
  json["futex_floor_rtt_ns"] = percentiles(f.futex_floor);
  // Two sections have it; that of peers where both are run. That of payload is in "payload", too.
  json["peers"] = f.payload && f.peers.empty() ? payload_peers_json(*f.payload) : peers_json(f);

  json["verdicts"] = verdicts_json(f);
  json["floor_tail_ratio"] = number(f.floor.series.tail(), 3);
  json["throughput"] = {{"prefetch", f.prefetch},
                        {"window", f.window},
                        {"pool", flow_json(f.throughput)},
                        {"bare_ring", flow_json(f.floor_throughput)}};
  json["wake_gap_ns"] = std::chrono::nanoseconds(kWakeGap).count();
  json["idle"] = idle_json(f);
  json["call_beside_reference_rtt_ns"] = percentiles(f.call_beside_reference);
  json["touching_call_ns"] = percentiles(f.touching_call);
  json["touching_here_ns"] = percentiles(f.touching_here);
  json["churn"] = churn_json(f);
  json["payload"] = payload_json(f);
  json["start"] = start_json(f);
  json["echo_lane_rtt_ns"] = percentiles(f.echo_lane);
  json["call_beside_peers_rtt_ns"] = percentiles(f.call_beside_peers);
  json["interfaces"] = {{"call_rtt_ns", percentiles(f.call_beside_interfaces)},
                        {"typed_rtt_ns", percentiles(f.typed_call)},
                        {"co_await_rtt_ns", percentiles(f.awaited_call)}};
  json["failures"] = f.failures;
  return json;
}

}  // namespace samovar::bench
