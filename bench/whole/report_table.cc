#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "bench/whole/report.h"
#include "bench/whole/wake.h"

namespace samovar::bench {
namespace {

__attribute__((format(printf, 2, 3))) void line(std::string& out, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  out.append(text).append("\n");
}

// Of `decimals`; "-" for what was not measured.
std::string shown(double value, int decimals) {
  if (std::isnan(value) || std::isinf(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

void head(std::string& out, const Figures& f) {
  line(out, "Samovar, %s build, %s, %s", f.host.build_type.c_str(), f.host.compiler.c_str(), f.host.kernel.c_str());
  line(out, "topology  %d CPUs of %s (%s%s%s); host thread on CPU %d, worker on CPU %d", f.host.cpus,
       f.host.cpu_model.c_str(), f.host.machine.c_str(), f.host.governor.empty() ? "" : ", governor ",
       f.host.governor.c_str(), f.placement.host_cpu, f.placement.worker_cpu);
  line(out,
       "machine   load average %.2f at the start, %.2f %% of the CPUs' time stolen during the run, a clock reading %lld ns "
       "(in steps of %lld)",
       f.host.load_average, f.stolen_fraction * 100, static_cast<long long>(f.timestamp_ns),
       static_cast<long long>(f.tick_ns));
  if (!f.options) return;
  const Options& o = *f.options;
  const auto us = [](Duration d) { return static_cast<long long>(d.count() / 1000); };
  line(out,
       "options   %u worker, dispatcher %s, prefetch %s, queue_limit %u, lane_bytes %u, inline_bytes_max %u, spin_max %lld "
       "us,",
       o.workers, std::string(to_string(o.dispatcher)).c_str(),
       o.prefetch == 0 ? "auto" : std::to_string(o.prefetch).c_str(), o.queue_limit, o.lane_bytes, o.inline_bytes_max,
       us(o.spin_max));
  line(out, "          timeout %lld s, verification, journal and deadline on, Python %s", us(o.timeout) / 1'000'000,
       f.python_version.c_str());
}

void series_row(std::string& out, const char* name, const Entry& entry, const Series& base, double unit, int decimals) {
  if (!entry.error.empty()) return line(out, "  %-26s failed: %s", name, entry.error.c_str());
  const Series& s = entry.series;
  if (!s.measured()) return;
  line(out, "  %-26s %9s %9s %9s %10s %11s %8s %9s", name, shown(s.p50() / unit, decimals).c_str(),
       shown(s.p99() / unit, decimals).c_str(), shown(s.p999() / unit, decimals).c_str(),
       shown(s.max() / unit, decimals).c_str(), shown(s.typical() / unit, decimals).c_str(),
       shown(s.p50() / base.p50(), 2).c_str(), shown(median_ratio(s, base), 2).c_str());
}

void series_head(std::string& out, const char* title, const char* base) {
  line(out, "\n%-28s %9s %9s %9s %10s %11s %8s %9s", title, "p50", "p99", "p99.9", "max", "typical p50",
       (std::string("/ ") + base).c_str(), "by rounds");
}

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

void flow_row(std::string& out, const char* name, const FlowEntry& entry, const FlowEntry& base) {
  if (!entry.error.empty()) return line(out, "  %-26s failed: %s", name, entry.error.c_str());
  if (entry.per_second.empty()) return;
  line(out, "  %-26s %12.0f %14.0f %12.2f %9.2f", name, entry.best(), median(entry.per_second), entry.best() / base.best(),
       median_ratio(entry, base));
}

void peer_rows(std::string& out, const Figures& f) {
  if (f.peers.empty()) return;
  line(out, "\n%-28s %9s %9s %9s %10s %11s %8s %9s %13s", "peers, 64 B, us", "p50", "p99", "p99.9", "max", "typical p50",
       "/ call", "by rounds", "p50, unpinned");
  series_row(out, "Samovar, between them", f.call_beside_peers, f.call_beside_peers.series, 1000, 2);
  for (const PeerFigure& peer : f.peers) {
    series_row(out, peer.name.c_str(), peer.pinned, f.call_beside_peers.series, 1000, 1);
    if (peer.unpinned && !peer.unpinned->series.rounds().empty()) {
      out.pop_back();
      line(out, " %13s", shown(peer.unpinned->series.p50() / 1000, 1).c_str());
    }
  }
}

void payload_rows(std::string& out, const PayloadFigures& p) {
  series_head(out, "tensors, ns", "64 B");
  series_row(out, "call, 64 B", p.call_64, p.call_64.series, 1, 0);
  series_row(out, "8 MiB there, another back", p.tensor_8mib, p.call_64.series, 1, 0);
  series_head(out, "8 MiB and its sum, us", "here");
  series_row(out, "copy and sum, one process", p.sum_in_process, p.sum_in_process.series, 1000, 0);
  series_row(out, "a loan, summed by NumPy", p.tensor_sum, p.sum_in_process.series, 1000, 0);
  series_head(out, "batches, ns", "8 B");
  series_row(out, "call, 8 B", p.call_8, p.call_8.series, 1, 0);
  series_row(out, "32 calls in one batch", p.batch_32, p.call_8.series, 1, 0);
  if (!p.stream.per_second.empty()) {
    line(out, "\n%-28s %12s %14s", "chunks a second, 64 B", "best round", "typical round");
    line(out, "  %-26s %12.0f %14.0f", "one stream, its range", p.stream.best(), median(p.stream.per_second));
  }
  if (p.schema) {
    line(out, "\n%-28s %9s %9s", "FlatBuffers in Python, ns", "schema", "stock");
    line(out, "  %-26s %9.0f %9.0f", "a field", p.schema->schema_field, p.schema->stock_field);
    line(out, "  %-26s %9.0f %9.0f", "a reply of 384 floats", p.schema->reply_384_native, p.schema->reply_384_stock);
  }
  if (p.peers.empty()) return;
  line(out, "\n%-28s %9s %12s", "8 MiB there and back, us", "p50", "/ Samovar");
  line(out, "  %-26s %9s %12s", "Samovar", shown(p.tensor_8mib.series.p50() / 1000, 2).c_str(), "1");
  for (const PayloadPeer& peer : p.peers) {
    line(out, "  %-26s %9s %12s", peer.name.c_str(), shown(peer.p50_ns / 1000, 0).c_str(),
         shown(peer.p50_ns / p.tensor_8mib.series.p50(), 0).c_str());
  }
}

void times_head(std::string& out, const char* title) {
  line(out, "\n%-28s %9s %9s %9s %9s", title, "p50", "p99", "max", "times");
}

void times_row(std::string& out, const char* name, const Histogram& h) {
  if (h.count() == 0) return;
  line(out, "  %-26s %9s %9s %9s %9llu", name, shown(h.quantile(0.5) / 1e6, 3).c_str(), shown(h.quantile(0.99) / 1e6, 3).c_str(),
       shown(h.quantile(1) / 1e6, 3).c_str(), static_cast<unsigned long long>(h.count()));
}

void recovery_rows(std::string& out, const Recovery& r) {
  times_head(out, "recovery, ms");
  times_row(out, "SIGKILL, dead by its pidfd", r.kill_to_death);
  times_row(out, "SIGKILL, its caller's error", r.kill_to_error);
  times_row(out, "the same, with 1 GiB", r.kill_to_error_1gb);
  times_row(out, "SIGKILL, the next reply", r.kill_to_next_reply);
  const auto suspected = [](const std::optional<std::chrono::nanoseconds>& took) {
    return took ? shown(static_cast<double>(took->count()) / 1e6, 0) + " ms" : std::string("not");
  };
  line(out, "  a stopped worker is suspected after: %s; one that is wedged: %s", suspected(r.stop_detect).c_str(),
       suspected(r.wedge_detect).c_str());
}

void start_rows(std::string& out, const Start& s) {
  times_head(out, "start, ms");
  times_row(out, "fork to ready", s.fork_ready);
  times_row(out, "exec to ready", s.exec_ready);
  times_row(out, "burst, a light module", s.burst_ready);
  times_row(out, "burst, overflow at work", s.model_burst_ready);
  times_row(out, "SIGKILL, the next reply", s.kill_to_next_reply);
  line(out, "  (but for the light one: NumPy, scikit-learn and a model of %.0f MiB)", mib(s.model_bytes));
  if (!s.memory) return;
  line(out, "  memory of a pool of 1: %.0f MiB; of 8: %.0f MiB, of which %.0f MiB each are private", mib(s.memory->of_1), mib(s.memory->of_8),
       mib(s.memory->private_each));
}

void verdict_rows(std::string& out, const Figures& f) {
  const std::vector<Verdict> verdicts = judge(f);
  if (std::all_of(verdicts.begin(), verdicts.end(), [](const Verdict& v) { return std::isnan(v.value); })) return;
  line(out, "\n%-34s %10s %10s   %-16s %-16s", "figure", "here", "by rounds", "bar", "aim");
  for (const Verdict& v : verdicts) {
    if (std::isnan(v.value)) continue;
    const char* sign = v.better == Verdict::Better::lower ? "<=" : ">=";
    const auto limit = [&](double at) {
      if (std::isnan(at)) return std::string();
      return std::string(sign) + " " + shown(at, at < 10 ? 2 : 0) + (v.reaches(at) ? " reached" : " not");
    };
    line(out, "  %-32s %10s %10s   %-16s %-16s", v.title.c_str(), shown(v.value, v.value < 100 ? 2 : 0).c_str(),
         shown(v.by_rounds, v.by_rounds < 100 ? 2 : 0).c_str(), limit(v.bar).c_str(), limit(v.aim).c_str());
  }
  if (f.floor.series.measured()) {
    line(out, "  (p99.9 / p50 of the floor itself: %s)", shown(f.floor.series.tail(), 2).c_str());
  }
}

}  // namespace

std::string to_table(const Figures& f) {
  std::string out;
  head(out, f);

  const Series& floor = f.floor.series;
  if (f.floor.series.measured() || f.bare_lane.series.measured() || f.call_64.series.measured()) {
    series_head(out, "round trips, ns", "floor");
  }
  series_row(out, "floor: a line each way", f.floor, floor, 1, 0);
  series_row(out, "lanes, C++ answers, 64 B", f.echo_lane, floor, 1, 0);
  series_row(out, "bare lane, 64 B", f.bare_lane, floor, 1, 0);
  series_row(out, "call, 64 B", f.call_64, floor, 1, 0);
  series_row(out, "call, 1024 B", f.call_1024, floor, 1, 0);
  series_row(out, "call, 4096 B", f.call_4096, floor, 1, 0);

  if (f.call_beside_interfaces.series.measured()) {
    series_head(out, "ways to call, ns", "call");
    series_row(out, "call, 64 B", f.call_beside_interfaces, f.call_beside_interfaces.series, 1, 0);
    series_row(out, "typed, (str, int) -> float", f.typed_call, f.call_beside_interfaces.series, 1, 0);
    series_row(out, "co_await, 64 B", f.awaited_call, f.call_beside_interfaces.series, 1, 0);
  }
  if (f.reference_call.series.measured() || !f.reference_call.error.empty()) {
    series_head(out, "large payloads, ns", "64 B");
    series_row(out, "call, 64 B", f.call_beside_reference, f.call_beside_reference.series, 1, 0);
    series_row(out, "64 MiB, a reference back", f.reference_call, f.call_beside_reference.series, 1, 0);
    series_head(out, "8 MiB and its CRC-32, us", "here");
    series_row(out, "memcpy and zlib, here", f.touching_here, f.touching_here.series, 1000, 0);
    series_row(out, "a loan, read by Python", f.touching_call, f.touching_here.series, 1000, 0);
  }
  if (f.parked_call.series.measured() || !f.parked_call.error.empty()) {
    series_head(out, "wake-ups, us", "futex");
    series_row(out, "futex there and back", f.futex_floor, f.futex_floor.series, 1000, 1);
    series_row(out, "call to a parked worker", f.parked_call, f.futex_floor.series, 1000, 1);
    line(out, "  (%lld ms of silence before each)", static_cast<long long>(kWakeGap.count()));
  }
  if (f.window != 0) {
    line(out, "\n%-28s %12s %14s %12s %9s", "calls a second, one worker", "best round", "typical round", "/ bare ring",
         "by rounds");
    flow_row(out, "bare ring, same handler", f.floor_throughput, f.floor_throughput);
    flow_row(out, "submit + poll", f.throughput, f.floor_throughput);
    line(out, "  (prefetch %u, up to %zu calls waiting)", f.prefetch, f.window);
  }
  peer_rows(out, f);
  if (f.churn) {
    line(out, "\narena churn, 4 threads, %lld s: %.0f loans, calls and drops a second at %.0f %% fill, %llu refused",
         static_cast<long long>(f.churn->window.count()), f.churn->per_s, f.churn->fill * 100,
         static_cast<unsigned long long>(f.churn->refused));
    line(out, "  the arena held %.0f MiB after a quarter of the time, %.0f MiB at the end", mib(f.churn->resident_quarter),
         mib(f.churn->resident_end));
  }
  if (f.payload) payload_rows(out, *f.payload);
  if (f.recovery) recovery_rows(out, *f.recovery);
  if (f.start) start_rows(out, *f.start);
  if (f.idle) {
    line(out, "\nidle pool of 4 workers, %lld s right after load (%.0f calls/s at %.2f cores)",
         static_cast<long long>(f.idle_window.count()), f.idle->loaded_calls_per_s, f.idle->loaded_cpu_fraction);
    line(out, "  %.4f %% of one core: host %.4f %%, workers %.4f %%; %.1f wake-ups a second in %zu processes",
         f.idle->cpu_fraction * 100, f.idle->host_fraction * 100, f.idle->workers_fraction * 100, f.idle->wakeups_per_s,
         f.idle->processes);
  }
  verdict_rows(out, f);
  for (const std::string& failure : f.failures) line(out, "not measured: %s", failure.c_str());
  line(out,
       "\n%.0f s. p50: lowest of the rounds' medians; p99, p99.9: median over rounds. What each number means: "
       "bench/README.md",
       f.seconds);
  return out;
}

}  // namespace samovar::bench
