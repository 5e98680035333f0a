// The ThreadWorker that calls functions of the host, and the wrong questions that it can ask.
#include <cstring>
#include <utility>
#include <vector>

#include <flatbuffers/flexbuffers.h>
#include <samovar/payload.h>

#include "tests/support/thread_worker.h"

namespace samovar::test {
namespace {

std::vector<std::byte> double_of(std::uint32_t number) {
  const Payload question = arguments({"double", static_cast<std::int64_t>(number)});
  return {question.data().begin(), question.data().end()};
}

bool is_double_of(std::span<const std::byte> answer, std::uint32_t number) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(answer.data());
  if (!flexbuffers::VerifyBuffer(bytes, answer.size())) return false;
  const flexbuffers::Reference root = flexbuffers::GetRoot(bytes, answer.size());
  // What a function returns may be followed by what fills the answer up.
  const flexbuffers::Reference first = root.IsAnyVector() ? root.AsVector()[0] : root;
  return first.IsInt() && first.AsInt64() == 2 * std::int64_t{number};
}

}  // namespace

ThreadWorker::Asked ThreadWorker::ask(const ipc::Request& request) {
  std::uint32_t count;
  std::memcpy(&count, result_.data(), sizeof count);
  const bool at_once = static_cast<Method>(request.method) == Method::ask_at_once;
  std::uint32_t asked = 0;
  for (std::uint32_t answered = 0; answered < count;) {
    while (asked < count && (at_once || asked == answered)) {
      ++asked;
      std::vector<std::byte> question = double_of(asked);
      if (lie_ == Lie::asks_garbage) question.assign(100, std::byte{0xff});
      if (!send_question({.call_id = request.call_id, .number = asked, .kind = ipc::Kind::arguments, .status = ipc::Status::question, .payload = question})) return Asked::dead;
      if (dies(Point::after_question)) return Asked::dead;
    }
    if (at_once && answered == 0) {
      holding_.fetch_add(1);
      idle_until([&] { return released_.load(); });
    }
    if (killed_.load() || end_->stopping()) return Asked::dead;
    ipc::Note note;
    switch (end_->peek_note(note)) {
      case ipc::Peek::broken: broken("the host has published what is no note");
      case ipc::Peek::empty: end_->wait_for_note(ipc::kNever); continue;
      case ipc::Peek::record: break;
    }
    const bool ours = note.call_id == request.call_id;
    const ipc::Topic topic = note.topic;
    if (ours && topic == ipc::Topic::failure) failure_.assign(note.payload.begin(), note.payload.end());
    const bool right = topic != ipc::Topic::reply || (note.number > 0 && note.number <= asked && is_double_of(note.payload, static_cast<std::uint32_t>(note.number)));
    end_->pop_note();
    if (!ours) continue;
    if (!right) broken("the answer to another question");
    if (topic == ipc::Topic::cancel) return Asked::cancelled;
    if (topic == ipc::Topic::failure) return Asked::refused;
    ++answered;
  }
  return Asked::answered;
}

bool ThreadWorker::send_question(const ipc::Response& question) {
  std::byte* const out = claim(question.payload.size());
  if (out == nullptr) return false;
  ipc::write_response(question, out);
  end_->publish();
  return true;
}

void ThreadWorker::lie_in_question(const ipc::Request& request) {
  const std::vector<std::byte> bytes = double_of(1);
  ipc::Response question{.call_id = request.call_id, .number = 1, .kind = ipc::Kind::arguments, .status = ipc::Status::question, .payload = bytes};
  switch (lie_) {
    case Lie::asks_for_another: ++question.call_id; break;
    case Lie::asks_after_answer: respond({.call_id = request.call_id}, true, false); break;
    case Lie::asks_no_arguments: question.kind = ipc::Kind::value; break;
    case Lie::asks_with_flags: question.flags = ipc::kResponseInArena; break;
    default: broken("a lie that is no question");
  }
  (void)send_question(question);
}

}  // namespace samovar::test
