// The duty cycle's part that takes what workers say: responses, and releases of blocks. All of it may be wrong.
#include <algorithm>
#include <cstring>

#include "core/dispatch/duty_cycle.h"
#include "core/errors.h"

namespace samovar::core {
namespace {

constexpr int kResponsesPerTurn = 64;  // of one worker: the others wait no longer than that

}  // namespace

std::size_t DutyCycle::take_responses(int index) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  // Whether the worker may be waiting for room: a lane that its outstanding responses cannot fill needs no look.
  const bool crowded = slot.journal.size() * ipc::record_advance(ipc::message_bytes(options_.inline_bytes_max)) > options_.lane_bytes / 2;
  int taken = 0;
  while (taken < kResponsesPerTurn && !slot.journal.empty() && !slot.broken && slot.channel->responses.has_record()) {
    if (!take_response(index, slot)) break;
    ++taken;
  }
  if (taken > 0) {
    slot.channel->responses.publish_consumed();
    slot.touched |= crowded || slot.crowded;
    slot.crowded = false;
    update_load(index);
  }
  return static_cast<std::size_t>(taken);
}

bool DutyCycle::take_response(int index, Slot& slot) {
  ipc::LaneReader& lane = slot.channel->responses;
  if (lane.peek() != ipc::Peek::record) {
    violate(index, "its response lane holds no record where one was announced");
    return false;
  }
  // Answers come in the order of the requests, but from an event loop. Where the copy turns out to be another call's, accept() says so.
  const ipc::ResponseHint hint = lane.size() < ipc::kEnvelopeBytes ? ipc::ResponseHint{} : ipc::hint_of_response(lane.message());
  if (!ipc::is_final(hint.status)) [[unlikely]] {
    if (hint.status == ipc::Status::packed) return take_packed(index, slot);
    Journal::Entry* const entry = find_begun(slot, hint.call_id);
    return hint.status == ipc::Status::question ? take_question(index, slot, entry) : take_chunk(index, slot, entry);
  }
  Journal::Entry* answered = slot.concurrency == 1 ? &slot.journal.front() : find_begun(slot, hint.call_id);
  if (!answered) {
    violate(index, "it answered a call that it was not asked, or that it has not begun");
    return false;
  }
  Journal::Entry& entry = *answered;
  const bool claimed = entry.call && entry.call->claim(mover_of(*entry.call));
  if (!claimed) scratch_.resize(lane.size());
  std::byte* copy = claimed ? entry.call->reply_buffer.reserve(lane.size()) : scratch_.data();
  std::memcpy(copy, lane.message(), lane.size());
  ipc::Response of_nobody;
  ipc::Response& response = claimed ? entry.call->response : of_nobody;
  const char* wrong = ipc::read_response({copy, lane.size()}, response) ? accept(slot, entry, response) : "it sent what is no response";
  if (wrong) {
    if (claimed) entry.call->to_sent();  // it stays in the journal; the proof of death ends it
    violate(index, wrong);
    return false;
  }
  lane.pop();
  resolve(index, slot, entry, response, claimed);
  return true;
}

// The answers of a batch, or of a part of it, in the order of its calls.
bool DutyCycle::take_packed(int index, Slot& slot) {
  ipc::LaneReader& lane = slot.channel->responses;
  scratch_.resize(lane.size());
  std::memcpy(scratch_.data(), lane.message(), lane.size());
  ipc::Response record;
  const bool is_one = ipc::read_response({scratch_.data(), scratch_.size()}, record) && record.status == ipc::Status::packed && record.flags == 0 && !record.payload.empty();
  if (!is_one || slot.concurrency != 1) {
    violate(index, "it sent what is no response");
    return false;
  }
  lane.pop();
  for (std::span<const std::byte> items = record.payload; !items.empty();) {
    const std::optional<ipc::PackedResponse> item = ipc::take_item(items);
    if (!item || slot.journal.empty() || static_cast<std::uint32_t>(slot.journal.front().call_id) != item->call_id_low) {
      violate(index, item ? "it answered a call that it was not asked" : "it sent what is no response");
      return false;
    }
    Journal::Entry& entry = slot.journal.front();
    const bool claimed = entry.call && entry.call->claim(mover_of(*entry.call));
    ipc::Response of_nobody;
    ipc::Response& response = claimed ? entry.call->response : of_nobody;
    response = {.call_id = entry.call_id, .service_ns = record.service_ns, .kind = item->kind};
    if (claimed) {
      std::byte* const copy = entry.call->reply_buffer.reserve(ipc::whole_words(item->payload.size()));
      ipc::copy_words(copy, item->payload);
      response.payload = {copy, item->payload.size()};
    }
    resolve(index, slot, entry, response, claimed);
  }
  return true;
}

// What follows from the final response of `entry`, which accept() has found nothing wrong with. Where it is claimed that is its call's own:
// a copy would be loaded in other pieces than it has just been stored in, and wait for that.
void DutyCycle::resolve(int index, Slot& slot, Journal::Entry& entry, ipc::Response& response, bool claimed) {
  counters_.in_flight_ended.add();
  if (response.service_ns > 0 && response.service_ns < static_cast<std::uint64_t>(ipc::kNever)) {
    const auto service_ns = std::max<std::int64_t>(1, static_cast<std::int64_t>(response.service_ns));
    slot.mean_service_ns = slot.mean_service_ns == 0 ? service_ns : slot.mean_service_ns + (service_ns - slot.mean_service_ns) / 8;
    if (entry.batch_rest == 0) renew_credit(index);
    if (claimed && !entry.call->timed) response.service_ns = 0;
  }
  if (response.flags != 0 || (entry.call && entry.call->block)) settle_blocks(slot, *entry.call, response, claimed);
  if (claimed) {
    settle(slot, *entry.call);
  } else if (entry.call) {
    if (response.status == ipc::Status::ok || response.status == ipc::Status::failed) {
      counters_.late_replies.add();
      tell_if_unanswered(entry);
    }
    release(*entry.call);
  }
  slot.journal.resolve(entry);
  if (slot.stuck) [[unlikely]] set_stuck(static_cast<std::size_t>(index), false);
}

