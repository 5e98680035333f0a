#include "core/dispatch/breaker.h"

namespace samovar::core {

using Answer = BreakerStep::Answer;
using Change = BreakerStep::Change;

BreakerStep Breaker::next(BreakerEvent event, std::int64_t now_ns, std::uint32_t period) {
  if (event == BreakerEvent::call) return call(now_ns);
  if (event == BreakerEvent::failed) {
    return state_ == BreakerState::closed && is_one_too_many(now_ns) ? open(now_ns) : BreakerStep{};
  }
  if (state_ != BreakerState::half_open || period != period_) return {};
  --probing_;
  if (event == BreakerEvent::probe_failed) return open(now_ns);
  if (event == BreakerEvent::probe_succeeded && ++succeeded_ == rules_.probes) {
    state_ = BreakerState::closed;
    return {.change = Change::closed};
  }
  return {};
}

BreakerStep Breaker::call(std::int64_t now_ns) {
  BreakerStep step{.answer = Answer::probe};
  switch (state_) {
    case BreakerState::closed: return {.answer = Answer::pass};
    case BreakerState::open:
      if (now_ns < retry_ns_) return {.answer = Answer::refuse};
      state_ = BreakerState::half_open;
      ++period_;
      probing_ = succeeded_ = 0;
      step.change = Change::probing;
      break;
    case BreakerState::half_open:
      if (probing_ + succeeded_ >= rules_.probes) return {.answer = Answer::refuse};
      break;
  }
  ++probing_;
  return step;
}

BreakerStep Breaker::open(std::int64_t now_ns) {
  state_ = BreakerState::open;
  retry_ns_ = now_ns + rules_.delay_ns;
  failed_ns_.clear();
  oldest_ = 0;
  return {.change = Change::opened};
}

bool Breaker::is_one_too_many(std::int64_t now_ns) {
  if (rules_.failures == 0) return false;
  if (failed_ns_.size() < rules_.failures) {
    failed_ns_.push_back(now_ns);
  } else {
    failed_ns_[oldest_] = now_ns;
    oldest_ = (oldest_ + 1) % failed_ns_.size();
  }
  return failed_ns_.size() == rules_.failures && now_ns - failed_ns_[oldest_] <= rules_.window_ns;
}

}  // namespace samovar::core
