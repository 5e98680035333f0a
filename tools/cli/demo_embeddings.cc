// samovar demo embeddings: sentences that mean the same as a question, found by C++ with a model that stays resident in Python.
// The story is told here; embeddings_client.h calls the model and searches, sentences.h says where the sentences come from.
#include "tools/cli/demo_embeddings.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <samovar/samovar.h>

#include "tools/cli/demo.h"
#include "tools/cli/duration.h"
#include "tools/cli/embeddings_client.h"
#include "tools/cli/example_directory.h"
#include "tools/cli/failure.h"
#include "tools/cli/sentences.h"
#include "tools/cli/text.h"

namespace samovar::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatch = 16;  // sentences to a call: more are no faster for this model
constexpr std::size_t kShown = 3;
constexpr std::size_t kMeasuredCalls = 200;
constexpr const char* kQuestions[] = {"How can I be sure that there is no bug left in my program?", "Why do meetings take so long?",
                                      "What should I eat to stay healthy?"};

struct EmbeddingsCommand {
  std::string question;  // empty: kQuestions
  std::string file;      // empty: fortunes
  std::size_t sentences = 2500;
  Options pool;
};

std::string in_ms(const Samples& samples, double quantile) {
  char text[32];
  std::snprintf(text, sizeof text, "%10.3f", static_cast<double>(samples.quantile(quantile)) / 1e6);
  return text;
}

void print_row(const char* label, const Samples& samples) {
  std::printf("  %-36s %s %s\n", label, in_ms(samples, 0.5).c_str(), in_ms(samples, 0.99).c_str());
}

// One question: embedded by a call, looked for here.
Result<void> answer(const Embedder& embedder, const Matrix& matrix, const std::vector<Sentence>& sentences, const std::string& question) {
  const std::string_view text = question;
  const auto embedded = embedder.embed({&text, 1});
  if (!embedded) return tl::unexpected(embedded.error());
  std::printf("%s\n", question.c_str());
  for (const Match& match : nearest(matrix, embedded->row(0), kShown)) {
    const Sentence& sentence = sentences[match.row];
    std::printf("  %5.2f  %s %s\n", match.cosine, sentence.text.c_str(), sentence.author.c_str());
  }
  std::printf("\n");
  return {};
}

// The same questions again and again, from this thread, one call at a time.
Result<void> measure_questions(const Embedder& embedder, const Matrix& matrix, const std::vector<std::string>& questions, Duration spin_max,
                               Progress& progress) {
  Latency latency;
  Samples search;
  progress.step("asking " + grouped(kMeasuredCalls) + " times");
  for (std::size_t i = 0; i < kMeasuredCalls; ++i) {
    const std::string_view text = questions[i % questions.size()];
    const auto begin = Clock::now();
    const auto embedded = embedder.embed({&text, 1}, {.timed = true});
    const auto end = Clock::now();
    if (!embedded) return tl::unexpected(embedded.error());
    latency.add(std::chrono::nanoseconds(end - begin).count(), embedded->model_time.count());
    nearest(matrix, embedded->row(0), kShown);
    search.add(std::chrono::nanoseconds(Clock::now() - end).count());
    progress.update(i, kMeasuredCalls);
  }
  progress.clear();
  std::printf("One caller, one question after the other, %s calls; milliseconds\n", grouped(kMeasuredCalls).c_str());
  std::printf("  %-36s %10s %10s\n", "", "p50", "p99");
  print_row("whole call, text there, tensor back", latency.whole);
  print_row("model: tokens, network, mean", latency.service);
  print_row("overhead: the rest, call by call", latency.overhead);
  print_row("search, in C++", search);
  const double share = static_cast<double>(latency.overhead.quantile(0.5)) / static_cast<double>(latency.whole.quantile(0.5));
  std::printf("  Samovar is %.1f %% of the call.", 100 * share);
  if (spin_max.count() < latency.service.quantile(0.5)) {
    std::printf(" Most of that is waking: both sides sleep through a call that long. --spin-max 20ms has them spin.");
  }
  std::printf("\n");
  return {};
}

