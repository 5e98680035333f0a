#include "bench/whole/payload_peers.h"

#include <cmath>
#include <limits>
#include <memory>
#include <utility>

namespace samovar::bench {
namespace {

constexpr std::size_t kTripsPerRound = 5;  // of 2 to 50 ms each

struct Script {
  const char* name;
  const char* file;
};
constexpr Script kScripts[] = {{"multiprocessing_pipe", "tensor_multiprocessing_pipe.py"},
                               {"shared_memory", "tensor_shared_memory.py"},
                               {"zeromq", "tensor_zeromq.py"},
                               {"grpc", "tensor_grpc.py"}};

void note(PayloadPeer& peer, const std::string& failure) {
  if (peer.failure.empty()) peer.failure = failure;
}

// All of them in turn, placed in one way.
void measure(const PeerSettings& settings, std::chrono::milliseconds budget, std::vector<PayloadPeer>& peers) {
  std::vector<std::unique_ptr<Contestant>> contestants;
  std::vector<Entry> entries;
  std::vector<PayloadPeer*> measured;  // whose entry it is
  for (std::size_t i = 0; i < peers.size(); ++i) {
    auto made = make_python_peer(settings, kScripts[i].file);
    if (!made) {
      note(peers[i], made.error());
      continue;
    }
    contestants.push_back(std::move(*made));
    entries.push_back({.name = peers[i].name, .contestant = contestants.back().get(), .trips = kTripsPerRound, .series = {}, .error = {}});
    measured.push_back(&peers[i]);
  }
  interleave(entries, {.budget = budget});
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].error.empty()) note(*measured[i], entries[i].error);
    measured[i]->p50_ns = std::fmin(measured[i]->p50_ns, entries[i].series.p50());  // NaN is what is not there
  }
}

}  // namespace

std::vector<PayloadPeer> measure_payload_peers(const PeerSettings& settings, std::chrono::milliseconds budget) {
  std::vector<PayloadPeer> peers;
  for (const Script& script : kScripts) peers.push_back({.name = script.name, .p50_ns = std::numeric_limits<double>::quiet_NaN(), .failure = {}});
  PeerSettings placed = settings;
  for (const Pin pin : {Pin::as_samovar, Pin::nowhere}) {
    placed.pin = pin;
    measure(placed, budget / 2, peers);
  }
  return peers;
}

}  // namespace samovar::bench
