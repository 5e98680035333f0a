#include "tests/stress/load.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr int kCallers = 3;
constexpr int kOutstandingMax = 60;
constexpr std::size_t kBatchMax = 40;
constexpr std::size_t kCancellableMax = 200;
constexpr std::uint64_t kPrinted = 10;  // of unexpected errors

constexpr Kind kSmall{"checked", Answer::checksum};
constexpr Kind kHurried{"checked", Answer::checksum, 200, 300us};
constexpr Kind kLarge{"checked", Answer::checksum, 60'000};          // in the request arena
constexpr Kind kReturned{"returns_its_argument", Answer::argument, 60'000};
constexpr Kind kSlow{"sleeps", Answer::checksum};
constexpr Kind kLate{"sleeps", Answer::checksum, 200, 5ms};          // its reply comes after its outcome
constexpr Kind kRaised{"raises", Answer::value_error};

const Kind& any_kind(std::minstd_rand& dice) {
  const auto number = dice() % 1000;
  if (number < 750) return kSmall;
  if (number < 850) return kHurried;
  if (number < 910) return kLarge;
  if (number < 960) return kReturned;
  if (number < 970) return kSlow;
  return number < 975 ? kLate : kRaised;
}

bool is_right(const Sent& call, const Reply& reply) {
  switch (call.kind.answer) {
    case Answer::checksum: return call.payload.is_answered_by(reply);
    case Answer::argument: {
      const Payload payload = call.payload.payload();
      return reply.data().size() == payload.data().size() &&
             std::memcmp(reply.data().data(), payload.data().data(), reply.data().size()) == 0;
    }
    default: return false;
  }
}

bool is_expected(const Sent& call, const Error& error) {
  switch (error.code) {
    case Code::worker_lost:
    case Code::queue_full:
    case Code::pool_quarantined: return true;
    case Code::deadline_exceeded: return call.kind.timeout < kSmall.timeout;
    case Code::cancelled: return call.stop.stop_requested();
    case Code::method_failed:
      return (call.kind.answer == Answer::value_error && error.context.python_type == "ValueError") ||
             (call.kind.answer == Answer::memory_error && error.context.python_type == "MemoryError");
    default: return false;
  }
}

}  // namespace

void Tally::count(Sent& call, const Result<Reply>& outcome) {
  told_twice += call.told.fetch_add(1) != 0;
  if (outcome) {
    ++replied;
    if (!is_right(call, *outcome)) ++(outcome->worker() == kScribbler ? untrusted : wrong);
    return;
  }
  ++failed;
  const Error& error = outcome.error();
  ++codes.at(static_cast<std::size_t>(error.code));
  if (is_expected(call, error)) return;
  if (error.context.worker == kScribbler) {
    ++untrusted;
  } else if (unexpected.fetch_add(1) < kPrinted) {
    std::printf("a call of %s was told %s\n", call.kind.method, error.to_string().c_str());
  }
}

std::string Tally::to_string() const {
  std::string text = std::to_string(sent) + " calls, " + std::to_string(replied) + " replies (" + std::to_string(untrusted) +
                     " of a scribbling worker wrong)";
  for (std::size_t code = 0; code < codes.size(); ++code) {
    if (codes[code] > 0) text += ", " + std::string(samovar::to_string(static_cast<Code>(code))) + " " + std::to_string(codes[code]);
  }
  return text;
}

void Load::start() {
  running_ = true;
  const std::uint64_t first = seed_ + 1000 * ++rounds_;
  const auto dice = [&](std::uint64_t thread) { return std::minstd_rand(static_cast<unsigned>(first + thread)); };
  for (unsigned caller = 0; caller < kCallers; ++caller) threads_.emplace_back([this, d = dice(caller)] { call_for_ever(d); });
  threads_.emplace_back([this, d = dice(100)] { submit_for_ever(d); });
  threads_.emplace_back([this, d = dice(200)] { await_for_ever(d); });
  threads_.emplace_back([this, d = dice(300)] { call_many_for_ever(d); });
}

void Load::stop() {
  running_ = false;
  threads_.clear();
  EXPECT_TRUE(wait_until([&] { return pool_.poll(), outstanding_ == 0; }, 3 * kPatience)) << outstanding_ << " calls have no outcome";
  const std::lock_guard lock(mutex_);
  cancellable_.clear();
}

std::shared_ptr<Sent> Load::make(const Kind& kind, std::minstd_rand& dice) {
  auto call = std::make_shared<Sent>(kind, number_++, dice() % kind.bytes_max, dice);
  call->options = {.timeout = kind.timeout, .when_full = dice() % 8 ? WhenFull::wait : WhenFull::fail, .idempotent = dice() % 4 == 0};
  if (dice() % 16 == 0) {
    call->options.stop = call->stop.get_token();
    const std::lock_guard lock(mutex_);
    if (cancellable_.size() == kCancellableMax) cancellable_.clear();
    cancellable_.push_back(call->stop);
  }
  ++tally_.sent;
  return call;
}

std::shared_ptr<Sent> Load::make_any(std::minstd_rand& dice) { return make(any_kind(dice), dice); }

void Load::cancel_some() {
  std::vector<std::stop_source> some;
  {
    const std::lock_guard lock(mutex_);
    some.swap(cancellable_);
  }
  for (std::stop_source& source : some) source.request_stop();
}

void Load::submit(std::shared_ptr<Sent> call) {
  ++outstanding_;
  const Result<void> accepted = pool_.submit(
      call->kind.method, call->payload.payload(),
      [this, call](Result<Reply> outcome) {
        tally_.count(*call, outcome);
        --outstanding_;
      },
      call->options);
  if (accepted) return;
  tally_.count(*call, tl::unexpected(accepted.error()));
  --outstanding_;
}

void Load::send(const Kind& kind, bool idempotent, std::minstd_rand& dice) {
  std::shared_ptr<Sent> call = make(kind, dice);
  call->options.idempotent = idempotent;
  call->options.when_full = WhenFull::fail;
  submit(std::move(call));
}

Detached Load::await(AsyncCall call, Load& load, std::shared_ptr<Sent> sent) {
  const Result<Reply> outcome = co_await call;
  load.tally_.count(*sent, outcome);
  --load.outstanding_;
}

void Load::call_for_ever(std::minstd_rand dice) {
  while (running_) {
    const std::shared_ptr<Sent> call = make_any(dice);
    tally_.count(*call, pool_.call(call->kind.method, call->payload.payload(), call->options));
  }
}

void Load::submit_for_ever(std::minstd_rand dice) {
  while (running_) {
    if (outstanding_ < kOutstandingMax) submit(make_any(dice));
    pool_.poll();
  }
}

void Load::await_for_ever(std::minstd_rand dice) {
  while (running_) {
    if (outstanding_ < kOutstandingMax) {
      std::shared_ptr<Sent> call = make_any(dice);
      ++outstanding_;
      await(pool_.async_call(call->kind.method, call->payload.payload(), call->options), *this, call);
    }
    pool_.poll();
  }
}

void Load::call_many_for_ever(std::minstd_rand dice) {
  while (running_) {
    std::vector<std::shared_ptr<Sent>> calls;
    std::vector<Request> requests;
    for (std::size_t i = 0, count = 1 + dice() % kBatchMax; i < count; ++i) {
      calls.push_back(make(dice() % 8 ? kSmall : kLarge, dice));
      requests.push_back({calls.back()->kind.method, calls.back()->payload.payload()});
    }
    const auto outcomes = pool_.call_many(requests, {.timeout = kSmall.timeout, .idempotent = dice() % 2 == 0});
    if (outcomes.size() != calls.size()) ADD_FAILURE() << outcomes.size() << " outcomes of " << calls.size() << " calls";
    for (std::size_t i = 0; i < outcomes.size() && i < calls.size(); ++i) tally_.count(*calls[i], outcomes[i]);
  }
}

}  // namespace samovar::test
