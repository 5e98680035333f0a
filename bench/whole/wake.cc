#include "bench/whole/wake.h"

#include <thread>

#include "bench/whole/processes.h"
#include "bench/whole/twin.h"
#include "ipc/clock.h"
#include "ipc/doorbell.h"
#include "samovar/pool.h"

namespace samovar::bench {
namespace {

constexpr std::chrono::seconds kAsleepLimit{1};
constexpr std::int64_t kWaitLimitNs = 1'000'000'000;

Outcome gap(pid_t peer) {
  std::this_thread::sleep_for(kWakeGap);
  if (!wait_until_asleep(peer, kAsleepLimit))
    return tl::unexpected(std::string("the process to be woken does not go to sleep"));
  return {};
}

class ParkedCall final : public Contestant {
 public:
  ParkedCall(Pool& pool, pid_t worker, std::size_t payload_bytes)
      : pool_(pool), worker_(worker), payload_(payload_bytes, std::byte{0x42}) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    for (std::int64_t& sample : samples_ns) {
      if (Outcome parked = gap(worker_); !parked) return parked;
      const std::int64_t begin_ns = ipc::now_ns();
      const Result<Reply> reply = pool_.call("noop", bytes(payload_));
      sample = ipc::now_ns() - begin_ns;
      if (!reply) return tl::unexpected(reply.error().to_string());
    }
    return {};
  }

 private:
  Pool& pool_;
  pid_t worker_;
  std::vector<std::byte> payload_;
};

// Sleeps until `word` is no longer `seen`. Looks first, as any user of a futex does.
std::uint32_t await_change(const std::atomic<std::uint32_t>& word, std::uint32_t seen) {
  std::uint32_t now;
  while ((now = word.load(std::memory_order_acquire)) == seen) ipc::futex_wait(word, seen, ipc::kNever);
  return now;
}

[[noreturn]] void answer(TwinPage& page) {
  for (std::uint32_t seen = 0;;) {
    seen = await_change(page.ping, seen);
    page.pong.store(seen, std::memory_order_release);
    ipc::futex_wake_one(page.pong);
  }
}

class FutexPair final : public Contestant {
 public:
  explicit FutexPair(std::unique_ptr<Twin> twin) : twin_(std::move(twin)) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    TwinPage& page = twin_->page();
    for (std::int64_t& sample : samples_ns) {
      if (Outcome parked = gap(twin_->pid()); !parked) return parked;
      const std::int64_t begin_ns = ipc::now_ns();
      page.ping.store(++ping_, std::memory_order_release);
      ipc::futex_wake_one(page.ping);
      while (page.pong.load(std::memory_order_acquire) != ping_) {
        ipc::futex_wait(page.pong, ping_ - 1, begin_ns + kWaitLimitNs);
        if (page.pong.load(std::memory_order_acquire) != ping_ && !twin_->alive()) {
          return tl::unexpected(std::string("the futex pair's second process has ended"));
        }
      }
      sample = ipc::now_ns() - begin_ns;
    }
    return {};
  }

 private:
  std::unique_ptr<Twin> twin_;
  std::uint32_t ping_ = 0;
};

}  // namespace

std::unique_ptr<Contestant> make_parked_call(Pool& pool, pid_t worker, std::size_t payload_bytes) {
  return std::make_unique<ParkedCall>(pool, worker, payload_bytes);
}

Made<std::unique_ptr<Contestant>> make_futex_pair(const Placement& placement) {
  auto twin = Twin::start(placement.worker_cpu, answer);
  if (!twin) return tl::unexpected(twin.error());
  return std::make_unique<FutexPair>(std::move(*twin));
}

}  // namespace samovar::bench
