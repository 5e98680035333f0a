// samovar demo: handwritten digits, classified by scikit-learn in resident Python workers, called from this C++ program.
// The story is told here; see demo.h for its chapters, measure.h and peers.h for what is measured and how.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <samovar/samovar.h>

#include "core/config/units.h"
#include "tools/cli/commands.h"
#include "tools/cli/demo.h"
#include "tools/cli/demo_embeddings.h"
#include "tools/cli/duration.h"
#include "tools/cli/example_directory.h"
#include "tools/cli/failure.h"
#include "tools/cli/pinning.h"

namespace samovar::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct DemoCommand {
  bool quick = false;
  std::size_t calls = 0;  // 0: as below
  Options pool;
};

constexpr Amounts kFull{.calls = 20'000, .threads_calls = 10'000, .jsonl_calls = 3'000, .process_calls = 5, .kill_calls = 5'000};
// For tests: looks at the same things, and the figures are rough.
constexpr Amounts kQuick{.calls = 500, .threads_calls = 500, .jsonl_calls = 100, .process_calls = 1, .kill_calls = 2'000};

void introduce(const Demo& demo, double started_s) {
  const Digits& digits = demo.digits;
  std::printf("Handwritten digits, classified by scikit-learn in resident Python workers, called from C++\n\n");
  std::printf("  model    %s with %lld support vectors, trained in the worker on %s images in %.0f ms\n", digits.model.c_str(),
              static_cast<long long>(digits.support_vectors), grouped(digits.trained).c_str(), digits.trained_ms);
  std::printf("  images   %s real ones, 8x8 pixels, 64 bytes each; %s of them the model has not seen\n",
              grouped(digits.images.size()).c_str(), grouped(digits.unseen().size()).c_str());
  const Options& options = demo.pool.options();
  std::printf("  pool     %u workers of %s, started in %.1f s\n", options.workers, digits.versions.c_str(), started_s);
  std::printf("           dispatcher %s; spins up to %s; %s\n\n", std::string(to_string(options.dispatcher)).c_str(),
              core::format_duration(options.spin_max).c_str(),
              options.worker_cpus.size() < 2 ? "all on one CPU, so that figures are poor"
                                             : "workers are pinned, and a single caller to another CPU");
}

// A few images as the model gets them, and its answers.
Result<void> show_images(const Demo& demo) {
  constexpr std::size_t kShown = 5;
  constexpr std::string_view kShades = " .:-=+*#%@";
  const auto images = demo.digits.unseen().first(std::min(kShown, demo.digits.unseen().size()));
  for (std::size_t row = 0; row < kImageSide; ++row) {
    std::printf("  ");
    for (const Image& image : images) {
      for (std::size_t column = 0; column < kImageSide; ++column) {
        const auto pixel = std::min<std::size_t>(std::to_integer<std::size_t>(image[row * kImageSide + column]), 16);
        const char shade = kShades[pixel * (kShades.size() - 1) / 16];
        std::printf("%c%c", shade, shade);
      }
      std::printf("  ");
    }
    std::printf("\n");
  }
  std::printf("  ");
  for (const Image& image : images) {
    const auto digit = integer_of(demo.pool.call("classify", bytes(image)));
    if (!digit) return tl::unexpected(digit.error());
    std::printf("%-18s", ("    Python: " + std::to_string(*digit)).c_str());
  }
  std::printf("\n\n");
  return {};
}

// Each unseen image once. Returns the answers.
Result<std::vector<int>> check_accuracy(const Demo& demo) {
  const auto images = demo.digits.unseen();
  auto measured = measure(demo.pool, images, {.method = "classify", .calls = images.size()});
  if (!measured) return tl::unexpected(std::move(measured).error());
  std::size_t right = 0;
  for (std::size_t i = 0; i < images.size(); ++i) right += measured->answers[i] == demo.digits.unseen_label(i) ? 1 : 0;
  std::printf("Accuracy: %s of %s unseen images right, %.1f %%\n\n", grouped(right).c_str(), grouped(images.size()).c_str(),
              100.0 * static_cast<double>(right) / static_cast<double>(images.size()));
  return std::move(measured->answers);
}

Result<void> tell(const DemoCommand& command, Progress& progress, const std::shared_ptr<LogLines>& log) {
  const auto begin = Clock::now();
  const auto scripts = find_example_directory("digits", "digits.py");
  if (!scripts) return tl::unexpected(scripts.error());

  Options options = command.pool;
  options.environment = Environment::ignore;  // the same everywhere, but for the interpreter
  if (const char* named = std::getenv("SAMOVAR_PYTHON"); named && options.python.empty()) options.python = named;
  options.module = (*scripts / "digits.py").string();
  options.python_path = {scripts->string()};
  options.name = "samovar-demo";
  options.worker_cpus = usable_cpus();
  // Workers from the second CPU on; the first is for the caller, the last for a pinned dispatcher.
  if (!options.worker_cpus.empty()) std::rotate(options.worker_cpus.begin(), options.worker_cpus.begin() + 1, options.worker_cpus.end());
  options.log_level = LogLevel::warning;
  options.log = [log](LogLevel, std::string_view line) { log->add(line); };
  progress.step("starting " + std::to_string(options.workers) + " workers: scikit-learn is imported, the model trained");
  auto pool = Pool::start(std::move(options));
  if (!pool) return tl::unexpected(std::move(pool).error());
  const double started_s = seconds_since(begin);
  const auto digits = fetch_digits(*pool);
  if (!digits) return tl::unexpected(digits.error());
  progress.clear();

  Amounts amounts = command.quick ? kQuick : kFull;
  if (command.calls > 0) amounts.calls = command.calls;
  const Demo demo{.pool = *pool, .digits = *digits, .amounts = amounts, .progress = progress, .log = *log, .scripts = *scripts};
  introduce(demo, started_s);
  if (auto told = show_images(demo); !told) return told;
  const auto answers = check_accuracy(demo);
  if (!answers) return tl::unexpected(answers.error());
  const auto places = find_places(*pool);
  if (!places) return tl::unexpected(places.error());
  const auto latency = measure_one_caller(demo, *places);
  if (!latency) return tl::unexpected(latency.error());
  if (auto told = measure_threads(demo); !told) return told;
  if (auto told = compare_with_peers(demo, *places, *answers, *latency); !told) return told;
  if (auto told = kill_a_worker(demo, *answers); !told) return told;
  std::printf("\nAll of it took %.0f s. The Python is in %s\n", seconds_since(begin), scripts->c_str());
  return {};
}

int run_demo(const DemoCommand& command) {
  signal(SIGPIPE, SIG_IGN);  // a peer that has gone is an error of write(), see child_process.h
  Progress progress;
  const auto log = std::make_shared<LogLines>();
  const auto told = tell(command, progress, log);
  progress.clear();
  std::fflush(stdout);
  if (told) return kSucceeded;
  for (const std::string& line : log->take()) std::fprintf(stderr, "%s\n", line.c_str());
  return report("demo", told.error());
}

}  // namespace