Result<void> tell(const EmbeddingsCommand& command, Progress& progress, const std::shared_ptr<LogLines>& log) {
  const auto sentences = command.file.empty() ? read_fortunes(command.sentences) : read_lines(command.file, command.sentences);
  if (!sentences) return tl::unexpected(sentences.error());
  const auto scripts = find_example_directory("embeddings", "embeddings.py");
  if (!scripts) return tl::unexpected(scripts.error());

  Options options = command.pool;
  options.environment = Environment::ignore;  // the same everywhere, but for the interpreter
  if (const char* named = std::getenv("SAMOVAR_PYTHON"); named && options.python.empty()) options.python = named;
  options.module = (*scripts / "embeddings.py").string();
  options.name = "samovar-demo";
  options.log_level = LogLevel::warning;
  options.log = [log](LogLevel, std::string_view line) { log->add(line); };
  progress.step("starting " + std::to_string(options.workers) + " workers: the model is loaded");
  const auto begin = Clock::now();
  auto pool = Pool::start(std::move(options));
  if (!pool) return tl::unexpected(std::move(pool).error());
  const double started_s = seconds_since(begin);
  const auto embedder = Embedder::make(*pool);
  if (!embedder) return tl::unexpected(embedder.error());
  progress.clear();

  const unsigned workers = pool->options().workers;
  std::printf("Sentences that mean alike: embedded in resident Python workers, searched from C++\n\n");
  std::printf("  model      %s: %zu floats for a sentence\n", embedder->model().c_str(), embedder->dimensions());
  std::printf("  pool       %u %s of %s, started in %.1f s\n", workers, workers == 1 ? "worker" : "workers", embedder->versions().c_str(), started_s);
  std::printf("  sentences  %s %s\n", grouped(sentences->size()).c_str(),
              command.file.empty() ? "quotations of Debian's package fortunes" : ("lines of " + command.file).c_str());

  progress.step("embedding " + grouped(sentences->size()) + " sentences");
  const auto embedding = Clock::now();
  const auto matrix = embedder->embed_all(*sentences, kBatch, [&](std::size_t done) { progress.update(done, sentences->size()); });
  progress.clear();
  if (!matrix) return tl::unexpected(matrix.error());
  const double embedded_s = seconds_since(embedding);
  std::printf("             embedded in %.1f s, %zu to a call, %s sentences a second\n\n", embedded_s, kBatch,
              grouped(static_cast<std::uint64_t>(static_cast<double>(sentences->size()) / embedded_s)).c_str());

  std::vector<std::string> questions(std::begin(kQuestions), std::end(kQuestions));
  if (!command.question.empty()) questions = {command.question};
  for (const std::string& question : questions) {
    if (auto answered = answer(*embedder, *matrix, *sentences, question); !answered) return answered;
  }
  if (auto measured = measure_questions(*embedder, *matrix, questions, pool->options().spin_max, progress); !measured) return measured;
  std::printf("\nAsk it yourself: samovar demo embeddings \"why is my code slow?\". The Python is in %s\n", scripts->c_str());
  return {};
}

int run_demo_embeddings(const EmbeddingsCommand& command) {
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

void add_demo_embeddings(CLI::App& demo, int& exit_status) {
  auto command = std::make_shared<EmbeddingsCommand>();
  command->pool.workers = 2;
  CLI::App* embeddings = demo.add_subcommand("embeddings", "Find sentences that mean alike with a neural network in Python, searched from C++");
  embeddings->footer("Takes about ten seconds. Needs the Python packages of tools/setup/requirements.txt, and Debian's package fortunes\n"
                     "or a file of your own; nothing is downloaded.");
  embeddings->add_option("question", command->question, "What to look for; default: a few questions")->option_text("TEXT");
  embeddings->add_option("--sentences", command->sentences, "How many sentences to search at most, 1 to 1000000")
      ->option_text("N=2500")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}));
  embeddings->add_option("--file", command->file, "Search the lines of this file instead")->option_text("PATH");
  embeddings->add_option("--workers", command->pool.workers, "Number of workers, 1 to 1024")
      ->option_text("N=2")
      ->check(CLI::Range(1, 1024));
  add_duration(*embeddings, "--spin-max", command->pool.spin_max, "Longest spin before a wait sleeps; 0s: sleep at once");
  embeddings->add_option("--python", command->pool.python, "Interpreter; default: $SAMOVAR_PYTHON, else the one Samovar was built for")
      ->option_text("PATH");
  for (CLI::Option* of_digits : demo.get_options([&](const CLI::Option* option) { return option != demo.get_help_ptr(); })) {
    embeddings->excludes(of_digits);
  }
  embeddings->callback([command, &exit_status] { exit_status = run_demo_embeddings(*command); });
}

}  // namespace samovar::cli
