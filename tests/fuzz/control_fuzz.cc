// Control messages, as both ends of a worker's socket read them: any bytes are refused with a reason, or go there and back.
#include <limits>

#include "ipc/handshake.h"
#include "tests/fuzz/target.h"

namespace samovar::fuzz {

std::vector<Input> seeds() {
  const ipc::Hello hello{.layout_hash = 0x0123'4567'89ab'cdef,
                         .incarnation = 7,
                         .worker = 3,
                         .lane_bytes = 65536,
                         .payload_bytes_max = 4096,
                         .spin_max_ns = std::numeric_limits<std::int64_t>::max(),
                         .module = "path/to/models.py"};
  std::vector<Input> inputs;
  inputs.push_back(ipc::encode_control(hello));
  inputs.push_back(ipc::encode_control(ipc::Ready{}));
  inputs.push_back(ipc::encode_control(ipc::StartFailed{"cannot load", "ImportError", "no such module", "Traceback\n"}));
  inputs.push_back(ipc::encode_control(ipc::Stop{}));
  inputs.push_back(ipc::encode_control(ipc::NurseryHello{.layout_hash = 7, .module = "models", .log_level = 1}));
  inputs.push_back(ipc::encode_control(ipc::NurseryReady{.layout_hash = 7, .threads = {"pool-1", ""}}));
  inputs.push_back(ipc::encode_control(ipc::Fork{.incarnation = 9}));
  inputs.push_back(ipc::encode_control(ipc::Forked{.incarnation = 9, .pid = 4711}));
  inputs.push_back(ipc::encode_control(ipc::ForkFailed{9, {"a hook failed", "OSError", "no", "Traceback\n"}}));
  inputs.push_back(ipc::encode_control(ipc::ChildEnded{.incarnation = 9, .code = -1, .signal = 11}));
  inputs.push_back(ipc::encode_control(ipc::Bury{.incarnation = 9}));
  return inputs;
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar;
  using fuzz::expect;
  const auto message = ipc::decode_control({data, size});
  if (!message) {
    expect(!message.error().empty(), "a refusal says why");
    return 0;
  }
  const std::vector<std::uint8_t> encoded = ipc::encode_control(*message);
  const auto again = ipc::decode_control(encoded);
  expect(again.has_value(), "what was encoded can be decoded");
  expect(again->index() == message->index(), "it is a message of the same kind");
  expect(ipc::encode_control(*again) == encoded, "it says the same");
  return 0;
}
