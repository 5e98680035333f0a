#include "bench/whole/floor.h"

#include "bench/whole/processes.h"
#include "bench/whole/twin.h"
#include "ipc/clock.h"
#include "ipc/doorbell.h"

namespace samovar::bench {
namespace {

constexpr std::uint32_t kRoundOver = 0xffff'ffff;
constexpr std::int64_t kTwinLookNs = 1'000'000'000;
constexpr std::int64_t kAwakeLimitNs = 5'000'000'000;
constexpr std::uint32_t kLooksBetweenProofs = 1u << 26;  // some tens of milliseconds

[[noreturn]] void answer(TwinPage& page) {
  for (std::uint32_t round = 0;;) {
    while (page.rounds.load(std::memory_order_acquire) == round) {
      ipc::futex_wait(page.rounds, round, ipc::now_ns() + kTwinLookNs);
    }
    round = page.rounds.load(std::memory_order_acquire);
    std::uint32_t seen = page.ping.load(std::memory_order_acquire);
    page.awake.store(round, std::memory_order_release);
    for (;;) {
      std::uint32_t ping;
      while ((ping = page.ping.load(std::memory_order_acquire)) == seen) {
      }
      seen = ping;
      page.pong.store(ping, std::memory_order_release);
      if (ping == kRoundOver) break;
    }
  }
}

class Floor final : public Contestant {
 public:
  Floor(std::unique_ptr<Twin> twin, std::int64_t timestamp_ns) : twin_(std::move(twin)), timestamp_ns_(timestamp_ns) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    TwinPage& page = twin_->page();
    page.ping.store(0, std::memory_order_release);
    const std::uint32_t round = page.rounds.load(std::memory_order_relaxed) + 1;
    page.rounds.store(round, std::memory_order_release);
    ipc::futex_wake_one(page.rounds);
    const std::int64_t deadline_ns = ipc::now_ns() + kAwakeLimitNs;
    while (page.awake.load(std::memory_order_acquire) != round) {
      if (ipc::now_ns() > deadline_ns) return tl::unexpected(std::string("the floor's second process does not run"));
    }

    std::uint32_t ping = 0;
    for (std::size_t i = 0; i < warm_up_trips(samples_ns.size()); ++i) {
      if (!trip(page, ++ping)) return gone();
    }
    std::int64_t begin_ns = ipc::now_ns();
    for (std::int64_t& sample : samples_ns) {
      if (!trip(page, ++ping)) return gone();
      const std::int64_t end_ns = ipc::now_ns();
      sample = end_ns - begin_ns - timestamp_ns_;
      begin_ns = end_ns;
    }
    if (!trip(page, kRoundOver)) return gone();
    return {};
  }

  void park() override { wait_until_asleep(twin_->pid(), std::chrono::seconds(1)); }

 private:
  bool trip(TwinPage& page, std::uint32_t ping) {
    page.ping.store(ping, std::memory_order_release);
    for (std::uint32_t looks = 1; page.pong.load(std::memory_order_acquire) != ping; ++looks) {
      if (looks % kLooksBetweenProofs == 0 && !twin_->alive()) return false;
    }
    return true;
  }

  static Outcome gone() { return tl::unexpected(std::string("the floor's second process has ended")); }

  std::unique_ptr<Twin> twin_;
  std::int64_t timestamp_ns_;
};

}  // namespace

Made<std::unique_ptr<Contestant>> make_floor(const Placement& placement, std::int64_t timestamp_ns) {
  auto twin = Twin::start(placement.worker_cpu, answer);
  if (!twin) return tl::unexpected(twin.error());
  return std::make_unique<Floor>(std::move(*twin), timestamp_ns);
}

}  // namespace samovar::bench
