// The duty cycle's part for calls that say more than their outcome: chunks and questions in; credit, answers, and the word that nobody
// waits any more, out.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "core/dispatch/duty_cycle.h"
#include "core/errors.h"

namespace samovar::core {

// Requires: the lane's record says that it is a part of an answer.
bool DutyCycle::take_chunk(int index, Slot& slot, Journal::Entry* entry) {
  ipc::LaneReader& lane = slot.channel->responses;
  if (!entry || !entry->call || !entry->call->stream) {
    violate(index, "it sent a chunk in a call that is no stream");
    return false;
  }
  Call& call = *entry->call;
  Call* const chunk = call.is_done() ? nullptr : call.acquire_chunk();
  if (!chunk) scratch_.resize(lane.size());
  std::byte* copy = chunk ? chunk->reply_buffer.reserve(lane.size()) : scratch_.data();
  std::memcpy(copy, lane.message(), lane.size());
  ipc::Response response;
  const char* wrong = ipc::read_response({copy, lane.size()}, response) ? accept_chunk(slot, *entry, response) : "it sent what is no response";
  if (wrong) {
    if (chunk) chunk->drop_reference();
    violate(index, wrong);
    return false;
  }
  lane.pop();
  ++call.stream->came;
  slot.crowded = true;
  const bool in_arena = (response.flags & ipc::kResponseInArena) != 0;
  const auto offset = in_arena ? static_cast<std::uint64_t>(response.payload.data() - slot.channel->response_arena().data()) : 0;
  if (!chunk) {  // late, or no memory for it
    if (in_arena) slot.channel->release_block(offset);
    if (call.claim()) {
      call.add_reference();  // the journal's, until the response or the death
      Error error = no_calls();
      error.context.started = true;
      give_up(call, std::move(error));
      notes_due_ = true;
    }
    return true;
  }
  chunk->response = response;
  if (in_arena) {
    chunk->reply_channel = slot.channel;
    chunk->reply_offset = offset;
  }
  call.push_chunk(*chunk);
  wake(call, call.announce_news());
  return true;
}

// Whether `response` can be a chunk of the stream in `entry`; then its payload is where it lies. Null, or what is wrong.
const char* DutyCycle::accept_chunk(Slot& slot, const Journal::Entry& entry, ipc::Response& response) {
  const CallStream& stream = *entry.call->stream;
  if (response.call_id != entry.call_id || response.status != ipc::Status::chunk) return "it answered a call that it was not asked";
  if (stream.came >= stream.granted) return "it sent more chunks than it has credit for";
  if (response.flags == 0) return nullptr;
  if (response.flags != ipc::kResponseInArena) return "its chunk has flags that cannot be";
  const std::optional<ipc::Located> located = ipc::read_located(response.kind, response.payload);
  const auto bytes = located ? ipc::block_at(slot.channel->response_arena(), located->block) : std::nullopt;
  if (!bytes || located->block.offset % ipc::kPageBytes != 0) return "its chunk lies outside its arena";
  response.header = located->header;
  response.payload = *bytes;
  return nullptr;
}

bool DutyCycle::take_question(int index, Slot& slot, Journal::Entry* entry) {
  ipc::LaneReader& lane = slot.channel->responses;
  scratch_.resize(lane.size());
  std::memcpy(scratch_.data(), lane.message(), lane.size());
  ipc::Response response;
  const bool fits = entry && entry->call && ipc::read_response(scratch_, response) && response.call_id == entry->call_id &&
                    response.status == ipc::Status::question && response.flags == 0 && response.kind == ipc::Kind::arguments;
  if (!fits) {
    violate(index, "it sent a question that cannot be");
    return false;
  }
  lane.pop();
  slot.crowded = true;
  entry->call->asks = true;
  if (entry->call->is_done()) {
    notes_due_ = true;  // it is told that nobody waits
    return true;
  }
  outbox_.questions.push_back({.incarnation = slot.incarnation,
                               .call_id = entry->call_id,
                               .number = response.number,
                               .bytes = {response.payload.begin(), response.payload.end()}});
  return true;
}

void DutyCycle::send_answers(std::vector<Answer> answers) {
  std::ranges::move(answers, std::back_inserter(answers_));
  notes_due_ = true;
}

void DutyCycle::send_notes() {
  notes_due_ = false;
  std::erase_if(answers_, [this](const Answer& answer) {
    const auto slot = std::ranges::find_if(slots(), [&](const Slot& s) { return s.channel && !s.broken && s.incarnation == answer.incarnation; });
    const Journal::Entry* entry = slot == slots().end() ? nullptr : slot->journal.find(answer.call_id);
    if (!entry || !entry->call || entry->call->is_done()) return true;
    return send_note(*slot, {.call_id = answer.call_id,
                             .number = answer.number,
                             .kind = answer.failed ? ipc::Kind::bytes : ipc::Kind::value,
                             .topic = answer.failed ? ipc::Topic::failure : ipc::Topic::reply,
                             .payload = answer.bytes});
  });
  if (!answers_.empty()) notes_due_ = true;
  for (Slot& slot : slots()) {
    if (!slot.channel || slot.broken) continue;
    slot.journal.visit([&](Journal::Entry& entry, std::uint64_t) {
      if (!entry.call || !hears_notes(slot, *entry.call)) return;
      CallStream* const stream = entry.call->stream.get();
      bool told = true;
      if (entry.call->is_done()) {
        // Whether it has begun, too: one that has not reads this when it begins, should it not see that it was revoked.
        if (!entry.cancelled) told = entry.cancelled = send_note(slot, {.call_id = entry.call_id, .topic = ipc::Topic::cancel, .payload = {}});
      } else if (const std::uint64_t credit = stream ? stream->credit_due() : 0) {
        told = send_note(slot, {.call_id = entry.call_id, .number = credit, .topic = ipc::Topic::credit, .payload = {}});
        if (told) stream->granted = credit;
      }
      if (!told) notes_due_ = true;
    });
  }
  // The worker makes room when it reads, and may then sleep without a word to us. Once: who has been told looks again by himself.
  if (!std::exchange(note_lane_full_, notes_due_) && notes_due_) outbox_.signals |= kDueSooner;
}

bool DutyCycle::send_note(Slot& slot, const ipc::Note& note) {
  std::byte* out = slot.channel->notes.try_claim(ipc::message_bytes(static_cast<std::uint32_t>(note.payload.size())));
  if (!out) return false;
  ipc::write_note(note, out);
  slot.channel->notes.publish();
  slot.touched = true;
  return true;
}

}  // namespace samovar::core
