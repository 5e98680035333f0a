// samovar doctor, Python: the interpreter that a pool would start is started, with the environment that a worker would get.
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include <samovar/inspect.h>

#include "ipc/layout.h"
#include "tools/cli/child_process.h"
#include "tools/cli/doctor.h"

namespace samovar::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr auto kPatience = 30s;
constexpr int kVersionMin[] = {3, 11};

// As `-m samovar.doctor`, and what it complains of comes to us instead of the terminal.
constexpr const char* kAsk = "import os, runpy; os.dup2(1, 2); runpy.run_module('samovar.doctor', run_name='__main__')";

struct Answer {
  json facts;        // an object, or null where there is none
  std::string said;  // instead: the last line
};

Answer ask(const WorkerCommand& command) {
  std::vector<std::string> environment;
  for (const auto& [name, value] : command.environment) environment.push_back(name + "=" + value);
  auto process = ChildProcess::start({command.argv.front(), "-c", kAsk}, environment);
  if (!process) return {.facts = {}, .said = process.error().message};
  process->close_stdin();
  Answer answer;
  while (true) {
    auto line = process->read_line(kPatience);
    if (!line) break;
    json facts = json::parse(*line, nullptr, false);
    if (facts.is_object()) answer.facts = std::move(facts);
    if (!line->empty()) answer.said = *std::move(line);
  }
  if (answer.said.empty()) answer.said = "it said nothing, or took longer than 30 s";
  return answer;
}

std::string text(const json& facts, const char* key) { return facts.contains(key) && facts[key].is_string() ? facts[key].get<std::string>() : "?"; }

std::string hexadecimal(std::uint64_t number) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "0x%016llx", static_cast<unsigned long long>(number));
  return digits;
}

Finding examine_version(const json& facts) {
  const std::string what = text(facts, "implementation") + " " + text(facts, "version") + ", ABI " + text(facts, "abi");
  const json info = facts.value("version_info", json::array());
  const bool numbers = info.is_array() && info.size() == 2 && info[0].is_number_integer() && info[1].is_number_integer();
  const bool old = !numbers || std::pair(info[0].get<int>(), info[1].get<int>()) < std::pair(kVersionMin[0], kVersionMin[1]);
  if (text(facts, "implementation") != "CPython" || old) {
    return {Verdict::fail, "python", "version", what, "workers need CPython 3.11 or newer; name one by SAMOVAR_PYTHON"};
  }
  return {Verdict::ok, "python", "version", what, {}};
}

Finding examine_package(const json& facts) {
  const std::string what = text(facts, "samovar") + " in " + text(facts, "package");
  if (text(facts, "samovar") == SAMOVAR_VERSION) return {Verdict::ok, "python", "package", what, {}};
  return {Verdict::warn, "python", "package", what, "this command and its library are " SAMOVAR_VERSION "; install both from one version"};
}

Finding examine_extension(const json& facts) {
  const json extension = facts.value("extension", json::object());
  if (!extension.is_object() || !extension.contains("file")) {
    std::string built;
    for (const json& name : extension.is_object() ? extension.value("built", json::array()) : json::array()) {
      if (name.is_string()) built += " " + name.get<std::string>();
    }
    return {Verdict::fail, "python", "extension", text(extension, "error"),
            "pools cannot start; built are:" + (built.empty() ? " none" : built) + ". Build it for this interpreter "
            "(cmake -DPython_EXECUTABLE=…), or name the one it was built for by SAMOVAR_PYTHON"};
  }
  const std::string ours = hexadecimal(ipc::layout_hash()), theirs = text(extension, "layout_hash");
  if (ours == theirs) return {Verdict::ok, "python", "extension", text(extension, "file") + ", layout " + theirs, {}};
  return {Verdict::fail, "python", "extension", text(extension, "file") + ", layout " + theirs,
          "pools cannot start: the library speaks layout " + ours + "; build or install both from one version"};
}

Finding examine_environment(const json& facts) {
  const bool is_virtual = facts.value("is_virtual", false);
  return {Verdict::ok, "python", "environment", (is_virtual ? "virtual, " : "of the system, ") + text(facts, "environment"), {}};
}

Finding examine_packages(const json& facts) {
  const json packages = facts.value("packages", json::object());
  std::string what;
  for (const auto& [name, version] : packages.items()) {
    if (!what.empty()) what += ", ";
    what += name + " " + (version.is_string() ? version.get<std::string>() : "?");
  }
  if (packages.contains("numpy")) return {Verdict::ok, "python", "packages", what, {}};
  return {Verdict::note, "python", "packages", what.empty() ? "none of those that methods compute with" : what,
          "NumPy is not installed for this interpreter; Samovar does not need it, and methods may"};
}

}  // namespace

bool examine_python(Findings& findings, const Options& options) {
  const Result<WorkerCommand> command = worker_command(options);
  if (!command) {
    findings.push_back({Verdict::fail, "python", "interpreter", command.error().message, "pools cannot start"});
    return false;
  }
  const std::string& python = command->argv.front();
  const Answer answer = ask(*command);
  if (!answer.facts.is_object()) {
    findings.push_back({Verdict::fail, "python", "interpreter", python + ": " + answer.said,
                        "pools cannot start: it does not run `python -m samovar.doctor`; is it Python, and is samovar on its path?"});
    return false;
  }
  findings.push_back({Verdict::ok, "python", "interpreter", python, {}});
  if (answer.facts.value("free_threaded", false)) {
    findings.push_back({Verdict::warn, "python", "GIL", "this build has none", "Samovar has not been tried with it; use the ordinary build"});
  }
  const Finding parts[] = {examine_version(answer.facts), examine_package(answer.facts), examine_extension(answer.facts),
                           examine_environment(answer.facts), examine_packages(answer.facts)};
  bool well = true;
  for (const Finding& part : parts) {
    well &= part.verdict != Verdict::fail;
    findings.push_back(part);
  }
  return well;
}

}  // namespace samovar::cli
