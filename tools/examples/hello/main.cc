// The smallest service: a pool, four calls, and what an error looks like. Usage: samovar_example_hello [models.py]
#include <cstdio>
#include <samovar/samovar.h>
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  auto started = samovar::Pool::start({.module = argc > 1 ? argv[1] : "models.py", .workers = 1});
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().to_string().c_str());
    return 1;
  }
  samovar::Pool& pool = *started;

  // A str, bytes or any values go in; Python's result comes out.
  auto greeting = pool.call("greet", samovar::text("C++"));
  if (greeting) std::printf("%.*s\n", static_cast<int>(greeting->text().size()), greeting->text().data());

  const unsigned char pixels[64] = {16, 8};
  auto brightness = pool.call("brightness", samovar::bytes(pixels, sizeof(pixels)), {.timeout = 5ms});
  if (brightness) std::printf("brightness %s\n", brightness->value()->to_string().c_str());

  auto price = pool.call("price", samovar::arguments({"EURUSD", 1'000'000}));
  if (price) std::printf("%s\n", price->value()->to_string().c_str());

  // A Python exception is a value here, with its type, message and traceback.
  auto unknown = pool.call("price", samovar::arguments({"XAUUSD", 1}));
  if (!unknown) std::printf("%s\n", unknown.error().message.c_str());
}
