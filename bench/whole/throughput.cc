#include "bench/whole/throughput.h"

#include <algorithm>
#include <array>
#include <limits>

#include "bench/whole/processes.h"
#include "ipc/clock.h"
#include "samovar/pool.h"

namespace samovar::bench {
namespace {

constexpr std::int64_t kServeLimitNs = 30'000'000'000;

class PoolFlow final : public Flow {
 public:
  PoolFlow(Pool& pool, pid_t worker, std::size_t payload_bytes, std::size_t window)
      : pool_(pool), worker_(worker), payload_(payload_bytes, std::byte{0x42}), window_(window) {}

  Outcome serve(std::size_t calls) override {
    const std::int64_t deadline_ns = ipc::now_ns() + kServeLimitNs;
    const std::size_t end = done_ + calls;
    std::size_t sent = done_;
    wrong_ = 0;
    first_error_.clear();
    while (done_ < end) {
      for (; sent < end && sent - done_ < window_; ++sent) {
        auto accepted = pool_.submit("noop", bytes(payload_), [this](Result<Reply> reply) noexcept { finished(reply); });
        if (!accepted) return tl::unexpected(accepted.error().to_string());
      }
      if (pool_.poll() == 0 && ipc::now_ns() > deadline_ns) return tl::unexpected(std::string("answers stay away"));
    }
    if (wrong_ != 0) return tl::unexpected(std::to_string(wrong_) + " wrong answers; the first: " + first_error_);
    return {};
  }

  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  void finished(const Result<Reply>& reply) {
    ++done_;
    if (reply && reply->data().size() == payload_.size()) return;
    if (wrong_++ == 0) first_error_ = reply ? "a reply of another size" : reply.error().to_string();
  }

  Pool& pool_;
  pid_t worker_;
  std::vector<std::byte> payload_;
  std::size_t window_;
  std::size_t done_ = 0;
  std::size_t wrong_ = 0;
  std::string first_error_;
};

}  // namespace

double FlowEntry::best() const {
  return per_second.empty() ? std::numeric_limits<double>::quiet_NaN()
                            : *std::max_element(per_second.begin(), per_second.end());
}

void interleave_flows(std::span<FlowEntry> entries, std::size_t calls_per_round, const Rounds& rounds) {
  const std::int64_t end_ns = ipc::now_ns() + rounds.budget.count();
  for (FlowEntry& entry : entries) entry.flow->park();
  for (std::size_t round = 0; round <= rounds.rounds_min || ipc::now_ns() < end_ns; ++round) {
    for (FlowEntry& entry : entries) {
      if (!entry.error.empty()) continue;
      const std::size_t warm_up = warm_up_trips(calls_per_round);
      Outcome outcome = entry.flow->serve(warm_up);
      const std::int64_t begin_ns = ipc::now_ns();
      if (outcome) outcome = entry.flow->serve(calls_per_round);
      const double seconds = static_cast<double>(ipc::now_ns() - begin_ns) / 1e9;
      entry.flow->park();
      if (!outcome) {
        entry.error = outcome.error();
      } else if (round != 0) {
        entry.per_second.push_back(static_cast<double>(calls_per_round) / seconds);
      }
    }
  }
}

double median_ratio(const FlowEntry& a, const FlowEntry& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(a.per_second.size(), b.per_second.size()); ++i) {
    ratios.push_back(a.per_second[i] / b.per_second[i]);
  }
  return median(std::move(ratios));
}

std::unique_ptr<Flow> make_pool_flow(Pool& pool, pid_t worker, std::size_t payload_bytes, std::size_t window) {
  return std::make_unique<PoolFlow>(pool, worker, payload_bytes, window);
}

}  // namespace samovar::bench
