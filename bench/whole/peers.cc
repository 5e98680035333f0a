#include "bench/whole/peers.h"

#include <charconv>
#include <cstring>

#include "bench/whole/child.h"
#include "bench/whole/environment.h"
#include "bench/whole/processes.h"
#include "ipc/clock.h"

namespace samovar::bench {
namespace {

const std::string kPayload(kPeerPayloadBytes, 'B');

int client_cpu(const PeerSettings& settings) { return settings.pin == Pin::as_samovar ? settings.placement.host_cpu : -1; }
int worker_cpu(const PeerSettings& settings) { return settings.pin == Pin::as_samovar ? settings.placement.worker_cpu : -1; }

std::string script_path(const std::string& script) { return bench_directory() + "/peers/" + script; }

// Times `trip()` once for each sample. These trips take microseconds: the clock is no part worth subtracting.
template <typename Trip>
Outcome time_trips(std::span<std::int64_t> samples_ns, std::size_t warm_up, Trip&& trip) {
  for (std::size_t i = 0; i < warm_up; ++i) {
    if (Outcome outcome = trip(); !outcome) return outcome;
  }
  for (std::int64_t& sample : samples_ns) {
    const std::int64_t begin_ns = ipc::now_ns();
    if (Outcome outcome = trip(); !outcome) return outcome;
    sample = ipc::now_ns() - begin_ns;
  }
  return {};
}

class JsonRpcStdio final : public Contestant {
 public:
  explicit JsonRpcStdio(std::unique_ptr<Child> child) : child_(std::move(child)) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    return time_trips(samples_ns, warm_up_trips(samples_ns.size()), [this] { return trip(); });
  }

  void park() override { wait_until_asleep(child_->pid(), std::chrono::seconds(1)); }

 private:
  Outcome trip() {
    char number[24];
    const char* number_end = std::to_chars(number, number + sizeof number, ++id_).ptr;
    const std::string_view id(number, static_cast<std::size_t>(number_end - number));
    line_.assign(R"({"jsonrpc":"2.0","id":)")
        .append(id)
        .append(R"(,"method":"noop","params":[")")
        .append(kPayload)
        .append("\"]}\n");
    std::string_view reply;
    if (!child_->write(line_) || !child_->read_line(reply)) {
      return tl::unexpected(std::string("the JSON-RPC worker has ended"));
    }
    // What json.dumps writes, read as leniently as a measurement needs: this client costs less than a JSON library.
    constexpr std::string_view kResult = R"("result": ")";
    const std::size_t result = reply.find(kResult);
    const bool right = result != std::string_view::npos &&
                       reply.substr(result + kResult.size(), kPayload.size()) == kPayload &&
                       reply.find(id) != std::string_view::npos;
    if (!right) return tl::unexpected("the JSON-RPC worker answered: " + std::string(reply));
    return {};
  }

  std::unique_ptr<Child> child_;
  std::string line_;
  std::uint64_t id_ = 0;
};

class PythonPeer final : public Contestant {
 public:
  explicit PythonPeer(std::unique_ptr<Child> child) : child_(std::move(child)) {}

  // The script takes "N" a line and answers with N durations; it warms up by itself.
  Outcome round(std::span<std::int64_t> samples_ns) override {
    std::string_view line;
    if (!child_->write(std::to_string(samples_ns.size()) + "\n") || !child_->read_line(line)) return failed("it has ended");
    const char* at = line.data();
    const char* end = at + line.size();
    for (std::int64_t& sample : samples_ns) {
      while (at != end && *at == ' ') ++at;
      const auto [next, error] = std::from_chars(at, end, sample);
      if (error != std::errc()) return failed("it answered: " + std::string(line.substr(0, 200)));
      at = next;
    }
    return {};
  }

  void park() override { wait_until_asleep(child_->pid(), std::chrono::seconds(1)); }

 private:
  static Outcome failed(const std::string& why) { return tl::unexpected("the peer's script failed: " + why); }

  std::unique_ptr<Child> child_;
};

class ProcessPerCall final : public Contestant {
 public:
  explicit ProcessPerCall(const PeerSettings& settings) : settings_(settings) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    return time_trips(samples_ns, 0, [this]() -> Outcome {
      constexpr const char* kProgram =
          "import sys\ndef noop(payload): return payload\nsys.stdout.buffer.write(noop(sys.stdin.buffer.read()))";
      auto child = Child::start({settings_.python, "-c", kProgram}, worker_cpu(settings_));
      if (!child) return tl::unexpected(child.error());
      if (!(*child)->write(kPayload)) return tl::unexpected(std::string("a process per call: it does not read"));
      auto reply = (*child)->finish();
      if (!reply) return tl::unexpected(reply.error());
      if (*reply != kPayload) return tl::unexpected("a process per call answered: " + *reply);
      return {};
    });
  }

 private:
  PeerSettings settings_;
};

// Its line "ready", or what it says instead.
Outcome await_ready(Child& child, const std::string& script) {
  std::string_view line;
  if (!child.read_line(line)) return tl::unexpected(script + " ended before it was ready");
  if (line != "ready") return tl::unexpected(script + ": " + std::string(line));
  return {};
}

}  // namespace

Made<std::unique_ptr<Contestant>> make_jsonrpc_stdio(const PeerSettings& settings) {
  const std::string script = script_path("jsonrpc_worker.py");
  auto child = Child::start({settings.python, script}, worker_cpu(settings));
  if (!child) return tl::unexpected(child.error());
  if (Outcome ready = await_ready(**child, script); !ready) return tl::unexpected(ready.error());
  return std::make_unique<JsonRpcStdio>(std::move(*child));
}

Made<std::unique_ptr<Contestant>> make_python_peer(const PeerSettings& settings, const std::string& script) {
  const std::string path = script_path(script);
  auto child = Child::start({settings.python, path, std::to_string(worker_cpu(settings))}, client_cpu(settings));
  if (!child) return tl::unexpected(child.error());
  if (Outcome ready = await_ready(**child, path); !ready) return tl::unexpected(ready.error());
  return std::make_unique<PythonPeer>(std::move(*child));
}

Made<std::unique_ptr<Contestant>> make_process_per_call(const PeerSettings& settings) {
  return std::make_unique<ProcessPerCall>(settings);
}

}  // namespace samovar::bench
