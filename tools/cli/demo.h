// The demo's chapters, and what they share. demo.cc tells them in order; each other demo_*.cc holds one or two.
// Every chapter prints what it found and fails with the first error that it met.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samovar/samovar.h>

#include "tools/cli/digits_client.h"
#include "tools/cli/measure.h"
#include "tools/cli/text.h"

namespace samovar::cli {

// How much of everything.
struct Amounts {
  std::size_t calls;          // of each method, by one caller
  std::size_t threads_calls;  // for each number of threads
  std::size_t jsonl_calls;    // in each of three places
  std::size_t process_calls;
  std::size_t kill_calls;
};

// What the pool logged and nobody has printed yet. Threads: any.
class LogLines {
 public:
  void add(std::string_view line) {
    const std::scoped_lock lock(mutex_);
    lines_.emplace_back(line);
  }
  std::vector<std::string> take() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

// Where a single caller and what it calls run, so that they never share a CPU; -1: wherever the kernel likes.
struct Places {
  int caller_cpu = -1;
  int callee_cpu = -1;
};

// What the chapters share.
struct Demo {
  Pool& pool;
  const Digits& digits;
  const Amounts& amounts;
  Progress& progress;
  LogLines& log;
  std::filesystem::path scripts;
};

// The pool prefers the worker that it used last: that one is the single caller's, and the caller keeps off its CPU.
Result<Places> find_places(Pool& pool);

// One image after the other, from this thread. Returns the latency of `classify`.
Result<Latency> measure_one_caller(const Demo& demo, const Places& places);

Result<void> measure_threads(const Demo& demo);

// The same model, saved by the worker, called in the two ways of today. `expected`: the answers for the unseen images.
Result<void> compare_with_peers(const Demo& demo, const Places& places, const std::vector<int>& expected, const Latency& own);

// SIGKILL of a worker while several threads call.
Result<void> kill_a_worker(const Demo& demo, const std::vector<int>& expected);

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace samovar::cli
