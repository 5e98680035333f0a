// Questions: what does a payload that lies in an arena cost beside a small one? And what does Samovar add where every byte is
// written here and read there?
#pragma once

#include <sys/types.h>

#include <memory>

#include "bench/whole/contestant.h"
#include "samovar/pool.h"

namespace samovar::bench {

inline constexpr std::size_t kReferenceBytes = std::size_t{64} << 20;
inline constexpr std::size_t kTouchedBytes = std::size_t{8} << 20;

// A loan of kReferenceBytes, its call, and the reference to it back; no byte of it is touched.
std::unique_ptr<Contestant> make_reference_call(Pool& pool, pid_t worker, std::int64_t timestamp_ns);

// kTouchedBytes copied into a loan, their CRC-32 taken by Python (zlib), the number back.
std::unique_ptr<Contestant> make_touching_call(Pool& pool, pid_t worker);

// The same memcpy and the same zlib.crc32() in this process, over memory of its own.
std::unique_ptr<Contestant> make_touching_here();

}  // namespace samovar::bench
