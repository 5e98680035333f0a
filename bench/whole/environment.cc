#include "bench/whole/environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace samovar::bench {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The value of "key : value" of the first processor.
std::string cpuinfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(": ");
    return colon == std::string::npos ? "" : line.substr(colon + 2);
  }
  return {};
}

fs::path tool_folder() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path();
}

// Beside the tool in a build tree, or below the library's folder of its prefix.
fs::path package_folder() {
  const fs::path built = tool_folder() / ".." / "python";
  const fs::path installed = tool_folder() / SAMOVAR_BENCH_LIBDIR / "samovar" / "python";
  std::error_code ignored;
  return fs::weakly_canonical(fs::exists(installed, ignored) ? installed : built, ignored);
}

int count_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  return CPU_COUNT(&allowed);
}

// "0-1" or "0,4": how many CPUs share a core with CPU 0.
int count_siblings() {
  const std::string list = first_line("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
  int count = 0;
  std::stringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    const std::size_t dash = range.find('-');
    count += dash == std::string::npos ? 1 : std::atoi(range.c_str() + dash + 1) - std::atoi(range.c_str()) + 1;
  }
  return count;
}

}  // namespace

std::string bench_directory() {
  const fs::path installed = tool_folder() / ".." / "share" / "samovar" / "bench";
  std::error_code ignored;
  return fs::exists(installed, ignored) ? fs::canonical(installed, ignored).string() : SAMOVAR_BENCH_DIRECTORY;
}

std::string compiled_schemas() {
  const fs::path installed = fs::path(bench_directory()) / "compiled_schemas";
  std::error_code ignored;
  return fs::exists(installed, ignored) ? installed.string() : (tool_folder() / ".." / "bench" / "schemas").string();
}

std::string choose_python(const std::string& asked) {
  if (!asked.empty()) return asked;
  if (const char* named = std::getenv("SAMOVAR_PYTHON"); named && *named) return named;
  return first_line(package_folder() / "default-interpreter");
}

std::vector<std::string> environment_with_samovar() {
  std::vector<std::string> variables;
  std::string path = "PYTHONPATH=" + package_folder().string();
  for (char** variable = environ; *variable; ++variable) {
    const std::string text = *variable;
    if (text.starts_with("PYTHONPATH=")) {
      path.append(":").append(text, text.find('=') + 1);
    } else {
      variables.push_back(text);
    }
  }
  variables.push_back(path);
  return variables;
}

HostFacts read_host_facts() {
  utsname names{};
  uname(&names);
  double load[1] = {0};
  (void)!getloadavg(load, 1);
  return {.cpu_model = cpuinfo("model name"),
          .cpus = count_cpus(),
          .threads_per_core = count_siblings(),
          .kernel = std::string(names.sysname) + " " + names.release + " " + names.machine,
          .clock_source = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
          .governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
          .machine = cpuinfo("flags").find(" hypervisor") != std::string::npos ? "virtual machine" : "bare metal or unknown",
          .compiler =
#if defined(__clang__)
              "Clang " __clang_version__,
#else
              "GCC " __VERSION__,
#endif
          .build_type = SAMOVAR_BENCH_BUILD_TYPE,
          .load_average = load[0]};
}

}  // namespace samovar::bench
