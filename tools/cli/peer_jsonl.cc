#include <chrono>
#include <nlohmann/json.hpp>

#include "tools/cli/failure.h"
#include "tools/cli/peers.h"

namespace samovar::cli {

using namespace std::chrono_literals;

Result<JsonlPeer> JsonlPeer::start(const PeerSetup& setup) {
  auto process = ChildProcess::start({setup.python, (setup.scripts / "peer_jsonl.py").string(), setup.model.string()},
                                     {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"});
  if (!process) return tl::unexpected(std::move(process).error());
  return JsonlPeer(*std::move(process));
}

Result<PeerAnswer> JsonlPeer::classify(const Image& image) {
  nlohmann::json pixels = nlohmann::json::array();
  for (const std::byte pixel : image) pixels.push_back(std::to_integer<int>(pixel));
  const std::string request = nlohmann::json{{"image", std::move(pixels)}}.dump() + "\n";
  if (auto sent = process_.write(std::as_bytes(std::span(request))); !sent) return tl::unexpected(std::move(sent).error());

  const auto line = process_.read_line(60s);
  if (!line) return tl::unexpected(line.error());
  const nlohmann::json answer = nlohmann::json::parse(*line, nullptr, false);
  const auto digit = answer.is_object() ? answer.find("digit") : answer.end();
  const auto service = answer.is_object() ? answer.find("service_ns") : answer.end();
  if (!answer.is_object() || digit == answer.end() || !digit->is_number_integer() || service == answer.end() ||
      !service->is_number_integer()) {
    return tl::unexpected(system_error("peer_jsonl.py answered what is no answer: " + *line, 0));
  }
  return PeerAnswer{.digit = digit->get<int>(), .service_ns = service->get<std::int64_t>()};
}

}  // namespace samovar::cli
