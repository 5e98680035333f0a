// The ThreadWorker that runs several calls at once, as a worker with an event loop does.
#include <cstring>
#include <utility>

#include "tests/support/thread_worker.h"

namespace samovar::test {

void ThreadWorker::run_at_once() {
  std::vector<Begun> begun;
  const std::atomic<bool> never{false};
  while (!killed_.load() && !end_->stopping()) {
    hear_notes(begun);
    ipc::Request request;
    if (begun.size() < concurrency_ && end_->peek(request) == ipc::Peek::record) {
      if (!begin_one(request, begun)) return;
    } else if (!begun.empty()) {
      if (!answer_one(begun)) return;
    } else if (!end_->spin_for_events(true, never, [this] { return !killed_.load(std::memory_order_relaxed); })) {
      end_->park_for_events(true, never, ipc::kNever);
    }
  }
}

bool ThreadWorker::begin_one(const ipc::Request& request, std::vector<Begun>& begun) {
  const bool ping = request.method == ipc::kPingMethod;
  if (!ping && dies(Point::before_start)) return false;
  const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
  const bool wanted = end_->start(request);
  if (!ping && dies(Point::after_start)) return false;
  if (ping || expired || !wanted) {
    if (!ping) ++number_;
    const ipc::Status status = ping ? ipc::Status::ok : expired ? ipc::Status::expired : ipc::Status::skipped;
    return respond({.call_id = request.call_id, .status = status}, true, false);
  }
  const auto payload = end_->payload(request);
  if (!payload) broken("the host has named a block outside of its arena");
  if (on_run_) on_run_(request.call_id, *payload);
  if (static_cast<Method>(request.method) == Method::hold) holding_.fetch_add(1);
  begun.push_back({.request = request, .number = number_, .payload = {payload->begin(), payload->end()}});
  begun.back().request.payload = {};
  end_->pass();
  end_->give_back();
  return !dies(Point::after_consume) && (++number_, true);
}

// One by chance, but those that hold; where all do it gives way.
bool ThreadWorker::answer_one(std::vector<Begun>& begun) {
  dice_ ^= dice_ << 13, dice_ ^= dice_ >> 7, dice_ ^= dice_ << 17;
  const std::size_t first = dice_ % begun.size();
  std::size_t chosen = begun.size();
  for (std::size_t i = 0; i < begun.size() && chosen == begun.size(); ++i) {
    const Begun& call = begun[(first + i) % begun.size()];
    const bool holds = static_cast<Method>(call.request.method) == Method::hold && !released_.load() && !call.cancelled;
    if (!holds) chosen = (first + i) % begun.size();
  }
  if (chosen == begun.size()) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    return true;
  }
  const Begun call = std::exchange(begun[chosen], std::move(begun.back()));
  begun.pop_back();
  const auto publish = [&](std::uint64_t call_id) {
    ipc::Response response{.call_id = call_id, .kind = call.request.kind};
    result_ = call.payload;
    for (std::byte& byte : result_) byte = ~byte;
    response.payload = result_;
    if (!place(response)) return false;
    std::byte* const out = claim(response.payload.size());
    if (out == nullptr) return false;
    ipc::write_response(response, out);
    if (fate_.death == Point::in_handler && fate_.at == call.number) return false;
    end_->publish();
    return true;
  };
  ipc::Request unbegun;
  if (lie_ == Lie::answers_unbegun && end_->peek(unbegun) == ipc::Peek::record) {
    (void)publish(unbegun.call_id);
    idle_until([] { return false; });  // were it begun, it could have any answer
    return false;
  }
  if (!publish(call.request.call_id)) return false;
  served_.fetch_add(1);
  if (lie_ == Lie::answers_twice && !begun.empty()) return publish(call.request.call_id);
  return !(fate_.death == Point::after_response && fate_.at == call.number);
}

void ThreadWorker::hear_notes(std::vector<Begun>& begun) {
  ipc::Note note;
  while (end_->has_note()) {
    if (end_->peek_note(note) != ipc::Peek::record) broken("the host has published what is no note");
    end_->pop_note();
    for (Begun& call : begun) call.cancelled |= note.topic == ipc::Topic::cancel && call.request.call_id == note.call_id;
  }
}

}  // namespace samovar::test
