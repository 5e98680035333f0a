#include "core/supervision/nursery.h"

#include <poll.h>
#include <sys/wait.h>

#include <cerrno>
#include <utility>

#include "core/supervision/process_reading.h"
#include "ipc/clock.h"

namespace samovar::core {
namespace {

// A nursery sees the end of a child when the host does, and needs a wake-up to say how it ended.
constexpr std::int64_t kStatusNs = 20'000'000;

ExitStatus as_exit_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {.code = {}, .signal = WTERMSIG(wait_status)};
  return {.code = WEXITSTATUS(wait_status), .signal = {}};
}

}  // namespace

Nursery::Nursery(std::uint64_t number, std::uint32_t generation, Life life)
    : due_ns(ipc::kNever), number_(number), generation_(generation), life_(std::move(life)) {}

std::optional<Nursery::Word> Nursery::next_word() {
  while (words_.empty() && hear()) {
  }
  if (words_.empty()) return std::nullopt;
  Word word = std::move(words_.front());
  words_.pop_front();
  return word;
}

bool Nursery::hear() {
  if (has_ended_) return false;
  auto datagram = life_.socket->receive();
  if (!datagram && datagram.error().error == EAGAIN) return false;
  if (!datagram || datagram->bytes.empty()) {
    has_ended_ = true;
    words_.emplace_back(Ended{});
    return true;
  }
  auto message = ipc::decode_control(datagram->bytes);
  if (!message) {
    words_.emplace_back(Nonsense{message.error()});
  } else if (const auto* ended = std::get_if<ipc::ChildEnded>(&*message)) {
    child_ended(*ended);
  } else if (const auto* forked = std::get_if<ipc::Forked>(&*message); forked && datagram->fds.size() == 1) {
    words_.emplace_back(Forked{forked->incarnation, static_cast<pid_t>(forked->pid), std::move(datagram->fds[0])});
  } else if (auto* ready = std::get_if<ipc::NurseryReady>(&*message)) {
    words_.emplace_back(std::move(*ready));
  } else if (auto* failed = std::get_if<ipc::StartFailed>(&*message)) {
    words_.emplace_back(std::move(*failed));
  } else if (auto* refused = std::get_if<ipc::ForkFailed>(&*message)) {
    words_.emplace_back(std::move(*refused));
  } else {
    words_.emplace_back(Nonsense{"a control message that no nursery sends"});
  }
  return true;
}

void Nursery::close() {
  has_ended_ = true;
  life_.socket.reset();
}

void Nursery::child_ended(const ipc::ChildEnded& child) {
  ExitStatus& status = ends_[child.incarnation];
  if (child.signal != 0) status.signal = child.signal;
  else if (child.code >= 0) status.code = child.code;
  if (forgotten_.erase(child.incarnation) > 0) bury(child.incarnation);
}

bool Nursery::fork(std::uint64_t incarnation, int socket, int output) {
  int fds[ipc::kForkFds];
  fds[ipc::kFdWorkerSocket] = socket;
  fds[ipc::kFdWorkerOutput] = output;
  return !has_ended_ && life_.socket->send(ipc::encode_control(ipc::Fork{incarnation}), fds);
}

// The zombie tells itself, without a wait for anybody; but where a security module denies that it says 0. So that is asked for.
ExitStatus Nursery::exit_status(std::uint64_t incarnation, pid_t pid) {
  const std::optional<int> told = is_alive() ? read_wait_status(pid) : std::nullopt;
  if (told.value_or(0) != 0) return as_exit_status(*told);
  const std::int64_t until_ns = ipc::in(kStatusNs);
  for (;;) {
    while (hear()) {
    }
    if (const auto end = ends_.find(incarnation); end != ends_.end()) return end->second;
    const std::int64_t left_ns = until_ns - ipc::now_ns();
    if (has_ended_ || left_ns <= 0) return told ? as_exit_status(*told) : ExitStatus{};
    pollfd socket{life_.socket->fd(), POLLIN, 0};
    (void)poll(&socket, 1, static_cast<int>(left_ns / 1'000'000) + 1);
  }
}

bool Nursery::is_alive() const {
  pollfd ended{life_.process.pidfd(), POLLIN, 0};
  return life_.process && poll(&ended, 1, 0) == 0;
}

void Nursery::bury(std::uint64_t incarnation) {
  if (ends_.erase(incarnation) == 0) return forget(incarnation);  // when its end is told
  to_bury_.push_back(incarnation);
  while (!has_ended_ && !to_bury_.empty() && life_.socket->send(ipc::encode_control(ipc::Bury{to_bury_.back()}))) to_bury_.pop_back();
}

}  // namespace samovar::core
