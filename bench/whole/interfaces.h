// Question: what do the other ways to call cost beside Pool::call with bytes: a typed method, a coroutine?
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "bench/whole/contestant.h"
#include "samovar/pool.h"

namespace samovar::bench {

// Round trips of price("EURUSD", 1'000'000) by pool.method<double(std::string_view, std::int64_t)>, whose Python function returns a
// constant: two arguments written and made, a float written and read.
std::unique_ptr<Contestant> make_typed_call(Pool& pool, pid_t worker, std::int64_t timestamp_ns);

// Round trips of co_await pool.async_call("noop", payload) in one coroutine, while this thread runs poll().
std::unique_ptr<Contestant> make_awaited_call(Pool& pool, pid_t worker, std::size_t payload_bytes, std::int64_t timestamp_ns);

}  // namespace samovar::bench
