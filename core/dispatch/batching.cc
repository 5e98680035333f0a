#include "core/dispatch/batching.h"

#include <algorithm>
#include <numeric>

namespace samovar::core {
namespace {

// `point_ns` and as long again, where that is a point in time.
std::int64_t later(std::int64_t point_ns, std::int64_t wait_ns) {
  return wait_ns < ipc::kNever - point_ns ? point_ns + wait_ns : ipc::kNever;
}

}  // namespace

bool Batching::add(Call& call, const BatchRule& rule, std::int64_t now_ns) {
  if (call.method >= groups_.size()) groups_.resize(call.method + 1);
  Group& group = groups_[call.method];
  const std::int64_t due_ns = group.due_ns;
  if (group.size == 0) {
    active_.push_back(call.method);
    group.began_ns = now_ns;
    group.due_ns = rule.wait_ns == 0 ? 0 : later(now_ns, rule.wait_ns);
  }
  group.max = std::max(rule.max, 1u);
  if (call.deadline_ns != ipc::kNever) group.due_ns = std::min(group.due_ns, std::midpoint(group.began_ns, call.deadline_ns));
  group.calls.insert(call);
  call.in_batch = true;
  ++group.size;
  ++size_;
  return group.due_ns < due_ns || group.size == group.max;
}

void Batching::remove(Call& call) {
  Group& group = groups_[call.method];
  group.calls.remove(call);
  call.in_batch = false;
  --size_;
  if (--group.size != 0) return;  // those left have waited, too: they are due when the one that went was
  group.due_ns = ipc::kNever;
  std::erase(active_, call.method);
}

std::int64_t Batching::due_ns() const {
  std::int64_t due_ns = ipc::kNever;
  for (const std::uint32_t method : active_) {
    const Group& group = groups_[method];
    due_ns = std::min(due_ns, group.size >= group.max ? 0 : group.due_ns);
  }
  return due_ns;
}

Call* Batching::next_ready(std::int64_t now_ns) const {
  Call* oldest = nullptr;
  for (const std::uint32_t method : active_) {
    const Group& group = groups_[method];
    Call* first = group.calls.front();
    if (is_ready(method, now_ns) && (!oldest || first->ticket < oldest->ticket)) oldest = first;
  }
  return oldest;
}

Batching::Waiting Batching::ready_at(std::int64_t now_ns) const {
  Waiting waiting;
  for (const std::uint32_t method : active_) {
    const Group& group = groups_[method];
    if (!is_ready(method, now_ns)) continue;
    waiting.batches += (group.size + group.max - 1) / group.max;
    const std::uint64_t ticket = group.calls.front()->ticket;
    waiting.oldest = waiting.oldest == 0 ? ticket : std::min(waiting.oldest, ticket);
  }
  return waiting;
}

}  // namespace samovar::core
