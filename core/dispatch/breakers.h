// Breakers: one for each method and one for the pool; what happens to calls, told to them, and the events that follow.
//
// Threads: any. A call that finds all of them closed has read one word, which is written only when one opens or closes; whoever
// reads it late is as if it had come a moment earlier. While one is not closed each call takes the one mutex, which nobody keeps.
// Invariant: each Probe that admit() gave out ends exactly once, by probe_ended(): whoever writes a call's outcome, or refuses it, does so.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <samovar/error.h>
#include <samovar/options.h>

#include "core/dispatch/breaker.h"
#include "core/dispatch/method_table.h"
#include "core/observe/events.h"
#include "ipc/layout.h"

namespace samovar::core {

// What a call's outcome tells a breaker: worker_lost and deadline_exceeded of a call that may have run are failures. What the method
// answered, an exception included, is a success; everything else shows nothing.
enum class Finding : std::uint8_t { success, failure, nothing };
Finding finding_of(const Error& error);

class Breakers {
 public:
  // The periods of the breakers whose probe a call is; 0: of none.
  struct Probe {
    std::uint32_t of_method = 0;
    std::uint32_t of_pool = 0;

    explicit operator bool() const { return (of_method | of_pool) != 0; }
  };

  // All outlive this.
  Breakers(const Options& options, const MethodTable& methods, Events& events);

  void extend(const MethodTable& methods);  // a table with more methods at its end

  bool all_closed() const { return shut_.load(std::memory_order_relaxed) == 0; }

  // Whether a call may go on, and as whose probe. Fails: breaker_open.
  Result<Probe> admit(std::uint32_t method);

  // `error`: null of a reply.
  void probe_ended(std::uint32_t method, Probe probe, const Error* error);

  // A call has ended in worker_lost while it ran; its message says why.
  void lost(std::uint32_t method, std::string_view why) { failed(method, why); }
  // A call that has ended in deadline_exceeded is known to have begun.
  void unanswered(std::uint32_t method) { failed(method, {}); }

 private:
  struct Gate {
    Gate(std::string of, const BreakerRules& rules) : method(std::move(of)), breaker(rules) {}

    const std::string method;       // empty: the pool's
    bool shut = false;  // not closed
    Breaker breaker;
    std::string why;    // what the last failure was
  };

  void failed(std::uint32_t method, std::string_view why);
  void step(Gate& gate, BreakerEvent event, std::int64_t now_ns, std::uint32_t period = 0);
  void follow(Gate& gate, BreakerStep::Change change);
  tl::unexpected<Error> refuse(std::uint32_t method, const Gate& gate, std::int64_t now_ns) const;

  const Options& options_;
  Events& events_;
  const bool can_open_;
  std::deque<Gate> gates_;  // guarded by mutex_: of the methods, by number
  Gate pool_gate_;          // guarded by mutex_
  alignas(ipc::kCacheLineBytes) std::atomic<std::uint32_t> shut_{0};  // breakers that are not closed; written under mutex_
  alignas(ipc::kCacheLineBytes) std::mutex mutex_;
};

}  // namespace samovar::core
