#include "core/observe/call_events.h"

#include <string>
#include <utility>

namespace samovar::core {
namespace {

std::string calls(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " call" : " calls"); }

}  // namespace

void CallEvents::tell(Events& events) {
  std::vector<std::uint64_t> timed_out;
  std::uint64_t full;
  {
    const std::lock_guard lock(mutex_);
    timed_out.swap(timed_out_);
    full = std::exchange(full_, 0);
  }
  const MethodTable& methods = methods_.now();
  for (std::uint32_t method = 0; method < timed_out.size(); ++method) {
    if (timed_out[method] == 0) continue;
    events.tell({.kind = EventKind::calls_timed_out,
                 .message = calls(timed_out[method]) + " of \"" + methods.name(method) + "\" ended at the deadline",
                 .method = methods.name(method),
                 .count = timed_out[method]});
  }
  if (full > 0) {
    events.tell({.kind = EventKind::queue_full, .message = calls(full) + " refused, because queue_limit waited already", .count = full});
  }
}

}  // namespace samovar::core
