// The dispatcher's part that finds a place for payloads: in the record, or in the request arena.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"
#include "ipc/copy_for_peer.h"

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

// Requires: `call` is not admitted yet. A payload that is a loan of this pool, or fits into a record, stays where it is, unless it is
// in parts, which are put together here: in their block at once, so that they are copied once.
Result<void> Dispatcher::place(Call& call, const Payload& payload, const CallOptions& options) {
  if (payload.in_parts()) [[unlikely]] return place_parts(call, payload, options);
  call.payload = payload.data();
  if (call.payload.size() <= options_.inline_bytes_max) return succeeded();
  if (payload.block().arena() == &arena_) {
    call.block = payload.block();
    return {};
  }
  Result<std::byte*> copy = block_for(call, call.payload.size(), options);
  if (!copy) return tl::unexpected(std::move(copy.error()));
  ipc::copy_for_peer(*copy, call.payload);
  call.payload = {*copy, call.payload.size()};
  return {};
}

Result<void> Dispatcher::place_parts(Call& call, const Payload& payload, const CallOptions& options) {
  if (payload.size() <= options_.inline_bytes_max) {
    std::byte* const record = call.request_buffer.reserve(payload.size());
    payload.write(record);
    call.payload = {record, payload.size()};
    return {};
  }
  // The header goes into the record, where the worker looks anyway: reading it at the end of the block would cost a cache line and a
  // page more each way, half of a call. Only one that does not fit stands behind the elements.
  const std::span<const std::byte> header = payload.header();
  const bool header_fits = ipc::kBlockReferenceBytes + header.size() <= options_.inline_bytes_max;
  const std::size_t bytes = header_fits ? payload.elements_bytes() : payload.size();
  std::byte* place;
  if (payload.block().arena() == &arena_) {
    call.block = payload.block();
    place = arena_.at(call.block.offset());
    if (!header_fits) payload.write_header(place);
  } else {
    Result<std::byte*> found = block_for(call, bytes, options);
    if (!found) return tl::unexpected(std::move(found.error()));
    place = *found;
    header_fits ? payload.write_elements(place) : payload.write(place);
  }
  call.payload = {place, bytes};
  if (!header_fits) return {};
  call.located = {call.request_buffer.reserve(ipc::kBlockReferenceBytes + header.size()), ipc::kBlockReferenceBytes + header.size()};
  std::memcpy(call.located.data() + ipc::kBlockReferenceBytes, header.data(), header.size());
  return {};
}

// A block of the request arena that becomes the call's.
Result<std::byte*> Dispatcher::block_for(Call& call, std::size_t bytes, const CallOptions& options) {
  Result<detail::Block> block = loan(bytes, call.may_wait ? call.deadline_ns : 0, options.stop);
  if (!block) return tl::unexpected(options.stop.stop_requested() ? call_cancelled(methods_.now().name(call.method)) : std::move(block.error()));
  call.block = std::move(*block);
  return arena_.at(call.block.offset());
}

}  // namespace samovar::core
