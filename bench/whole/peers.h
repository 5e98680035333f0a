// Question: what would the same call cost by the usual means?
// Each peer is started once (but for the process per call), flushed at every call, and pinned as Samovar is: client on the
// host's CPU, worker on the worker's. Each sends the same 64 bytes to the same handler and gets them back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/whole/contestant.h"

namespace samovar::bench {

inline constexpr std::size_t kPeerPayloadBytes = 64;

enum class Pin {
  as_samovar,
  nowhere,  // the kernel may put both on one CPU, where a switch is cheaper than a wake
};

struct PeerSettings {
  std::string python;
  Placement placement;
  Pin pin = Pin::as_samovar;
};

// JSON-RPC 2.0, one line a message, over stdin and stdout; client in C++, worker in Python.
Made<std::unique_ptr<Contestant>> make_jsonrpc_stdio(const PeerSettings& settings);

// A peer whose usual client is Python: bench/peers/SCRIPT, which measures itself.
Made<std::unique_ptr<Contestant>> make_python_peer(const PeerSettings& settings, const std::string& script);

// A new interpreter for each call: python3 -c, payload by stdin and stdout.
Made<std::unique_ptr<Contestant>> make_process_per_call(const PeerSettings& settings);

}  // namespace samovar::bench
