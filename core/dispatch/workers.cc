// The duty cycle's part for workers that come and go, and for what becomes of calls where none is left.
#include <algorithm>
#include <utility>
#include <vector>

#include "core/dispatch/duty_cycle.h"
#include "core/errors.h"

namespace samovar::core {

void DutyCycle::attach(Attachment attachment) {
  Slot& slot = slots_[static_cast<std::size_t>(attachment.slot)];
  slot.channel = std::move(attachment.channel);
  slot.incarnation = attachment.incarnation;
  slot.worker = attachment.worker;
  slot.numbers = std::move(attachment.numbers);
  slot.journal.begin(slot.channel->requests.records());
  slot.broken = slot.retiring = slot.drained = false;
  slot.watched = UINT64_MAX;  // its progress is watched from the next look on
  slot.mean_service_ns = 0;
  loads_[static_cast<std::size_t>(attachment.slot)].credit = credit(options_.prefetch, 0);
  loads_[static_cast<std::size_t>(attachment.slot)].node = attachment.node;
  slot.channel->announce_asleep(asleep_);
  slots_used_ = std::max(slots_used_, static_cast<std::size_t>(attachment.slot) + 1);
  update_load(attachment.slot);
}

void DutyCycle::retire(int index, std::uint64_t incarnation) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (!slot.channel || slot.incarnation != incarnation) return;
  slot.retiring = true;
  for (std::uint64_t number = slot.journal.sent(); number-- > slot.journal.resolved() + 1;) take_back(index, number);
  update_load(index);
}

void DutyCycle::report(std::vector<Report>& reports) {
  reports.assign(slots_.size(), {});
  for (std::size_t i = 0; i < slots_used_; ++i) {
    Slot& slot = slots_[i];
    if (!slot.channel) continue;
    reports[i] = {.incarnation = slot.incarnation, .in_flight = slot.journal.size()};
    for (std::uint64_t number = slot.journal.resolved(); number != slot.journal.sent(); ++number) {
      const Call* call = slot.journal.at(number).call;
      if (!call) continue;  // taken back
      reports[i].method = call->method;
      reports[i].deadline_ns = call->deadline_ns;
      break;
    }
  }
}

DutyCycle::Demand DutyCycle::demand() {
  const Call* first = queue_.front();
  Demand demand{.waiting = first ? queue_.size() : 0, .oldest = first ? first->ticket : 0, .newest = queue_.admitted(), .at_ns = ipc::now_ns()};
  for (Slot& slot : slots()) {  // those behind the first in a lane wait, too
    for (std::uint64_t number = slot.journal.resolved() + 1; number < slot.journal.sent(); ++number) {
      const Call* call = slot.journal.at(number).call;
      if (!call || call->is_done()) continue;
      ++demand.waiting;
      demand.oldest = demand.oldest == 0 ? call->ticket : std::min(demand.oldest, call->ticket);
    }
  }
  tells_waiting_ = follows_load_ && demand.oldest == 0;
  return demand;
}

void DutyCycle::bar(std::shared_ptr<const Error> why) { barred_ = std::move(why); }

std::shared_ptr<ipc::HostEnd> DutyCycle::detach(int index, const Death& death) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (!slot.channel || slot.incarnation != death.incarnation) return nullptr;
  while (take_responses(index) > 0) {  // the last drain: what it had published before it died counts
  }
  const std::uint64_t started = slot.journal.believe_started(slot.broken ? UINT64_MAX : slot.channel->started());
  for (std::uint64_t number = slot.journal.resolved(); number != slot.journal.sent(); ++number) {
    lose(index, slot.journal.at(number), death, number < started);
  }
  slot.journal.begin(0);
  slot.touched = false;
  counters_.views_returned.add(slot.escaped.size());
  slot.escaped.clear();
  std::shared_ptr<ipc::HostEnd> channel = std::exchange(slot.channel, nullptr);
  slot.retiring = false;
  std::erase_if(outbox_.violations, [&](const Violation& v) { return v.slot == index && v.incarnation == death.incarnation; });
  update_load(index);
  while (slots_used_ > 0 && !slots_[slots_used_ - 1].channel) --slots_used_;
  return channel;
}

void DutyCycle::lose(int index, Journal::Entry& entry, const Death& death, bool started) {
  if (entry.answered) return;
  counters_.in_flight_ended.add();
  if (!entry.call) return;
  Call& call = *entry.call;
  if (!call.claim()) {  // answered already, by its deadline or its stop_token
    if (started) tell_if_unanswered(entry);
    release(call);
    return;
  }
  const bool has_told = call.stream && call.stream->came > 0;  // part of it: it cannot be begun again
  if (started ? ++call.deaths < options_.max_attempts && call.idempotent && !has_told : call.requeues++ < options_.requeue_limit) {
    call.to_queued();
    queue_.requeue(call);
    counters_.requeued.add();
    return;
  }
  Error error = worker_lost(methods_.now().name(call.method), slots_[static_cast<std::size_t>(index)].worker, death.how, started);
  error.context.incarnation = death.incarnation;
  error.context.output = death.output;
  error.context.stacks = death.stacks;
  counters_.calls_lost.add();
  if (started) breakers_.lost(call.method, error.message);
  give_up(call, std::move(error));
}

// No worker will run those that wait.
void DutyCycle::end_waiting() {
  if (options_.fallback == Fallback::none) return fail_waiting(*barred_);
  while (Call* call = queue_.front()) {
    queue_.remove(*call);
    if (call->asynchronous) forget_deadline(*call);
    outbox_.stranded.push_back(call);
  }
}

void DutyCycle::fail_waiting(const Error& error) {
  while (Call* call = queue_.front()) {
    queue_.remove(*call);
    if (call->claim()) {
      give_up(*call, error);
    } else {
      release(*call);
    }
  }
}

void DutyCycle::fail_all(const Error& error) {
  take_inbox();
  fail_waiting(error);
  for (Slot& slot : slots()) {
    for (std::uint64_t number = slot.journal.resolved(); number != slot.journal.sent(); ++number) {
      Journal::Entry& entry = slot.journal.at(number);
      if (!entry.call || !entry.call->claim()) continue;
      Error failed = error;
      failed.context.started = true;
      entry.call->add_reference();  // the journal's, until the response or the death
      give_up(*entry.call, std::move(failed));
    }
  }
}

}  // namespace samovar::core