void add_demo(CLI::App& app, int& exit_status) {
  auto command = std::make_shared<DemoCommand>();
  command->pool.workers = 2;
  // The model takes longer than a pool spins by default; a caller that sleeps meanwhile would be woken late.
  command->pool.spin_max = 1ms;
  CLI::App* demo = app.add_subcommand("demo", "Classify handwritten digits with scikit-learn, called from C++, and measure it");
  demo->footer("Takes about half a minute. Needs scikit-learn and joblib for the workers' Python.");
  demo->add_flag("--quick", command->quick, "Fewer calls: the figures are rough");
  demo->add_option("--calls", command->calls, "Calls of each method by one caller 1 to 100000000; default: 20000, with --quick 500")
      ->option_text("N")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000'000}));
  demo->add_option("--workers", command->pool.workers, "Number of workers, 1 to 1024")
      ->option_text("N=2")
      ->check(CLI::Range(1, 1024));
  add_duration(*demo, "--spin-max", command->pool.spin_max, "Longest spin before a wait sleeps; 0s: sleep at once");
  demo->add_option("--python", command->pool.python, "Interpreter; default: $SAMOVAR_PYTHON, else the one Samovar was built for")
      ->option_text("PATH");
  add_demo_embeddings(*demo, exit_status);
  demo->callback([command, demo, &exit_status] {
    if (demo->get_subcommands().empty()) exit_status = run_demo(*command);
  });
}

}  // namespace samovar::cli
