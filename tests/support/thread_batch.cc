// The ThreadWorker that takes several calls at once: it begins all of a batch, and then answers them one after the other.
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "tests/support/thread_worker.h"

namespace samovar::test {

bool ThreadWorker::serve_batch(ipc::Request request) {
  struct Item {
    std::uint64_t call_id;
    std::uint64_t number;
    ipc::Kind kind;
    ipc::Status status;
    std::vector<std::byte> payload;
  };
  std::vector<Item> items;
  for (;;) {
    count_consumed(request);
    if (dies(Point::before_start)) return false;
    const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
    const bool wanted = end_->start(request);
    if (dies(Point::after_start)) return false;
    const auto payload = end_->payload(request);
    if (!payload) return false;
    items.push_back({.call_id = request.call_id,
                     .number = number_++,
                     .kind = request.kind,
                     .status = expired ? ipc::Status::expired : wanted ? ipc::Status::ok : ipc::Status::skipped,
                     .payload = {}});
    if (wanted && !expired) {
      items.back().payload.assign(payload->begin(), payload->end());
      if (on_run_) on_run_(request.call_id, *payload);
    }
    end_->pass();
    if ((request.flags & ipc::kRequestBatched) == 0) break;
    while (end_->peek(request) != ipc::Peek::record) {  // it is published, or about to be
      if (killed_.load()) return false;
      std::this_thread::yield();
    }
  }
  for (Item& item : items) {
    if (killed_.load()) return false;
    const auto dies_here = [&](Point point) { return fate_.death == point && fate_.at == item.number; };
    ipc::Response response{.call_id = item.call_id, .kind = item.kind, .status = item.status};
    for (std::byte& byte : item.payload) byte = ~byte;
    response.payload = item.payload;
    if (!place(response)) return false;
    const auto size = static_cast<std::uint32_t>(response.payload.size());
    std::byte* out;
    while ((out = end_->try_claim(size)) == nullptr) {
      end_->wait_for_room(size);
      if (killed_.load() || end_->stopping()) return false;
    }
    ipc::write_response(response, out);
    if (dies_here(Point::in_handler)) return false;
    if (&item == &items.back()) end_->give_back();
    if (dies_here(Point::after_consume)) return false;
    end_->publish();
    served_.fetch_add(1);
    if (dies_here(Point::after_response)) return false;
  }
  return true;
}

}  // namespace samovar::test
