// Many small payloads at once: a batch of calls, and the chunks of a stream. Of a pool of payload_methods.py, and `worker`, the process
// of its only worker.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bench/whole/contestant.h"
#include "bench/whole/throughput.h"
#include "samovar/pool.h"

namespace samovar::bench {

// A trip is call_many() of `calls` payloads of `payload_bytes` each, which fill one batch, and a look at each answer.
std::unique_ptr<Contestant> make_batch_call(Pool& pool, pid_t worker, std::size_t calls, std::size_t payload_bytes, std::int64_t timestamp_ns);

// Serves chunks of `chunk_bytes`, all of one stream.
std::unique_ptr<Flow> make_stream_flow(Pool& pool, pid_t worker, std::size_t chunk_bytes);

}  // namespace samovar::bench
