// Twin: a second, pinned process that shares one page with this one and does nothing but answer: what is measured with it is
// the floor under whatever Samovar does.
//
// Threads: one. Make twins before pools: a fork copies every descriptor there is, and a worker's end would not be its alone.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "bench/whole/pinning.h"

namespace samovar::bench {

// Two lines apart, since some processors fetch lines in pairs.
inline constexpr std::size_t kApartBytes = 128;

struct TwinPage {
  alignas(kApartBytes) std::atomic<std::uint32_t> ping{0};    // writer: this process
  alignas(kApartBytes) std::atomic<std::uint32_t> pong{0};    // writer: the twin
  alignas(kApartBytes) std::atomic<std::uint32_t> rounds{0};  // writer: this process; the twin sleeps on it between rounds
  alignas(kApartBytes) std::atomic<std::uint32_t> awake{0};   // writer: the twin; the last of `rounds` that it has seen
};

class Twin {
 public:
  // `body` runs in the twin, which ends with it. Fails: no process, no memory.
  static Made<std::unique_ptr<Twin>> start(int cpu, const std::function<void(TwinPage&)>& body);
  ~Twin();  // kills and reaps
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;

  TwinPage& page() { return *page_; }
  pid_t pid() const { return pid_; }
  bool alive() const;

 private:
  Twin(TwinPage* page, pid_t pid) : page_(page), pid_(pid) {}

  TwinPage* page_;
  pid_t pid_;
};

}  // namespace samovar::bench
