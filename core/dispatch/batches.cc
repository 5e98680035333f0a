// The duty cycle's part for methods that take several calls at once: their calls wait together and leave together.
#include <algorithm>
#include <array>

#include "core/dispatch/duty_cycle.h"

namespace samovar::core {

BatchRule DutyCycle::rule_of(std::uint32_t method) const {
  const ipc::Method& described = methods_.now().method(method);
  return {.max = described.batch_max, .wait_ns = described.batch_wait_ns};
}

bool DutyCycle::keep_for_batch(Call& call) {
  if (!methods_.now().has_batches()) return false;
  const BatchRule rule = rule_of(call.method);
  if (rule.max <= 1) return false;
  queue_.keep();
  const bool reads_clock = rule.wait_ns != 0 && batching_.size(call.method) == 0;
  if (batching_.add(call, rule, reads_clock ? ipc::now_ns() : 0) && asleep_) outbox_.signals |= kDueSooner;
  return true;
}

void DutyCycle::leave(Call& call) {
  if (!call.in_batch) return queue_.remove(call);
  batching_.remove(call);
  queue_.let_go();
}

void DutyCycle::wait_again(Call& call) {
  const BatchRule rule = rule_of(call.method);
  if (rule.max <= 1) return queue_.requeue(call);
  queue_.keep_again();
  batching_.add_again(call, rule);
}

// The first call of the batch to leave next, where one is ready. The clock is read only where the answer depends on it.
Call* DutyCycle::ready_batch() {
  if (queue_.is_refusing() || !queue_.has_room()) return batching_.next_ready(Batching::kAtOnce);  // no others will come
  if (batching_.due_ns() <= 0 && batching_.methods() == 1) return batching_.next_ready(0);
  return choose_worker(loads()) < 0 ? nullptr : batching_.next_ready(ipc::now_ns());
}

void DutyCycle::tell_batch_waiting() {
  if (choose_worker(loads()) < 0 && batching_.next_ready(ipc::now_ns())) tell_waiting();
}

// Whether the lane is sure to have room for `call` beside those that `room` has counted, if each is a record of its own. Packed they take
// less.
bool DutyCycle::has_room_for(const Slot& slot, const Call& call, LaneRoom& room) const {
  const std::uint64_t packed = ipc::record_advance(ipc::message_bytes(packed_.bytes_max()));
  const std::size_t bytes = !call.block ? call.payload.size() : std::max(call.located.size(), ipc::kBlockReferenceBytes);
  const std::uint64_t advance = ipc::record_advance(ipc::message_bytes(static_cast<std::uint32_t>(bytes)));
  room.taken += advance;
  room.largest = std::max({room.largest, advance, std::min(room.taken, packed)});
  return slot.channel->requests.has_room_for(room.taken, room.largest);
}

// Takes the calls of the next batch of `method` out of their list and into batch_, as many as have room.
void DutyCycle::collect_batch(Slot& slot, std::uint32_t method) {
  const std::uint32_t max = std::max(rule_of(method).max, 1u);
  LaneRoom room;
  batch_.clear();
  while (batch_.size() < max && batching_.size(method) > 0) {
    Call& call = *batching_.front(method);
    if (call.is_done()) {
      drop_done(call);
      continue;
    }
    if (!has_room_for(slot, call, room) && !batch_.empty()) break;
    if (!call.claim(mover_of(call))) continue;  // its waiter has left this very moment
    batching_.remove(call);
    batch_.push_back(&call);
  }
}

// Sends the next batch of `method`, or where the lane is full what fits of it. A record says that another follows only where there is
// room for that one, so the worker never waits for a record that waits for the worker.
// How many have gone; nothing: not even one, the lane is full.
std::optional<std::size_t> DutyCycle::send_batch(int index, std::uint32_t method) {
  collect_batch(slots_[static_cast<std::size_t>(index)], method);
  const std::size_t sent = send_collected(index);
  queue_.let_go(sent);
  if (sent == batch_.size()) return sent;
  Call& left = *batch_.front();  // a batch of one: for more there is room
  left.to_queued();
  batching_.add_again(left, rule_of(method));
  return std::nullopt;
}

// The same for `calls`, which have just been admitted and claimed, where they are a whole batch and no other call waits. False: one does, or
// no worker is free, or its lane is full.
bool DutyCycle::enter_batch(std::span<Call* const> calls) {
  const Call& first = *calls.front();
  if (calls.size() != rule_of(first.method).max || queue_.front() || queue_.has_arrivals_but(calls.size()) || !batching_.empty()) return false;
  const int index = choose_worker_for(first);
  if (index < 0) return false;
  LaneRoom room;
  for (const Call* call : calls) {
    if (!has_room_for(slots_[static_cast<std::size_t>(index)], *call, room)) return false;
  }
  batch_.assign(calls.begin(), calls.end());
  send_collected(index);
  queue_.pass_by(calls.size());
  ring_workers();
  return true;
}

// Sends batch_. How many; not all: its one call had no room.
std::size_t DutyCycle::send_collected(int index) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  Place place{.rest = static_cast<std::uint32_t>(batch_.size()), .revocable = !slot.journal.empty()};
  const bool known = !batch_.empty() && slot.has_method(batch_.front()->method);
  for (std::span<Call* const> left = batch_; !left.empty();) {
    std::size_t gone = known ? send_packed(index, left, place) : 0;
    if (gone == 0) {
      --place.rest;
      if (!send(index, *left.front(), &place)) return 0;
      gone = 1;
    }
    left = left.subspan(gone);
  }
  return batch_.size();
}

// Sends those of `calls`, the rest of a batch, that go into one record. How many; 0: the first one is to go alone.
// Requires: the worker knows their method; where they are two or more, the lane has room for them.
std::size_t DutyCycle::send_packed(int index, std::span<Call* const> calls, Place& place) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  std::array<std::uint32_t, ipc::kPackedItemsMax> words;
  packed_.clear();
  for (Call* const call : calls) {
    ipc::BlockReference block;
    const std::span<const std::byte> payload = payload_in_record(*call, block);
    if (!packed_.may_take(payload.size())) break;
    const auto word = packed_.add({.call_id = call->ticket,
                                   .deadline_ns = call->deadline_on_wire(),
                                   .method = slot.numbers[call->method],
                                   .kind = call->kind,
                                   .flags = flags_of(slot, *call),
                                   .payload = payload});
    if (!word) break;
    words[packed_.count() - 1] = *word;
  }
  const std::size_t count = packed_.count();
  if (count < 2) return 0;
  const bool followed = count < calls.size();
  const ipc::Request record = packed_.record(static_cast<std::uint8_t>((place.revocable ? ipc::kRequestRevocable : 0) | (followed ? ipc::kRequestBatched : 0)));
  ipc::LaneWriter& lane = slot.channel->requests;
  ipc::write_request(record, lane.try_claim(ipc::message_bytes(static_cast<std::uint32_t>(record.payload.size()))));
  const std::uint64_t items = lane.publish() + ipc::kCommitWordBytes + ipc::kEnvelopeBytes;
  for (std::size_t i = 0; i < count; ++i) {
    --place.rest;
    note_sent(slot, *calls[i], items + words[i], place);
  }
  settle_sent(index, count);
  return count;
}

}  // namespace samovar::core
