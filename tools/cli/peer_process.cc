#include <chrono>
#include <sstream>

#include "tools/cli/failure.h"
#include "tools/cli/peers.h"

namespace samovar::cli {

using namespace std::chrono_literals;

Result<PeerAnswer> classify_in_new_process(const PeerSetup& setup, const Image& image) {
  auto process = ChildProcess::start({setup.python, (setup.scripts / "peer_process.py").string(), setup.model.string()},
                                     {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"});
  if (!process) return tl::unexpected(std::move(process).error());
  if (auto sent = process->write(image); !sent) return tl::unexpected(std::move(sent).error());
  process->close_stdin();
  const auto line = process->read_line(60s);
  if (!line) return tl::unexpected(line.error());
  if (auto ended = process->finish(60s); !ended) return tl::unexpected(std::move(ended).error());
  PeerAnswer answer;
  std::istringstream words(*line);
  if (!(words >> answer.digit >> answer.service_ns)) {
    return tl::unexpected(system_error("peer_process.py answered what is no answer: " + *line, 0));
  }
  return answer;
}

}  // namespace samovar::cli
