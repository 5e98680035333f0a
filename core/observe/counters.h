// Counters of a pool, each in one place. Relaxed: they order nothing.
#pragma once

#include <atomic>
#include <cstdint>

namespace samovar::core {

// Written by one thread at a time (the holder of the dispatch token).
class OwnedCounter {
 public:
  void add(std::uint64_t n = 1) { value_.store(get() + n, std::memory_order_relaxed); }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Written by any thread.
class SharedCounter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  void subtract(std::uint64_t n = 1) { value_.fetch_sub(n, std::memory_order_relaxed); }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Of this moment. Written by one thread.
class Gauge {
 public:
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Counters {
  OwnedCounter replied;
  OwnedCounter failed_by_dispatcher;  // outcomes that were errors, given by the dispatcher
  OwnedCounter timed_out_by_dispatcher;
  OwnedCounter calls_lost;
  OwnedCounter requeued;
  OwnedCounter taken_back;
  OwnedCounter late_replies;
  OwnedCounter in_flight_sent;        // minus in_flight_ended: calls in lanes
  OwnedCounter in_flight_ended;
  OwnedCounter views_escaped;         // minus views_returned: payloads viewed after their calls
  OwnedCounter views_returned;

  SharedCounter failed_by_waiter;     // outcomes that were errors, given by the waiter's deadline or stop_token
  SharedCounter timed_out_by_waiter;
  SharedCounter cancelled;
  SharedCounter rejected;
  SharedCounter one_shots;            // processes started for one call
  SharedCounter replied_alone;        // outcomes of such calls
  SharedCounter failed_alone;
  SharedCounter timed_out_alone;
  SharedCounter lost_alone;
  SharedCounter asynchronous;         // calls with a callback and no outcome yet
  SharedCounter workers_lost;
  SharedCounter workers_killed;       // of them: overdue, wedged or stopped
  SharedCounter workers_recycled;
  SharedCounter overflow_started;
  SharedCounter overflow_ended;       // as planned
  SharedCounter violations;
  SharedCounter workers_ready;        // a gauge
  Gauge workers_base;
  Gauge workers_overflow;

  std::uint64_t escaped_views() const { return views_escaped.get() - views_returned.get(); }
  std::uint64_t outcomes() const { return replied.get() + failed_by_dispatcher.get() + failed_by_waiter.get() + replied_alone.get() + failed_alone.get(); }
};

}  // namespace samovar::core
