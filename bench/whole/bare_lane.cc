#include "bench/whole/bare_lane.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "bench/whole/processes.h"
#include "ipc/clock.h"

namespace samovar::bench {
namespace {

constexpr std::int64_t kAnswerLimitNs = 10'000'000'000;
constexpr std::uint32_t kLooksBetweenProofs = 1u << 16;

// The few lines that every user of the bare lane shares: send one, take one.
class Ring {
 public:
  Ring(LaneWorker& worker, std::size_t payload_bytes)
      : worker_(worker),
        payload_(payload_bytes, std::byte{0x42}),
        private_(ipc::message_bytes(worker.host().options().payload_bytes_max)) {}

  bool try_send() {
    std::byte* room = worker_.host().requests.try_claim(ipc::message_bytes(static_cast<std::uint32_t>(payload_.size())));
    if (room == nullptr) return false;
    ipc::write_request({.call_id = ++sent_, .method = worker_.method(), .kind = ipc::Kind::bytes, .payload = payload_},
                       room);
    worker_.host().requests.publish();
    return true;
  }

  ipc::Peek try_take() {
    ipc::LaneReader& responses = worker_.host().responses;
    const ipc::Peek peek = responses.peek();
    if (peek != ipc::Peek::record) return peek;
    std::memcpy(private_.data(), responses.message(), responses.size());
    const std::size_t size = responses.size();
    responses.pop();
    ipc::Response response;
    const bool right = ipc::read_response({private_.data(), size}, response) && response.call_id == ++taken_ &&
                       response.status == ipc::Status::ok && response.payload.size() == payload_.size();
    return right ? ipc::Peek::record : ipc::Peek::broken;
  }

  // As try_take(), but waits for the record.
  bool take() {
    for (std::uint32_t looks = 1;; ++looks) {
      const ipc::Peek peek = try_take();
      if (peek != ipc::Peek::empty) return peek == ipc::Peek::record;
      if (looks % kLooksBetweenProofs == 0 && !worker_.alive()) return false;
    }
  }

  LaneWorker& worker() { return worker_; }
  std::uint64_t outstanding() const { return sent_ - taken_; }

 private:
  LaneWorker& worker_;
  std::vector<std::byte> payload_;
  std::vector<std::byte> private_;
  std::uint64_t sent_ = 0;
  std::uint64_t taken_ = 0;
};

Outcome wrong_answer() { return tl::unexpected(std::string("the bare worker has ended or answered something else")); }

class BareLane final : public Contestant {
 public:
  BareLane(LaneWorker& worker, std::size_t payload_bytes, std::int64_t timestamp_ns)
      : ring_(worker, payload_bytes), timestamp_ns_(timestamp_ns) {}

  Outcome round(std::span<std::int64_t> samples_ns) override {
    for (std::size_t i = 0; i < warm_up_trips(samples_ns.size()); ++i) {
      if (!trip()) return wrong_answer();
    }
    std::int64_t begin_ns = ipc::now_ns();
    for (std::int64_t& sample : samples_ns) {
      if (!trip()) return wrong_answer();
      const std::int64_t end_ns = ipc::now_ns();
      sample = end_ns - begin_ns - timestamp_ns_;
      begin_ns = end_ns;
    }
    return {};
  }

  void park() override { wait_until_asleep(ring_.worker().pid(), std::chrono::seconds(1)); }

 private:
  bool trip() {
    if (!ring_.try_send()) return false;
    ipc::store_load_fence();  // FENCE: see HostEnd::ring_if_asleep()
    ring_.worker().host().ring_if_asleep();
    if (!ring_.take()) return false;
    ring_.worker().host().responses.publish_consumed();
    return true;
  }

  Ring ring_;
  std::int64_t timestamp_ns_;
};

class BareFlow final : public Flow {
 public:
  BareFlow(LaneWorker& worker, std::size_t payload_bytes, std::size_t outstanding)
      : ring_(worker, payload_bytes), outstanding_(outstanding) {}

  Outcome serve(std::size_t calls) override {
    ipc::HostEnd& host = ring_.worker().host();
    std::uint32_t idle_looks = 0;
    for (std::size_t sent = 0, taken = 0; taken < calls;) {
      bool sent_some = false;
      while (sent < calls && ring_.outstanding() < outstanding_ && ring_.try_send()) {
        ++sent;
        sent_some = true;
      }
      if (sent_some) {
        ipc::store_load_fence();  // FENCE: see HostEnd::ring_if_asleep()
        host.ring_if_asleep();
      }

      bool took_some = false;
      for (ipc::Peek peek; (peek = ring_.try_take()) != ipc::Peek::empty; took_some = true, ++taken) {
        if (peek == ipc::Peek::broken) return wrong_answer();
      }
      if (took_some) {
        host.responses.publish_consumed();
        idle_looks = 0;
      } else if (++idle_looks % kLooksBetweenProofs == 0 && !ring_.worker().alive()) {
        return wrong_answer();
      }
    }
    return {};
  }

  void park() override { wait_until_asleep(ring_.worker().pid(), std::chrono::seconds(1)); }

 private:
  Ring ring_;
  std::size_t outstanding_;
};

}  // namespace

std::unique_ptr<Contestant> make_bare_lane(LaneWorker& worker, std::size_t payload_bytes, std::int64_t timestamp_ns) {
  return std::make_unique<BareLane>(worker, payload_bytes, timestamp_ns);
}

std::unique_ptr<Flow> make_bare_flow(LaneWorker& worker, std::size_t payload_bytes, std::size_t outstanding) {
  return std::make_unique<BareFlow>(worker, payload_bytes, outstanding);
}

}  // namespace samovar::bench
