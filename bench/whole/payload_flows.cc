#include "bench/whole/payload_flows.h"

#include <string>
#include <vector>

#include "bench/whole/processes.h"
#include "samovar/value.h"

namespace samovar::bench {
namespace {

class BatchCall final : public TimedTrips {
 public:
  BatchCall(Pool& pool, pid_t worker, std::size_t calls, std::size_t payload_bytes, std::int64_t timestamp_ns)
      : TimedTrips(timestamp_ns), pool_(pool), worker_(worker), content_(payload_bytes, std::byte{0x42}) {
    for (std::size_t i = 0; i < calls; ++i) payloads_.push_back(bytes(content_));
  }
  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    for (const Result<Reply>& reply : pool_.call_many("each", payloads_)) {
      if (!reply) return tl::unexpected(reply.error().to_string());
      if (reply->data().size() != content_.size()) return tl::unexpected(std::string("a reply of another size"));
    }
    return {};
  }

  Pool& pool_;
  pid_t worker_;
  std::vector<std::byte> content_;
  std::vector<Payload> payloads_;
};

class StreamFlow final : public Flow {
 public:
  StreamFlow(Pool& pool, pid_t worker, std::size_t chunk_bytes) : pool_(pool), worker_(worker), chunk_bytes_(chunk_bytes) {}
  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

  Outcome serve(std::size_t calls) override {
    const Value::List count_and_size{static_cast<std::int64_t>(calls), static_cast<std::int64_t>(chunk_bytes_)};
    auto stream = pool_.stream("chunks", value(count_and_size));
    if (!stream) return tl::unexpected(stream.error().to_string());
    std::size_t came = 0;
    for (const Result<Reply>& chunk : *stream) {
      if (!chunk) return tl::unexpected(chunk.error().to_string());
      if (chunk->data().size() != chunk_bytes_) return tl::unexpected(std::string("a chunk of another size"));
      ++came;
    }
    if (came != calls) return tl::unexpected("of " + std::to_string(calls) + " chunks " + std::to_string(came) + " came");
    return {};
  }

 private:
  Pool& pool_;
  pid_t worker_;
  std::size_t chunk_bytes_;
};

}  // namespace

std::unique_ptr<Contestant> make_batch_call(Pool& pool, pid_t worker, std::size_t calls, std::size_t payload_bytes, std::int64_t timestamp_ns) {
  return std::make_unique<BatchCall>(pool, worker, calls, payload_bytes, timestamp_ns);
}

std::unique_ptr<Flow> make_stream_flow(Pool& pool, pid_t worker, std::size_t chunk_bytes) {
  return std::make_unique<StreamFlow>(pool, worker, chunk_bytes);
}

}  // namespace samovar::bench
