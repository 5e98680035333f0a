// The ThreadWorker that takes several calls at once: it begins all of a batch, and then answers them, small answers by threes.
#include <utility>
#include <vector>

#include "tests/support/thread_worker.h"

namespace samovar::test {
namespace {

constexpr std::uint32_t kAnswersAtOnce = 3;

}  // namespace

// Begins the calls of one record.
bool ThreadWorker::begin_record(const ipc::Request& record, std::vector<BatchItem>& items) {
  const bool packed = (record.flags & ipc::kRequestPacked) != 0;
  const std::uint32_t count = packed ? ipc::PackedReader::count(record) : 1;
  if (count == 0) broken("the host has published what is no request");
  const auto dies_here = [&](Point point) { return fate_.death == point && fate_.at >= number_ && fate_.at < number_ + count; };
  count_consumed(record);
  if (dies_here(Point::before_start)) return false;
  end_->start_packed(record, count);
  if (dies_here(Point::after_start)) return false;
  const auto take = [&](const ipc::Request& request, const std::atomic<std::uint64_t>& word) {
    const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
    const bool wanted = !ipc::is_revoked(word);
    const auto payload = end_->payload(request);
    if (!payload) broken("the host has named a block outside of its arena");
    items.push_back({.call_id = request.call_id,
                     .number = number_++,
                     .kind = request.kind,
                     .status = expired ? ipc::Status::expired : wanted ? ipc::Status::ok : ipc::Status::skipped,
                     .payload = {}});
    if (!wanted || expired) return;
    items.back().payload.assign(payload->begin(), payload->end());
    if (on_run_) on_run_(request.call_id, *payload);
  };
  if (!packed) {
    take(record, *end_->current_word());
    return true;
  }
  for (ipc::PackedReader requests(record); requests.has_more();) {
    ipc::Request request;
    const std::atomic<std::uint64_t>* const word = requests.next(request);
    take(request, *word);
  }
  return true;
}

bool ThreadWorker::serve_batch(ipc::Request record) {
  std::vector<BatchItem> items;
  for (;;) {
    if (!begin_record(record, items)) return false;
    end_->pass();
    if ((record.flags & ipc::kRequestBatched) == 0) break;
    while (end_->peek(record) != ipc::Peek::record) {  // it is published, or about to be
      if (killed_.load()) return false;
      std::this_thread::yield();
    }
  }
  ipc::PackedResponses packed(end_->payload_bytes_max());
  std::uint32_t waiting = 0;
  // Publishes `response`, of `count` calls whose last one is `item`.
  const auto publish = [&](const ipc::Response& response, std::uint32_t count, const BatchItem& item) {
    const auto dies_here = [&](Point point) { return fate_.death == point && fate_.at == item.number; };
    std::byte* const out = claim(response.payload.size());
    if (out == nullptr) return false;
    ipc::write_response(response, out);
    if (dies_here(Point::in_handler)) return false;
    if (&item == &items.back()) end_->give_back();
    if (dies_here(Point::after_consume)) return false;
    end_->publish();
    served_.fetch_add(count);
    return !dies_here(Point::after_response);
  };
  for (BatchItem& item : items) {
    if (killed_.load()) return false;
    for (std::byte& byte : item.payload) byte = ~byte;
    const bool last = &item == &items.back();
    if (item.status == ipc::Status::ok && packed.may_take(item.payload.size()) && packed.has_room_for(item.payload.size())) {
      packed.add(item.call_id, 0, item.kind, item.payload);
      if (++waiting < kAnswersAtOnce && !last && fate_.at != item.number) continue;
      if (!publish(packed.record(), std::exchange(waiting, 0), item)) return false;
      packed.clear();
      continue;
    }
    if (waiting > 0 && !publish(packed.record(), std::exchange(waiting, 0), *(&item - 1))) return false;
    packed.clear();
    ipc::Response response{.call_id = item.call_id, .kind = item.kind, .status = item.status, .payload = item.payload};
    if (!place(response) || !publish(response, 1, item)) return false;
  }
  return true;
}

void ThreadWorker::lie_in_packed(const ipc::Request& request) {
  ipc::PackedResponses packed(end_->payload_bytes_max());
  const std::vector<std::byte> answer(8);
  packed.add(request.call_id + (lie_ == Lie::packed_for_another ? 1 : 0), 0, ipc::Kind::bytes, answer);
  if (lie_ == Lie::packed_too_many) packed.add(request.call_id + 1, 0, ipc::Kind::bytes, answer);
  ipc::Response record = packed.record();
  if (lie_ == Lie::packed_cut) record.payload = record.payload.first(8);
  if (lie_ == Lie::packed_empty) record.payload = {};
  if (lie_ == Lie::packed_with_flags) record.flags = ipc::kResponseInArena;
  respond(record, true, false);
}

}  // namespace samovar::test
