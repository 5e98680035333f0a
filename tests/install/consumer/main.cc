// Usage: consumer MODULE. Calls its methods `greet` and `where` through a pool, by call() and by submit(), and prints what
// they return; an error goes to stderr and ends it with 1.
#include <samovar/samovar.h>

#include <poll.h>

#include <cstdio>
#include <string>
#include <utility>

namespace {

int fail(const samovar::Error& error) {
  std::fprintf(stderr, "%s\n", error.to_string().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  samovar::Options options;
  options.module = argc > 1 ? argv[1] : "models.py";
  options.workers = 1;
  samovar::Result<samovar::Pool> pool = samovar::Pool::start(std::move(options));
  if (!pool) return fail(pool.error());

  const samovar::Result<samovar::Reply> greeting = pool->call("greet", samovar::text("C++"));
  if (!greeting) return fail(greeting.error());
  std::printf("%s\n", std::string(greeting->text()).c_str());

  int status = -1;
  const samovar::Result<void> accepted =
      pool->submit("where", samovar::arguments({}), [&status](samovar::Result<samovar::Reply> reply) noexcept {
        const samovar::Result<samovar::Value> places =
            reply.and_then([](const samovar::Reply& answered) { return answered.value(); });
        if (places) {
          for (const samovar::Value& place : *places->as_list()) std::printf("%s\n", place.as_str()->c_str());
        }
        status = places ? 0 : fail(places.error());
      });
  if (!accepted) return fail(accepted.error());
  while (status < 0) {
    if (pool->poll() > 0) continue;
    pollfd readable{pool->completion_fd(), POLLIN, 0};
    poll(&readable, 1, -1);
  }
  return status;
}
