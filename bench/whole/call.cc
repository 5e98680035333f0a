#include "bench/whole/call.h"

#include "bench/whole/environment.h"
#include "bench/whole/processes.h"

namespace samovar::bench {
namespace {

class Call final : public TimedTrips {
 public:
  Call(Pool& pool, pid_t worker, std::size_t payload_bytes, std::int64_t timestamp_ns)
      : TimedTrips(timestamp_ns), pool_(pool), worker_(worker), payload_(payload_bytes, std::byte{0x42}) {}

  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    const Result<Reply> reply = pool_.call("noop", bytes(payload_));
    if (!reply) return tl::unexpected(reply.error().to_string());
    if (reply->data().size() != payload_.size()) return tl::unexpected(std::string("a reply of another size"));
    return {};
  }

  Pool& pool_;
  pid_t worker_;
  std::vector<std::byte> payload_;
};

}  // namespace

std::unique_ptr<Contestant> make_call(Pool& pool, pid_t worker, std::size_t payload_bytes, std::int64_t timestamp_ns) {
  return std::make_unique<Call>(pool, worker, payload_bytes, timestamp_ns);
}

Made<Pool> start_pool(const PoolSettings& settings) {
  Options options;
  options.environment = Environment::ignore;  // what is measured does not depend on it
  options.module = bench_directory() + "/whole/" + settings.module;
  options.name = "samovar-bench";
  options.workers = settings.workers;
  options.worker_start = settings.worker_start;
  options.max_overflow = settings.max_overflow;
  options.overflow_linger = settings.overflow_linger;
  options.start_timeout = std::chrono::minutes(5);  // scikit-learn, from a cold disk
  options.restart_intensity = 1'000'000;  // bench recovery kills workers for a living
  options.dispatcher = Dispatcher::caller;
  options.prefetch = settings.prefetch;
  options.python = settings.python;
  options.worker_cpus = settings.worker_cpus;
  options.on_event = settings.on_event;
  options.log = settings.log;
  options.log_level = LogLevel::warning;
  auto pool = Pool::start(std::move(options));
  if (!pool) return tl::unexpected(pool.error().to_string());
  return std::move(*pool);
}

Made<pid_t> worker_pid(Pool& pool) {
  const Result<Reply> reply = pool.call("pid");
  if (!reply) return tl::unexpected(reply.error().to_string());
  const Result<Value> value = reply->value();
  if (!value || !value->as_int()) return tl::unexpected(std::string("the method pid returned no int"));
  return static_cast<pid_t>(*value->as_int());
}

}  // namespace samovar::bench
