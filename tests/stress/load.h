// Load: calls of every way and size from many threads, and what became of each of them. The methods are those of chaos.py.
//
// Threads: send() and tally() any; the threads of the load run from start() to stop().
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <samovar/samovar.h>

#include "tests/stress/stress.h"

namespace samovar::test {

inline constexpr int kScribbler = 0;  // the worker whose word counts for nothing: see chaos.py

// What a call may be told, besides what chaos does to any call.
enum class Answer : std::uint8_t { checksum, argument, value_error, memory_error, none };

struct Kind {
  const char* method;
  Answer answer;
  std::size_t bytes_max = 200;
  Duration timeout = std::chrono::seconds(30);  // nothing that the pool does to a worker takes so long
};

// What goes wrong by itself.
inline constexpr Kind kLoops{"loops", Answer::none, 200, std::chrono::milliseconds(30)};
inline constexpr Kind kWedges{"wedges", Answer::none};
inline constexpr Kind kExits{"exits", Answer::none, 20'000};
inline constexpr Kind kCrashes{"crashes", Answer::none};
inline constexpr Kind kHogs{"hogs", Answer::memory_error};
inline constexpr Kind kRaises{"raises", Answer::value_error};
inline constexpr Kind kLeavesAChild{"leaves_a_child", Answer::checksum};
inline constexpr Kind kScribbles{"scribbles", Answer::checksum};

// A call, and whether it was told its outcome.
struct Sent {
  Sent(const Kind& what, std::uint64_t number, std::size_t bytes, std::minstd_rand& dice) : kind(what), payload(number, bytes, dice) {}
  Kind kind;
  CheckedPayload payload;
  CallOptions options;
  std::stop_source stop;
  std::atomic<int> told = 0;
};

struct Tally {
  std::atomic<std::uint64_t> sent{0}, replied{0}, failed{0};
  std::atomic<std::uint64_t> wrong{0};       // replies
  std::atomic<std::uint64_t> unexpected{0};  // errors; the first are printed
  std::atomic<std::uint64_t> untrusted{0};   // either, from the scribbler
  std::atomic<std::uint64_t> told_twice{0};
  std::array<std::atomic<std::uint64_t>, 32> codes{};

  void count(Sent& call, const Result<Reply>& outcome);
  std::string to_string() const;
};

class Load {
 public:
  Load(Pool& pool, std::uint64_t seed) : pool_(pool), seed_(seed) {}
  ~Load() { stop(); }

  void start();
  void stop();  // and waits until each call has been told its outcome, or fails the test

  void send(const Kind& kind, bool idempotent, std::minstd_rand& dice);  // one more, by submit()
  void cancel_some();                                                    // of those that may be cancelled
  const Tally& tally() const { return tally_; }

 private:
  std::shared_ptr<Sent> make(const Kind& kind, std::minstd_rand& dice);
  std::shared_ptr<Sent> make_any(std::minstd_rand& dice);
  void submit(std::shared_ptr<Sent> call);
  static Detached await(AsyncCall call, Load& load, std::shared_ptr<Sent> sent);

  void call_for_ever(std::minstd_rand dice);
  void submit_for_ever(std::minstd_rand dice);
  void await_for_ever(std::minstd_rand dice);
  void call_many_for_ever(std::minstd_rand dice);

  Pool& pool_;
  const std::uint64_t seed_;
  Tally tally_;
  std::atomic<bool> running_ = false;
  std::atomic<int> outstanding_ = 0;     // of submit() and async_call()
  std::atomic<std::uint64_t> number_ = 0;
  std::atomic<std::uint64_t> rounds_ = 0;
  std::mutex mutex_;
  std::vector<std::stop_source> cancellable_;  // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace samovar::test
