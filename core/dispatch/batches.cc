// The duty cycle's part for methods that take several calls at once: their calls wait together and leave together.
#include <algorithm>

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

// Sends the next batch of `method`: all of its records, or where the lane is full those that fit. A record says that another follows
// only where there is room for that one, so the worker never waits for a record that waits for the worker.
// How many have gone; nothing: not even one, the lane is full.
std::optional<std::size_t> DutyCycle::send_batch(int index, std::uint32_t method) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  const std::uint32_t max = std::max(rule_of(method).max, 1u);
  std::uint64_t advances = 0;
  std::uint32_t largest = 0;
  batch_.clear();
  while (batch_.size() < max && batching_.size(method) > 0) {
    Call& call = *batching_.front(method);
    if (call.is_done()) {
      drop_done(call);
      continue;
    }
    const std::size_t bytes = call.block ? ipc::kBlockReferenceBytes : call.payload.size();
    const std::uint32_t advance = ipc::record_advance(ipc::message_bytes(static_cast<std::uint32_t>(bytes)));
    largest = std::max(largest, advance);
    if (!batch_.empty() && !slot.channel->requests.has_room_for(advances + advance, largest)) break;
    if (!call.claim()) continue;  // its waiter has left this very moment
    slot.channel->requests.prefetch_ahead(advance, advances);
    advances += advance;
    batching_.remove(call);
    batch_.push_back(&call);
  }
  Place place{.rest = static_cast<std::uint32_t>(batch_.size()), .revocable = !slot.journal.empty(), .held = false};
  for (Call* call : batch_) {
    const std::uint32_t behind_shown = (static_cast<std::uint32_t>(batch_.size()) - place.rest) % ipc::kRecordsAtOnce;
    if (behind_shown == 0) slot.channel->requests.show();
    place.held = behind_shown == 0 && batch_.size() > 1;
    --place.rest;
    if (!send(index, *call, &place)) {  // a batch of one: for more there is room
      call->to_queued();
      batching_.add_again(*call, rule_of(method));
      return std::nullopt;
    }
    queue_.let_go();
  }
  slot.channel->requests.show();
  return batch_.size();
}

}  // namespace samovar::core
