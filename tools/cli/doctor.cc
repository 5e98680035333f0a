// samovar doctor: whether a pool can run here, what keeps it from that, and what would make it faster.
#include "tools/cli/doctor.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/cli/commands.h"
#include "tools/cli/configured.h"
#include "tools/cli/failure.h"

namespace samovar::cli {
namespace {

constexpr const char* kFooter =
    "Things that a pool needs are tried, not looked up; at last a pool with one worker is started and called.\n"
    "  ok    as it should be        warn  a pool runs, and something is worse than it could be\n"
    "  note  worth knowing          FAIL  no pool runs here\n"
    "Exit status: 0 a pool can run here, 1 it cannot (with --strict: or something is worth a warning), 2 wrong usage.";

struct DoctorCommand {
  Configured source;
  std::string python;
  bool json = false;
  bool strict = false;
};

const char* name_of(Verdict verdict) {
  constexpr const char* kNames[] = {"ok", "note", "warn", "fail"};
  return kNames[static_cast<int>(verdict)];
}

std::size_t count(const Findings& findings, Verdict verdict) {
  return static_cast<std::size_t>(
      std::count_if(findings.begin(), findings.end(), [&](const Finding& finding) { return finding.verdict == verdict; }));
}

std::string plural(std::size_t count, const std::string& what) { return std::to_string(count) + " " + what + (count == 1 ? "" : "s"); }

std::string summary(const Findings& findings) {
  const std::size_t failures = count(findings, Verdict::fail), warnings = count(findings, Verdict::warn);
  std::string text = failures > 0 ? "No pool can run here: " + plural(failures, "failure") : "A pool can run here";
  if (warnings > 0) text += (failures > 0 ? ", " : ", with ") + plural(warnings, "warning");
  return text + ".";
}

void print_table(const Findings& findings) {
  std::size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.subject.size());
  std::string section;
  for (const Finding& finding : findings) {
    if (finding.section != section) std::printf("%s%s\n", section.empty() ? "" : "\n", finding.section.c_str());
    section = finding.section;
    std::printf("  %-4s  %-*s  %s\n", finding.verdict == Verdict::fail ? "FAIL" : name_of(finding.verdict), static_cast<int>(width),
                finding.subject.c_str(), finding.what.c_str());
    if (!finding.follows.empty()) std::printf("        %-*s  -> %s\n", static_cast<int>(width), "", finding.follows.c_str());
  }
  std::printf("\n%s\n", summary(findings).c_str());
}

void print_json(const Findings& findings) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"verdict", name_of(finding.verdict)},
                    {"section", finding.section},
                    {"subject", finding.subject},
                    {"what", finding.what},
                    {"follows", finding.follows}});
  }
  const nlohmann::ordered_json document{{"can_run", count(findings, Verdict::fail) == 0},
                                        {"failures", count(findings, Verdict::fail)},
                                        {"warnings", count(findings, Verdict::warn)},
                                        {"version", SAMOVAR_VERSION},
                                        {"findings", list}};
  std::printf("%s\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

int run_doctor(const DoctorCommand& command) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a limit of file size is a finding, not our end
  Findings findings;
  Result<Options> options = load(command.source, {});
  if (!options) {
    findings.push_back({Verdict::fail, "configuration", "options", options.error().message, "pools cannot start; see samovar config"});
    options = Options{};
    options->environment = Environment::ignore;
  }
  if (!command.python.empty()) options->python = command.python;
  examine_kernel(findings);
  examine_limits(findings, *options);
  examine_machine(findings);
  const bool python = examine_python(findings, *options);
  if (python && count(findings, Verdict::fail) == 0) examine_pool(findings, *options);

  command.json ? print_json(findings) : print_table(findings);
  const bool well = count(findings, Verdict::fail) == 0 && !(command.strict && count(findings, Verdict::warn) > 0);
  return well ? kSucceeded : kFailed;
}

}  // namespace

void add_doctor(CLI::App& app, int& exit_status) {
  auto command = std::make_shared<DoctorCommand>();
  CLI::App* doctor = app.add_subcommand("doctor", "Tell whether a pool can run here, what keeps it from that, and what slows it");
  doctor->footer(kFooter);
  add_configured(*doctor, "--config", command->source);
  doctor->add_option("--python", command->python, "Interpreter; default: $SAMOVAR_PYTHON, else the one Samovar was built for")
      ->option_text("PATH");
  doctor->add_flag("--strict", command->strict, "End with status 1 where there are warnings, too");
  doctor->add_flag("--json", command->json, "Print JSON");
  doctor->callback([command, &exit_status] { exit_status = run_doctor(*command); });
}

}  // namespace samovar::cli
