#include "bench/whole/interfaces.h"

#include <optional>
#include <utility>
#include <vector>

#include "bench/whole/processes.h"
#include "ipc/clock.h"
#include "samovar/samovar.h"

namespace samovar::bench {
namespace {

constexpr double kPrice = 1.0842;  // noop.py
constexpr std::int64_t kRoundLimitNs = 30'000'000'000;

class TypedCall final : public TimedTrips {
 public:
  TypedCall(Pool& pool, pid_t worker, std::int64_t timestamp_ns)
      : TimedTrips(timestamp_ns), price_(pool.method<double(std::string_view, std::int64_t)>("price")), worker_(worker) {}

  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    const Result<double> price = price_("EURUSD", 1'000'000);
    if (!price) return tl::unexpected(price.error().to_string());
    if (*price != kPrice) return tl::unexpected(std::string("another price"));
    return {};
  }

  Method<double(std::string_view, std::int64_t)> price_;
  pid_t worker_;
};

class AwaitedCall final : public Contestant {
 public:
  AwaitedCall(Pool& pool, pid_t worker, std::size_t payload_bytes, std::int64_t timestamp_ns)
      : pool_(pool), worker_(worker), payload_(payload_bytes, std::byte{0x42}), timestamp_ns_(timestamp_ns) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    outcome_.reset();
    trips(samples_ns);
    const std::int64_t deadline_ns = ipc::now_ns() + kRoundLimitNs;
    while (!outcome_) {
      if (pool_.poll() == 0 && ipc::now_ns() > deadline_ns) return tl::unexpected(std::string("answers stay away"));
    }
    return *outcome_;
  }

  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Detached trips(std::span<std::int64_t> samples_ns) {
    Outcome outcome;
    const auto check = [&](const Result<Reply>& reply) {
      if (!reply) {
        outcome = tl::unexpected(reply.error().to_string());
      } else if (reply->data().size() != payload_.size()) {
        outcome = tl::unexpected(std::string("a reply of another size"));
      }
      return outcome.has_value();
    };
    for (std::size_t i = 0; i < warm_up_trips(samples_ns.size()) && outcome; ++i) {
      check(co_await pool_.async_call("noop", bytes(payload_)));
    }
    std::int64_t begin_ns = ipc::now_ns();
    for (std::int64_t& sample : samples_ns) {
      if (!check(co_await pool_.async_call("noop", bytes(payload_)))) break;
      const std::int64_t end_ns = ipc::now_ns();
      sample = end_ns - begin_ns - timestamp_ns_;
      begin_ns = end_ns;
    }
    outcome_ = std::move(outcome);
  }

  Pool& pool_;
  pid_t worker_;
  std::vector<std::byte> payload_;
  std::int64_t timestamp_ns_;
  std::optional<Outcome> outcome_;
};

}  // namespace

std::unique_ptr<Contestant> make_typed_call(Pool& pool, pid_t worker, std::int64_t timestamp_ns) {
  return std::make_unique<TypedCall>(pool, worker, timestamp_ns);
}

std::unique_ptr<Contestant> make_awaited_call(Pool& pool, pid_t worker, std::size_t payload_bytes, std::int64_t timestamp_ns) {
  return std::make_unique<AwaitedCall>(pool, worker, payload_bytes, timestamp_ns);
}

}  // namespace samovar::bench
