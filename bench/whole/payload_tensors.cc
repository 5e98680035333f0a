#include "bench/whole/payload_tensors.h"

#include <sys/mman.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/whole/processes.h"
#include "samovar/tensor.h"
#include "samovar/value.h"

namespace samovar::bench {
namespace {

class TensorCall final : public TimedTrips {
 public:
  TensorCall(Pool& pool, pid_t worker, std::int64_t timestamp_ns) : TimedTrips(timestamp_ns), pool_(pool), worker_(worker) {}
  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    auto loan = pool_.loan_tensor<float>({kTensorElements});
    if (!loan) return tl::unexpected(loan.error().to_string());
    const Result<Reply> reply = pool_.call("another", std::move(*loan));
    if (!reply) return tl::unexpected(reply.error().to_string());
    const auto tensor = reply->tensor<float, 1>();
    if (!tensor) return tl::unexpected(tensor.error().to_string());
    if (tensor->size() != kTensorElements) return tl::unexpected(std::string("a tensor of another size"));
    return {};
  }

  Pool& pool_;
  pid_t worker_;
};

// A sum that float32 holds exactly, in memory like that of the array in tensor_sum_here.py: NumPy asks for huge pages, too.
std::vector<float> content() {
  constexpr std::uintptr_t kPageBytes = 4096;
  std::vector<float> ones;
  ones.reserve(kTensorElements);
  const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(ones.data()) + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(ones.data() + kTensorElements) / kPageBytes * kPageBytes;
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  ones.assign(kTensorElements, 1.0F);
  return ones;
}

class TensorSum final : public TimedTrips {
 public:
  TensorSum(Pool& pool, pid_t worker) : TimedTrips(0), pool_(pool), worker_(worker) {}
  void park() override { wait_until_asleep(worker_, std::chrono::seconds(1)); }

 private:
  Outcome trip() override {
    auto loan = pool_.loan_tensor<float>({kTensorElements});
    if (!loan) return tl::unexpected(loan.error().to_string());
    loan->write(content_);
    const Result<Reply> reply = pool_.call("total", std::move(*loan));
    if (!reply) return tl::unexpected(reply.error().to_string());
    if (reply->value() != Value(static_cast<double>(kTensorElements))) return tl::unexpected(std::string("a wrong sum"));
    return {};
  }

  Pool& pool_;
  pid_t worker_;
  const std::vector<float> content_ = content();
};

}  // namespace

std::unique_ptr<Contestant> make_tensor_call(Pool& pool, pid_t worker, std::int64_t timestamp_ns) {
  return std::make_unique<TensorCall>(pool, worker, timestamp_ns);
}

std::unique_ptr<Contestant> make_tensor_sum(Pool& pool, pid_t worker) { return std::make_unique<TensorSum>(pool, worker); }

}  // namespace samovar::bench
