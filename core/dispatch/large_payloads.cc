// The dispatcher's part that finds a place for payloads: in the record, or in the request arena.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kLookForBlocksNs = 1'000'000;  // while waiting for room: workers ring nobody when they release

}  // namespace

Result<detail::Block> Dispatcher::loan(std::uint64_t bytes, std::int64_t until_ns, const std::stop_token& stop) {
  Result<detail::Block> block = arena_.allocate(bytes);
  if (block || block.error().code != Code::resource_exhausted) return block;
  for (;;) {
    look_for_blocks();
    block = arena_.allocate(bytes);
    const std::int64_t now_ns = ipc::now_ns();
    if (block || now_ns >= until_ns || stop.stop_requested()) return block;
    arena_.wait_for_release(std::min(until_ns, now_ns + kLookForBlocksNs));
  }
}

// Requires: `call` is not admitted yet. A payload that is a loan of this pool, or fits into a record, stays where it is.
Result<void> Dispatcher::place(Call& call, const Payload& payload, const CallOptions& options) {
  call.payload = payload.data();
  if (call.payload.size() <= options_.inline_bytes_max) return {};
  if (payload.block().arena() == &arena_) {
    call.block = payload.block();
    return {};
  }
  Result<detail::Block> block = loan(call.payload.size(), call.may_wait ? call.deadline_ns : 0, options.stop);
  if (!block) return tl::unexpected(options.stop.stop_requested() ? call_cancelled(methods_.now().name(call.method)) : std::move(block.error()));
  std::byte* copy = arena_.at(block->offset());
  std::memcpy(copy, call.payload.data(), call.payload.size());
  call.payload = {copy, call.payload.size()};
  call.block = std::move(*block);
  return {};
}

}  // namespace samovar::core
