#include "core/observe/call_events.h"

#include <string>
#include <utility>

namespace samovar::core {
namespace {

std::string calls(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " call" : " calls"); }

// What `counter` has gained since it was `told`.
std::uint64_t news(const SharedCounter& counter, std::uint64_t& told) {
  const std::uint64_t now = counter.get();
  return now - std::exchange(told, now);
}

}  // namespace

void CallEvents::tell(Events& events) {
  for (std::uint32_t method = 0; method < timed_out_.size(); ++method) {
    const std::uint64_t count = news(timed_out_[method], told_[method]);
    if (count == 0) continue;
    events.tell({.kind = EventKind::calls_timed_out,
                 .message = calls(count) + " of \"" + methods_.name(method) + "\" ended at the deadline",
                 .method = methods_.name(method),
                 .count = count});
  }
  if (const std::uint64_t count = news(full_, told_full_)) {
    events.tell({.kind = EventKind::queue_full,
                 .message = calls(count) + " refused, because queue_limit waited already",
                 .count = count});
  }
}

}  // namespace samovar::core
