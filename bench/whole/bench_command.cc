#include "bench/whole/bench_command.h"

#include <iostream>
#include <memory>

#include "bench/whole/report.h"
#include "bench/whole/run.h"

namespace samovar::bench {

void add_bench(CLI::App& app, int& exit_status) {
  struct Arguments {
    bool json = false;
    bool quick = false;
    std::string python;
    std::vector<std::string> only;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* bench = app.add_subcommand("bench", "Measure what calls cost here, beside the floor and the usual means");
  bench->add_flag("--json", arguments->json, "One JSON object on stdout; progress on stderr");
  bench->add_flag("--quick", arguments->quick, "End within 40 s instead of a few minutes; noisier");
  bench->add_option("--python", arguments->python, "Interpreter of the workers and of the peers");
  bench->add_option("sections,--only", arguments->only, "Sections to run, with commas or spaces between; the others' figures are null")
      ->delimiter(',')
      ->check(CLI::IsMember(kSections));
  bench->footer("What each number means, and what it does not: bench/README.md");

  bench->callback([arguments, &exit_status] {
    RunSettings settings;
    settings.length = arguments->quick ? Length::quick : Length::full;
    settings.python = arguments->python;
    settings.only = {arguments->only.begin(), arguments->only.end()};
    settings.progress = [](std::string_view line) { std::cerr << "samovar bench: " << line << std::endl; };
    const auto figures = run(settings);
    if (!figures) {
      std::cerr << "samovar bench: " << figures.error() << std::endl;
      exit_status = 1;
      return;
    }
    if (arguments->json) {
      std::cout << to_json(*figures).dump(2) << std::endl;
    } else {
      std::cout << to_table(*figures) << std::flush;
    }
    exit_status = figures->failures.empty() ? 0 : 1;
  });
}

}  // namespace samovar::bench
