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

SystemResult<std::unique_ptr<WakeSet>> WakeSet::create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return ipc::system_error("epoll_create1");
  UniqueFd own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!own) return ipc::system_error("eventfd");
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return ipc::system_error("timerfd_create");
  const int own_fd = own.get();
  const int timer_fd = timer.get();
  std::unique_ptr<WakeSet> set(new WakeSet(std::move(epoll), std::move(own), std::move(timer)));
  if (auto added = set->add(own_fd); !added) return tl::unexpected(added.error());
  if (auto added = set->add(timer_fd); !added) return tl::unexpected(added.error());
  return set;
}

WakeSet::WakeSet(UniqueFd epoll, UniqueFd own, UniqueFd timer)
    : epoll_(std::move(epoll)), own_(std::move(own)), timer_(std::move(timer)) {}

SystemResult<void> WakeSet::add(int eventfd) {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.fd = eventfd}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, eventfd, &event) != 0) return ipc::system_error("epoll_ctl");
  return {};
}

void WakeSet::remove(int eventfd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, eventfd, nullptr); }

void WakeSet::ring() {
  const std::uint64_t one = 1;
  (void)!write(own_.get(), &one, sizeof one);  // cannot fill: 2^64 - 2 rings
}

void WakeSet::wait(std::int64_t until_ns) {
  std::array<epoll_event, 16> events;
  if (until_ns == ipc::kNever) {
    epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    return;
  }
  const std::int64_t left_ns = std::max<std::int64_t>(0, until_ns - ipc::now_ns());
  const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  if (epoll_pwait2(epoll_.get(), events.data(), events.size(), &timeout, nullptr) < 0 && errno == ENOSYS) {
    const std::int64_t left_ms = std::min<std::int64_t>((left_ns + 999'999) / 1'000'000, 60'000);  // Linux 5.10
    epoll_wait(epoll_.get(), events.data(), events.size(), static_cast<int>(left_ms));
  }
}

void WakeSet::harvest() {
  std::array<epoll_event, 16> events;
  while (epoll_wait(epoll_.get(), events.data(), events.size(), 0) == static_cast<int>(events.size())) {
  }
}

void WakeSet::set_timer(std::int64_t due_ns) {
  itimerspec timer{};
  if (due_ns != ipc::kNever) timer.it_value = {due_ns / 1'000'000'000, std::max<std::int64_t>(1, due_ns % 1'000'000'000)};
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &timer, nullptr);
}

}  // namespace samovar::core
