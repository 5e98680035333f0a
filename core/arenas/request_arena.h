// RequestArena: the pool's memory for payloads that do not fit into a lane record. Written by the host, read by all workers.
//
// Where workers run on several NUMA nodes it is a region per node, each as large as the whole may get: a block comes from the region
// of the node that its thread runs on, so that payloads are written, and mostly read, where they lie. One limit holds for all
// regions together, and a region is but address space until it is used. With one node, or none known, there is one region.
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
#include <optional>
#include <string>
#include <vector>

#include <samovar/error.h>
#include <samovar/loan.h>

#include "ipc/arena.h"
#include "ipc/memory_policy.h"

namespace samovar::core {

class RequestArena {
 public:
  struct Close {
    void operator()(RequestArena* arena) const { arena->close(); }
  };
  using Owner = std::unique_ptr<RequestArena, Close>;

  // Requires: `bytes` is ipc::arena_bytes() of something; `nodes` differ. `name` shows in /proc/PID/maps.
  static ipc::SystemResult<Owner> create(const std::string& name, std::uint64_t bytes, std::vector<int> nodes = {});

  // A block of `bytes`, its pages allocated, from `node` or else another one; without a name: the node of this thread.
  // Fails: payload_too_large, resource_exhausted.
  Result<detail::Block> allocate(std::uint64_t bytes) { return allocate(bytes, is_spread() ? ipc::node_of_this_thread() : ipc::kAnyNode); }
  Result<detail::Block> allocate(std::uint64_t bytes, int node);

  // Waits until a block comes back, at most until `until_ns`. May return early. Blocks.
  void wait_for_release(std::int64_t until_ns);

  std::byte* at(std::uint64_t offset) const { return memory_ + offset; }
  int worker_fd() const { return worker_fd_.get(); }  // read-only
  std::uint64_t bytes_total() const { return region_bytes_; }  // that may be in use
  std::uint64_t bytes_mapped() const { return segment_.size(); }

  bool is_spread() const { return regions_.size() > 1; }
  int node_at(std::uint64_t offset) const { return nodes_.empty() ? ipc::kAnyNode : nodes_[region_at(offset)]; }

  // Why regions do not lie on their nodes, where the kernel refused to bind one: what is refused here is refused for channels alike.
  const std::optional<ipc::SystemError>& unbound() const { return unbound_; }

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

  struct Parts {
    ipc::Segment segment;
    ipc::UniqueFd worker_fd;
    std::vector<ipc::Arena> regions;
    std::vector<int> nodes;
    std::optional<ipc::SystemError> unbound;
  };

  // What reserve() has found: pages that may not be allocated yet.
  struct Place {
    std::size_t region;
    ipc::Span span;
  };

  explicit RequestArena(Parts parts);
  ~RequestArena() = default;
  void close();
  void free(std::uint64_t offset);
  void expect_trim();  // requires: mutex_ held
  std::optional<Place> reserve(std::uint64_t bytes, int node);  // likewise
  std::size_t region_at(std::uint64_t offset) const { return is_spread() ? offset / region_bytes_ : 0; }
  void give_back(std::uint64_t offset);  // likewise
  std::atomic<std::uint32_t>& references(std::uint64_t offset) { return references_[offset / ipc::kPageBytes]; }
  Error full(std::uint64_t bytes) const;  // requires: mutex_ held

  const ipc::Segment segment_;
  std::byte* const memory_;
  const ipc::UniqueFd worker_fd_;
  const std::vector<int> nodes_;  // of the regions; empty: one region, of no node
  const std::optional<ipc::SystemError> unbound_;
  const std::unique_ptr<std::atomic<std::uint32_t>[], Free> references_;  // of the block that begins at a page

  mutable std::mutex mutex_;
  std::vector<ipc::Arena> regions_;  // guarded by mutex_, but for what only makes system calls
  const std::uint64_t region_bytes_;
  std::uint64_t blocks_ = 0;     // guarded by mutex_: given out
  std::uint64_t in_use_ = 0;     // guarded by mutex_: bytes of theirs
  bool closed_ = false;          // guarded by mutex_
  bool trim_expected_ = false;   // guarded by mutex_
  std::function<void()> on_trim_expected_;  // guarded by mutex_

  std::condition_variable released_;
  int waiting_ = 0;  // guarded by mutex_
};

}  // namespace samovar::core
