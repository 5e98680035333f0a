// Breaker: whether calls are let through after too many of them have failed. Pure: a state, an event and the time make the next state.
//
//   closed ─the last failure of too many▶ open ─call, after the delay▶ half_open ─as many successes as probes▶ closed
//                                          ▲                               │
//                                          └─────────probe_failed──────────┘
//
// While it is closed only failures are counted, so a success costs nothing. While it is not, only probes matter: what was let
// through before it opened says nothing about now.
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace samovar::core {

enum class BreakerState : std::uint8_t { closed, open, half_open };
inline constexpr int kBreakerStates = 3;

enum class BreakerEvent : std::uint8_t {
  call,             // one asks to be let through
  failed,           // one that was no probe
  probe_succeeded,  // a probe is a call that was let through while half-open; it ends in exactly one of these
  probe_failed,
  probe_dropped,    // it ended without having shown anything: cancelled, refused by a full queue, or never sent
};
inline constexpr int kBreakerEvents = 5;

struct BreakerRules {
  std::uint32_t failures = 0;  // so many within the window open it; 0: it never opens
  std::int64_t window_ns = 0;
  std::int64_t delay_ns = 0;   // from open until the first probe
  std::uint32_t probes = 1;    // at once while half-open; so many successes close it
};

struct BreakerStep {
  enum class Answer : std::uint8_t { pass, probe, refuse };  // to BreakerEvent::call
  enum class Change : std::uint8_t { none, opened, probing, closed };

  Answer answer = Answer::pass;
  Change change = Change::none;

  bool operator==(const BreakerStep&) const = default;
};

class Breaker {
 public:
  explicit Breaker(const BreakerRules& rules) : rules_(rules) {}

  // `period`: of a probe's event, the period() in which it was let through. Probes of a former period change nothing.
  BreakerStep next(BreakerEvent event, std::int64_t now_ns, std::uint32_t period = 0);

  BreakerState state() const { return state_; }
  std::uint32_t period() const { return period_; }      // counts how often it was half-open; from 1
  std::int64_t retry_ns() const { return retry_ns_; }   // while open: when a probe will be let through

 private:
  BreakerStep call(std::int64_t now_ns);
  BreakerStep open(std::int64_t now_ns);
  bool is_one_too_many(std::int64_t now_ns);

  BreakerRules rules_;
  BreakerState state_ = BreakerState::closed;
  std::vector<std::int64_t> failed_ns_;  // closed: when the last rules_.failures were, a ring once it is full
  std::size_t oldest_ = 0;               // in failed_ns_
  std::int64_t retry_ns_ = 0;
  std::uint32_t period_ = 0;
  std::uint32_t probing_ = 0;            // half_open: probes without an outcome
  std::uint32_t succeeded_ = 0;          // half_open
};

}  // namespace samovar::core
