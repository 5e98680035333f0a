// RequestArena: the pool's memory for payloads that do not fit into a lane record. Written by the host, read by all workers.
//
// Threads: any. It lives until its owner has closed it and the last block has come back, so loans and replies that share a
// request's block may outlive the pool.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <samovar/error.h>
#include <samovar/loan.h>

#include "ipc/arena.h"

namespace samovar::core {

class RequestArena {
 public:
  struct Close {
    void operator()(RequestArena* arena) const { arena->close(); }
  };
  using Owner = std::unique_ptr<RequestArena, Close>;

  // Requires: `bytes` is ipc::arena_bytes() of something. `name` shows in /proc/PID/maps.
  static ipc::SystemResult<Owner> create(const std::string& name, std::uint64_t bytes);

  // A block of `bytes`, its pages allocated. Fails: payload_too_large, resource_exhausted.
  Result<detail::Block> allocate(std::uint64_t bytes);

  // Waits until a block comes back, at most until `until_ns`. May return early. Blocks.
  void wait_for_release(std::int64_t until_ns);

  std::byte* at(std::uint64_t offset) const { return arena_.at(offset); }
  int worker_fd() const { return worker_fd_.get(); }  // read-only
  std::uint64_t bytes_total() const { return arena_.bytes_total(); }
  std::uint64_t bytes_in_use() const;
  std::uint64_t bytes_backed() const;

  // Gives memory back to the kernel that no block has used in two periods, which calls of this end. Whether there will be more.
  bool trim();

  // `expected` is called, under a lock, where there was nothing to trim and now will be: a block has come back, or somebody
  // is to look whether one can. Empty: nobody.
  void on_trim_expected(std::function<void()> expected);
  void expect_releases();

 private:
  friend class samovar::detail::Block;

  struct Free {
    void operator()(std::atomic<std::uint32_t>* counts) const { std::free(counts); }
  };

  RequestArena(ipc::Arena arena, ipc::UniqueFd worker_fd);
  ~RequestArena() = default;
  void close();
  void free(std::uint64_t offset);
  void expect_trim();  // requires: mutex_ held
  std::atomic<std::uint32_t>& references(std::uint64_t offset) { return references_[offset / ipc::kPageBytes]; }
  Error full(std::uint64_t bytes) const;  // requires: mutex_ held

  const ipc::UniqueFd worker_fd_;
  const std::unique_ptr<std::atomic<std::uint32_t>[], Free> references_;  // of the block that begins at a page

  mutable std::mutex mutex_;
  ipc::Arena arena_;             // guarded by mutex_, but for what only makes system calls
  std::uint64_t blocks_ = 0;     // guarded by mutex_: given out
  bool closed_ = false;          // guarded by mutex_
  bool trim_expected_ = false;   // guarded by mutex_
  std::function<void()> on_trim_expected_;  // guarded by mutex_

  std::condition_variable released_;
  int waiting_ = 0;  // guarded by mutex_
};

}  // namespace samovar::core
