// Questions: what does a tensor cost that nobody copies, beside a call with 64 bytes? What does Samovar add where one is written
// here and summed there? What does an item of a batch cost, and how fast do the parts of an answer come? What do FlatBuffers take in
// Python? And what does the same cost by the usual means?
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/whole/contestant.h"
#include "bench/whole/payload_peers.h"
#include "bench/whole/payload_schema.h"
#include "bench/whole/throughput.h"

namespace samovar::bench {

struct PayloadSettings {
  std::string python;
  Placement placement;
  std::int64_t timestamp_ns = 0, tick_ns = 0;  // of the clock
  std::chrono::milliseconds pairs{0};          // for each of the three pairs below, and the stream
  std::chrono::milliseconds peers{0};          // for all of them together; 0: none is measured
};

// Of pools of one worker that has NumPy; caller and worker are pinned, options are the defaults.
struct PayloadFigures {
  Entry call_64, tensor_8mib;         // in turn: 64 bytes there and back; 8 MiB in a loan, another 8 MiB of ctx.empty() back, untouched
  Entry tensor_sum, sum_in_process;   // in turn: 8 MiB copied into a loan and summed by NumPy, the sum back; one copy and that sum in one process
  Entry call_8, batch_32;             // in turn: 8 bytes there and back; 32 such calls as one batch of a method that takes 32 at once
  FlowEntry stream;                   // chunks of 64 bytes a second, by Stream's range
  std::optional<SchemaCosts> schema;  // FlatBuffers, in Python alone
  std::vector<PayloadPeer> peers;
  std::vector<std::string> failures;  // of single figures
};

// A batch's cost for each of its calls, beside one call.
inline constexpr std::size_t kBatchCalls = 32;
inline double item_over_single(const PayloadFigures& p) { return p.batch_32.series.p50() / kBatchCalls / p.call_8.series.p50(); }

// Blocks.
PayloadFigures measure_payload(const PayloadSettings& settings);

}  // namespace samovar::bench
