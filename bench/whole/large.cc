#include "bench/whole/large.h"

#include <zlib.h>

#include <cstring>
#include <string>
#include <vector>

#include "bench/whole/processes.h"
#include "samovar/value.h"

namespace samovar::bench {
namespace {

class ReferenceCall final : public TimedTrips {
 public:
  ReferenceCall(Pool& pool, pid_t worker, std::int64_t timestamp_ns) : TimedTrips(timestamp_ns), pool_(pool), worker_(worker) {}
  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    Result<Loan> loan = pool_.loan(kReferenceBytes);
    if (!loan) return tl::unexpected(loan.error().to_string());
    const std::byte* const where = loan->data();
    const Result<Reply> reply = pool_.call("noop", std::move(*loan));
    if (!reply) return tl::unexpected(reply.error().to_string());
    if (reply->data().data() != where || reply->data().size() != kReferenceBytes) return tl::unexpected(std::string("no reference came back"));
    return {};
  }

  Pool& pool_;
  pid_t worker_;
};

// Bytes to be sent, and their checksum. Not all the same, and not in a cache line of their own.
struct Content {
  std::vector<std::byte> bytes = std::vector<std::byte>(kTouchedBytes);
  std::int64_t checksum = 0;

  Content() {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    checksum = take(bytes.data());
  }
  static std::int64_t take(const std::byte* data) {
    return static_cast<std::int64_t>(crc32_z(0, reinterpret_cast<const unsigned char*>(data), kTouchedBytes));
  }
};

class TouchingCall final : public TimedTrips {
 public:
  TouchingCall(Pool& pool, pid_t worker) : TimedTrips(0), pool_(pool), worker_(worker) {}
  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    Result<Loan> loan = pool_.loan(kTouchedBytes);
    if (!loan) return tl::unexpected(loan.error().to_string());
    loan->write(content_.bytes);
    const Result<Reply> reply = pool_.call("checksum", std::move(*loan));
    if (!reply) return tl::unexpected(reply.error().to_string());
    if (reply->value() != Value(content_.checksum)) return tl::unexpected(std::string("a wrong checksum"));
    return {};
  }

  Pool& pool_;
  pid_t worker_;
  Content content_;
};

class TouchingHere final : public TimedTrips {
 public:
  TouchingHere() : TimedTrips(0) {}

 private:
  Outcome trip() override {
    std::memcpy(copy_.data(), content_.bytes.data(), kTouchedBytes);
    if (Content::take(copy_.data()) != content_.checksum) return tl::unexpected(std::string("a wrong checksum"));
    return {};
  }

  Content content_;
  std::vector<std::byte> copy_ = std::vector<std::byte>(kTouchedBytes);
};

}  // namespace

std::unique_ptr<Contestant> make_reference_call(Pool& pool, pid_t worker, std::int64_t timestamp_ns) {
  return std::make_unique<ReferenceCall>(pool, worker, timestamp_ns);
}

std::unique_ptr<Contestant> make_touching_call(Pool& pool, pid_t worker) { return std::make_unique<TouchingCall>(pool, worker); }

std::unique_ptr<Contestant> make_touching_here() { return std::make_unique<TouchingHere>(); }

}  // namespace samovar::bench
