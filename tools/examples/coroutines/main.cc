// A service with an epoll loop of its own, each of its requests a coroutine: lines like "EURUSD 1000" come in on stdin (a pipe or a
// terminal), quotes go out on stdout as they are ready. Usage: samovar_example_coroutines [models.py]
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <samovar/samovar.h>
#include <sstream>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

struct Quote {
  double bid = 0;
  double ask = 0;
};
template <>
struct samovar::Converter<Quote> : samovar::AsDict<Quote, samovar::Field<"bid", &Quote::bid>, samovar::Field<"ask", &Quote::ask>> {};

using Price = samovar::Method<Quote(std::string, std::int64_t)>;

// Runs in the loop below up to co_await, and goes on inside pool.poll().
samovar::Detached answer(const Price& price, std::string line, int& open) {
  ++open;
  std::istringstream words(line);
  std::string symbol;
  std::int64_t quantity = 0;
  words >> symbol >> quantity;
  const samovar::Result<Quote> quote = co_await price.async(symbol, quantity);
  if (quote) {
    std::printf("%s %lld: %.6f / %.6f\n", symbol.c_str(), static_cast<long long>(quantity), quote->bid, quote->ask);
  } else {
    std::printf("%s %lld: %s\n", symbol.c_str(), static_cast<long long>(quantity), quote.error().message.c_str());
  }
  --open;
}

int main(int argc, char** argv) {
  auto started = samovar::Pool::start(
      {.module = argc > 1 ? argv[1] : "models.py", .workers = 2, .dispatcher = samovar::Dispatcher::manual});
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().to_string().c_str());
    return 1;
  }
  samovar::Pool& pool = *started;
  const Price price = pool.method<Quote(std::string, std::int64_t)>("price", {.timeout = 1s});
  if (!price) {
    std::fprintf(stderr, "%s\n", price.error()->to_string().c_str());
    return 1;
  }

  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event on_input{.events = EPOLLIN, .data = {.fd = STDIN_FILENO}};
  epoll_event on_completion{.events = EPOLLIN, .data = {.fd = pool.completion_fd()}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &on_input) != 0) {
    std::perror("stdin must be a pipe, a socket or a terminal");
    return 1;
  }
  epoll_ctl(epoll, EPOLL_CTL_ADD, pool.completion_fd(), &on_completion);

  std::string input;
  bool ended = false;
  int open = 0;  // requests that are being answered
  while (!ended || open > 0) {
    // poll() that found nothing has armed completion_fd(): only then may the loop sleep.
    while (pool.poll() > 0) {
    }
    if (ended && open == 0) break;
    epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) < 1 || event.data.fd != STDIN_FILENO) continue;

    char chunk[4096];
    const ssize_t size = read(STDIN_FILENO, chunk, sizeof chunk);
    if (size <= 0) {
      ended = true;
      epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, nullptr);
      continue;
    }
    input.append(chunk, static_cast<std::size_t>(size));
    for (std::size_t end; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
      answer(price, input.substr(0, end), open);
    }
  }
  close(epoll);
}
