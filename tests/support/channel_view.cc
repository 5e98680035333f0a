#include "tests/support/channel_view.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "ipc/lane.h"
#include "ipc/message.h"

namespace samovar::test {
namespace {

// Calls `use(begin, name)` for each mapping of a memfd, "samovar-3-host" by name.
template <typename Use>
void for_each_memfd(const std::string& process, Use&& use) {
  std::ifstream maps("/proc/" + process + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find("/memfd:");
    if (at == std::string::npos) continue;
    const std::size_t name = at + 7;
    use(std::stoull(line, nullptr, 16), line.substr(name, line.find(' ', name) - name));
  }
}

}  // namespace

std::string ChannelState::to_string() const {
  std::ostringstream text;
  text << "started " << started << ", published " << published << ", consumed " << consumed << ", released " << released
       << (asleep ? ", asleep" : "") << (awaits_block ? ", awaits a block" : "");
  return text.str();
}

ChannelView::ChannelView(pid_t pid, const std::string& pool_name, std::uint32_t lane_bytes) : lane_bytes_(lane_bytes) {
  const std::string suffix = "-worker";
  std::string channel;  // "NAME-INCARNATION", of the worker's only writable segment
  for_each_memfd(std::to_string(pid), [&](std::uint64_t, const std::string& name) {
    if (name.starts_with(pool_name + "-") && name.ends_with(suffix)) channel = name.substr(0, name.size() - suffix.size());
  });
  std::uint64_t host = 0, worker = 0;
  for_each_memfd("self", [&](std::uint64_t begin, const std::string& name) {
    if (name == channel + "-host") host = begin;
    if (name == channel + "-worker") worker = begin;
  });
  if (host == 0 || worker == 0) throw std::runtime_error("process " + std::to_string(pid) + " is no worker of " + pool_name);
  request_lane_ = reinterpret_cast<const std::byte*>(host) + ipc::kPageBytes;
  worker_page_ = reinterpret_cast<const ipc::WorkerPage*>(worker);
  responses_end_ = reinterpret_cast<const ipc::HostPage*>(host)->responses_consumed.load();
  begin_ = now();
}

ChannelState ChannelView::now() {
  auto* ring = const_cast<std::byte*>(reinterpret_cast<const std::byte*>(worker_page_)) + ipc::kPageBytes;
  for (;;) {
    const std::uint64_t word = ipc::commit_word(ring, lane_bytes_, responses_end_)->load();
    if ((word & ipc::kCommitValid) == 0) break;
    if ((word & ipc::kCommitWrap) != 0) {
      responses_end_ += lane_bytes_ - (responses_end_ & (lane_bytes_ - 1));
      continue;
    }
    responses_end_ += ipc::record_advance(static_cast<std::uint32_t>(word & ipc::kCommitSizeMask));
    ++published_;
  }
  return {.started = worker_page_->started.load() - begin_.started,
          .consumed = worker_page_->requests_consumed.load() - begin_.consumed,
          .published = published_,
          .released = worker_page_->blocks_released.load() - begin_.released,
          .asleep = worker_page_->asleep.load(),
          .awaits_block = worker_page_->awaits_block.load()};
}

std::vector<std::uint64_t> ChannelView::requests() const {
  std::vector<std::uint64_t> found;
  auto* ring = const_cast<std::byte*>(request_lane_);
  for (std::uint64_t at = worker_page_->requests_consumed.load();;) {
    const std::uint64_t word = ipc::commit_word(ring, lane_bytes_, at)->load();
    if ((word & ipc::kCommitValid) == 0) return found;
    if ((word & ipc::kCommitWrap) != 0) {
      at += lane_bytes_ - (at & (lane_bytes_ - 1));
      continue;
    }
    const auto size = static_cast<std::uint32_t>(word & ipc::kCommitSizeMask);
    std::vector<std::byte> message(size);
    std::memcpy(message.data(), ring + (at & (lane_bytes_ - 1)) + ipc::kCommitWordBytes, size);
    ipc::Request request;
    if (!ipc::read_request(message, request) || request.payload.size() < 8) throw std::runtime_error("no request lies in the lane");
    std::memcpy(&found.emplace_back(), request.payload.data(), 8);
    at += ipc::record_advance(size);
  }
}

std::size_t count_mappings(const std::string& name) {
  std::size_t count = 0;
  for_each_memfd("self", [&](std::uint64_t, const std::string& other) { count += other.starts_with(name); });
  return count;
}

}  // namespace samovar::test
