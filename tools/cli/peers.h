// Peers: the same trained model, called from C++ in the ways that people use today. For the demo's comparison.
// Both take the interpreter, the directory of the scripts and a model saved with joblib; numeric libraries get one thread,
// as in the workers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <samovar/error.h>

#include "tools/cli/child_process.h"
#include "tools/cli/digits_client.h"

namespace samovar::cli {

struct PeerSetup {
  std::string python;
  std::filesystem::path scripts;
  std::filesystem::path model;
};

struct PeerAnswer {
  int digit = -1;
  std::int64_t service_ns = 0;  // inside the same function that the worker calls
};

// One Python process that stays and speaks JSON lines over stdin and stdout.
class JsonlPeer {
 public:
  static Result<JsonlPeer> start(const PeerSetup& setup);
  Result<PeerAnswer> classify(const Image& image);
  pid_t pid() const { return process_.pid(); }

 private:
  explicit JsonlPeer(ChildProcess process) : process_(std::move(process)) {}
  ChildProcess process_;
};

// A Python process for this one image: starts, loads the model, answers, ends.
Result<PeerAnswer> classify_in_new_process(const PeerSetup& setup, const Image& image);

}  // namespace samovar::cli
