#include "ipc/pulse.h"

#include <algorithm>

namespace samovar::ipc {
namespace {

std::int64_t after(std::int64_t now_ns, std::int64_t duration_ns) {
  return duration_ns < kNever - now_ns ? now_ns + duration_ns : kNever;
}

}  // namespace

std::optional<std::uint64_t> PulseWriter::in_hand() const {
  const std::int64_t turn_began_ns = page_->turn_began_ns.load(std::memory_order_relaxed);
  if (turn_began_ns < 0) return std::nullopt;
  if (turn_began_ns > 0) return static_cast<std::uint64_t>(turn_began_ns);
  const std::uint64_t place = page_->requests_consumed.load(std::memory_order_relaxed);
  const std::byte* granule = request_lane_ + (place & (lane_bytes_ - 1));
  const auto* commit = reinterpret_cast<const std::atomic<std::uint64_t>*>(granule);
  // A wrap word is valid, too, and stored after the record that it leads to.
  if ((commit->load(std::memory_order_relaxed) & kCommitValid) == 0) return std::nullopt;
  return place;
}

bool ProbeSchedule::look(std::int64_t now_ns, std::optional<std::uint64_t> in_hand) {
  if (heartbeat_ns_ == 0) {
    next_look_ns_ = kNever;
    return false;
  }
  if (in_hand != in_hand_) {
    in_hand_ = in_hand;
    probe_due_ns_ = in_hand ? after(now_ns, probe_after_ns_) : kNever;
  }
  const bool probe = probe_due_ns_ <= now_ns;
  if (probe) probe_due_ns_ = after(now_ns, heartbeat_ns_);
  next_look_ns_ = std::min(after(now_ns, heartbeat_ns_), probe_due_ns_);
  return probe;
}

}  // namespace samovar::ipc