// What of several calls at once a response answers, by what it says itself. Null: none that can have an answer.
Journal::Entry* DutyCycle::find_begun(Slot& slot, std::uint64_t call_id) {
  Journal::Entry* entry = slot.journal.find(call_id);
  return entry && slot.journal.is_begun(*entry, slot.channel->started()) ? entry : nullptr;
}

// Whether `response` can be the answer to `entry`; then its payload is where it lies. Null, or what is wrong.
const char* DutyCycle::accept(Slot& slot, const Journal::Entry& entry, ipc::Response& response) {
  if (response.call_id != entry.call_id || !ipc::is_final(response.status) || (response.status == ipc::Status::skipped && !entry.revoked)) {
    return "it answered a call that it was not asked";
  }
  if (response.flags == 0) return nullptr;
  if (!entry.call || response.flags > ipc::kResponseFlagsMax) return "its response has flags that cannot be";
  const bool has_block = static_cast<bool>(entry.call->block);
  const bool began = response.status == ipc::Status::ok || response.status == ipc::Status::failed;
  if ((response.flags & ipc::kResponseArgumentEscaped) != 0 && (!has_block || !began || slot.escaped.size() == ipc::kReleaseEntries)) {
    return "it keeps an argument that it does not have";
  }
  const std::uint16_t place = response.flags & (ipc::kResponseInArena | ipc::kResponseInArgument);
  if (place == 0) return nullptr;
  const std::optional<ipc::Located> located = ipc::read_located(response.kind, response.payload);
  if (!located || response.status != ipc::Status::ok) return "its reply names no block";
  response.header = located->header;
  const ipc::BlockReference* const block = &located->block;
  if (place == ipc::kResponseInArena) {
    const auto bytes = ipc::block_at(slot.channel->response_arena(), *block);
    if (!bytes || block->offset % ipc::kPageBytes != 0) return "its reply lies outside its arena";
    response.payload = *bytes;
    return nullptr;
  }
  if (place != ipc::kResponseInArgument || !has_block) return "its reply lies in an argument that it does not have";
  const std::uint64_t begin = entry.call->payload_offset();
  const auto bytes = block->offset < begin ? std::nullopt : ipc::block_at(entry.call->payload, {block->offset - begin, block->size});
  if (!bytes) return "its reply lies outside its argument";
  response.payload = *bytes;
  return nullptr;
}

// What becomes of the blocks of argument and reply. Requires: accept() found nothing wrong.
void DutyCycle::settle_blocks(Slot& slot, Call& call, const ipc::Response& response, bool claimed) {
  if ((response.flags & ipc::kResponseArgumentEscaped) != 0) {
    slot.escaped.emplace(call.ticket, call.block);
    counters_.views_escaped.add();
    arena_.expect_releases();
  }
  if ((response.flags & ipc::kResponseInArena) != 0) {
    const auto offset = static_cast<std::uint64_t>(response.payload.data() - slot.channel->response_arena().data());
    if (claimed) {
      call.reply_channel = slot.channel;
      call.reply_offset = offset;
      slot.channel->expect_release();
    } else {
      slot.channel->release_block(offset);  // late: nobody will read it
    }
  }
  const bool runs_again = response.status == ipc::Status::skipped;
  if (!runs_again && (response.flags & ipc::kResponseInArgument) == 0) call.block.reset();
}

void DutyCycle::take_releases(int index, Slot& slot) {
  ipc::ReleaseReader& releases = slot.channel->request_releases;
  if (!releases.has_news()) return;
  std::uint64_t left = releases.look();
  if (left > ipc::kReleaseEntries) return violate(index, "it has released more blocks than it can have");
  for (; left > 0; --left, releases.pop()) {
    const std::uint64_t call_id = releases.front();
    if (slot.escaped.erase(call_id) == 1) {
      counters_.views_returned.add();
      continue;
    }
    // The view may die before we have taken the response that says it escaped: then that lies in the lane.
    if (!slot.journal.find(call_id)) violate(index, "it has released a block that it does not have");
    return;
  }
}

// What lies behind others when its deadline passes has not failed: it says "skipped" or "expired". What has begun is told here where the
// deadline passes while it runs; where the response or the death comes first, or the worker begins late, they tell.
void DutyCycle::tell_if_unanswered(Journal::Entry& entry) {
  if (entry.told || !entry.call->is_done() || !entry.call->timed_out) return;
  entry.told = true;
  breakers_.unanswered(entry.call->method);
}

void DutyCycle::settle(const Slot& slot, Call& call) {
  switch (call.response.status) {
    case ipc::Status::ok:
      counters_.replied.add();
      if (call.probe) [[unlikely]] breakers_.probe_ended(call.method, call.probe, nullptr);
      complete(call);
      break;
    case ipc::Status::failed: {
      Error error = method_failed(methods_.now().name(call.method), call.response.payload);
      error.context.incarnation = slot.incarnation;
      give_up(call, std::move(error));
      break;
    }
    case ipc::Status::expired:
      give_up_at_deadline(call, false);
      break;
    case ipc::Status::skipped:
      call.to_queued();
      wait_again(call);
      counters_.taken_back.add();
      break;
    case ipc::Status::chunk:
    case ipc::Status::question:
    case ipc::Status::packed: break;  // accept() lets none through
  }
}

}  // namespace samovar::core
