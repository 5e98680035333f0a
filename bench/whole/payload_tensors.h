// Tensors of 8 MiB: round trips whose bytes nobody touches, and such whose bytes are written here and read there.
// Of a pool of payload_methods.py, and `worker`, the process of its only worker.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "bench/whole/contestant.h"
#include "samovar/pool.h"

namespace samovar::bench {

inline constexpr std::size_t kTensorElements = (std::size_t{8} << 20) / sizeof(float);

// A loan of float32, its call, another array of that size made with ctx.empty() back; both are given back.
std::unique_ptr<Contestant> make_tensor_call(Pool& pool, pid_t worker, std::int64_t timestamp_ns);

// The elements copied into a loan, their sum taken by NumPy, the number back.
std::unique_ptr<Contestant> make_tensor_sum(Pool& pool, pid_t worker);

}  // namespace samovar::bench
