#include "core/dispatch/wake_set.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "ipc/clock.h"

namespace samovar::core {

using ipc::SystemResult;
using ipc::UniqueFd;

namespace {

SystemResult<void> watch(const UniqueFd& epoll, int fd) {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return ipc::system_error("epoll_ctl");
  return {};
}

void ring(const UniqueFd& eventfd) {
  const std::uint64_t one = 1;
  (void)!write(eventfd.get(), &one, sizeof one);  // cannot fill: 2^64 - 2 rings
}

}  // namespace

SystemResult<WakeSet::Side> WakeSet::create_side() {
  Side side;
  side.epoll = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!side.epoll) return ipc::system_error("epoll_create1");
  side.own = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!side.own) return ipc::system_error("eventfd");
  if (auto added = watch(side.epoll, side.own.get()); !added) return tl::unexpected(added.error());
  return side;
}

SystemResult<std::unique_ptr<WakeSet>> WakeSet::create() {
  std::unique_ptr<WakeSet> set(new WakeSet);
  auto sleeper = create_side();
  if (!sleeper) return tl::unexpected(sleeper.error());
  auto completion = create_side();
  if (!completion) return tl::unexpected(completion.error());
  set->sleeper_ = std::move(*sleeper);
  set->completion_ = std::move(*completion);
  set->timer_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!set->timer_) return ipc::system_error("timerfd_create");
  if (auto added = watch(set->completion_.epoll, set->timer_.get()); !added) return tl::unexpected(added.error());
  return set;
}

SystemResult<void> WakeSet::add(int eventfd) {
  if (auto added = watch(sleeper_.epoll, eventfd); !added) return added;
  return watch(completion_.epoll, eventfd);
}

void WakeSet::remove(int eventfd) {
  epoll_ctl(sleeper_.epoll.get(), EPOLL_CTL_DEL, eventfd, nullptr);
  epoll_ctl(completion_.epoll.get(), EPOLL_CTL_DEL, eventfd, nullptr);
}

void WakeSet::ring_sleeper() { ring(sleeper_.own); }
void WakeSet::ring_completion() { ring(completion_.own); }

void WakeSet::wait(std::int64_t until_ns) {
  std::array<epoll_event, 16> events;
  if (until_ns == ipc::kNever) {
    epoll_wait(sleeper_.epoll.get(), events.data(), events.size(), -1);
    return;
  }
  const std::int64_t left_ns = std::max<std::int64_t>(0, until_ns - ipc::now_ns());
  const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  if (epoll_pwait2(sleeper_.epoll.get(), events.data(), events.size(), &timeout, nullptr) < 0 && errno == ENOSYS) {
    const std::int64_t left_ms = std::min<std::int64_t>((left_ns + 999'999) / 1'000'000, 60'000);  // Linux 5.10
    epoll_wait(sleeper_.epoll.get(), events.data(), events.size(), static_cast<int>(left_ms));
  }
}

void WakeSet::harvest() {
  std::array<epoll_event, 16> events;
  while (epoll_wait(completion_.epoll.get(), events.data(), events.size(), 0) == static_cast<int>(events.size())) {
  }
}

void WakeSet::set_timer(std::int64_t due_ns) {
  itimerspec timer{};
  if (due_ns != ipc::kNever) timer.it_value = {due_ns / 1'000'000'000, std::max<std::int64_t>(1, due_ns % 1'000'000'000)};
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &timer, nullptr);
}

}  // namespace samovar::core
