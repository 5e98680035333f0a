// A pool in an event loop of your own: submit() never waits, poll() runs the callbacks, completion_fd() says when.
// Usage: samovar_example_event_loop [models.py]
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <samovar/samovar.h>

int main(int argc, char** argv) {
  auto started = samovar::Pool::start(
      {.module = argc > 1 ? argv[1] : "models.py", .workers = 1, .dispatcher = samovar::Dispatcher::manual});
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().to_string().c_str());
    return 1;
  }
  samovar::Pool& pool = *started;

  // The loop as a service has it already, with a timer in place of its sockets.
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  const itimerspec every_20_ms{.it_interval = {.tv_nsec = 20'000'000}, .it_value = {.tv_nsec = 20'000'000}};
  timerfd_settime(timer, 0, &every_20_ms, nullptr);
  epoll_event on_timer{.events = EPOLLIN, .data = {.fd = timer}};
  epoll_event on_completion{.events = EPOLLIN, .data = {.fd = pool.completion_fd()}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &on_timer);
  epoll_ctl(epoll, EPOLL_CTL_ADD, pool.completion_fd(), &on_completion);

  int sent = 0;
  int answered = 0;
  while (answered < 5) {
    // poll() that found nothing has armed completion_fd(): only then may the loop sleep.
    while (pool.poll() > 0) {
    }
    if (answered == 5) break;
    epoll_event event;
    if (epoll_wait(epoll, &event, 1, 1000) < 1 || event.data.fd != timer) continue;

    std::uint64_t ticks;
    if (read(timer, &ticks, sizeof(ticks)) < 0 || sent == 5) continue;
    ++sent;
    auto accepted = pool.submit("price", samovar::arguments({"EURUSD", sent}), [&](samovar::Result<samovar::Reply> reply) {
      ++answered;
      std::printf("%s\n", reply ? reply->value()->to_string().c_str() : reply.error().message.c_str());
    });
    if (!accepted) {
      std::fprintf(stderr, "%s\n", accepted.error().to_string().c_str());
      return 1;
    }
  }
  close(timer);
  close(epoll);
}
