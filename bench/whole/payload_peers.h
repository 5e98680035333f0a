// Question: what does an array of 8 MiB there, and another one of 8 MiB back, cost by the usual means?
// Each is a script of bench/peers that measures itself, see tensor_rounds.py there; what is copied how often stands at its head.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "bench/whole/peers.h"

namespace samovar::bench {

struct PayloadPeer {
  std::string name;
  double p50_ns = 0;    // of a round trip, where it does better: pinned as Samovar is, or left to the kernel; NaN: not measured
  std::string failure;  // why it was not, or only in one of these ways; or empty
};

// multiprocessing_pipe, shared_memory, zeromq and grpc, in this order, each measured or with its failure (a package that is missing).
// `settings.pin` is not looked at. `budget` for all of them together. Blocks.
std::vector<PayloadPeer> measure_payload_peers(const PeerSettings& settings, std::chrono::milliseconds budget);

}  // namespace samovar::bench
