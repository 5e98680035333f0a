// samovar doctor, the machine: what decides how fast a call can be here. Nothing of it keeps a pool from running.
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "core/topology/machine.h"
#include "tools/cli/doctor.h"

namespace samovar::cli {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string plural(unsigned count, const std::string& what) { return std::to_string(count) + " " + what + (count == 1 ? "" : "s"); }

Finding examine_cpus(const core::Machine& machine) {
  Finding finding{Verdict::ok, "machine", "CPUs", plural(static_cast<unsigned>(machine.cpus.size()), "CPU") + " on " + plural(core::count_cores(machine), "core"), {}};
  if (!machine.cpu_model.empty()) finding.what += ", " + machine.cpu_model;
  if (machine.cpus.size() == 1) {
    finding.verdict = Verdict::warn;
    finding.follows = "caller and worker take turns on it: each call costs two switches of the kernel instead of some cache lines";
  } else if (core::count_cores(machine) == 1) {
    finding.verdict = Verdict::note;
    finding.follows = "caller and worker share a core: the way between them is short, and each computes slower while the other one does";
  }
  return finding;
}

Finding examine_numa(const core::Machine& machine) {
  Finding finding{Verdict::ok, "machine", "memory nodes", plural(core::count_nodes(machine), "NUMA node") + " in " + plural(core::count_packages(machine), "package"), {}};
  if (core::count_nodes(machine) > 1) {
    finding.verdict = Verdict::note;
    finding.follows = "a call between nodes costs several times one within a node: nodes = [0] keeps a pool on one and numactl --cpunodebind its callers; see samovar topology";
  }
  return finding;
}

Finding examine_pinning(const core::Machine& machine) {
  cpu_set_t before, one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(machine.cpus.front().number), &one);
  bool pinned = sched_getaffinity(0, sizeof before, &before) == 0 && sched_setaffinity(0, sizeof one, &one) == 0;
  const int error = errno;
  pinned = pinned && sched_setaffinity(0, sizeof before, &before) == 0;
  if (pinned) return {Verdict::ok, "machine", "pinning", "threads can be bound to CPUs", {}};
  return {Verdict::warn, "machine", "pinning", std::strerror(error), "worker_cpus and cpus cannot be used; workers and a pinned dispatcher run wherever the kernel likes"};
}

Finding examine_governor() {
  const std::string governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (governor.empty()) return {Verdict::note, "machine", "frequency", "not told to this system", {}};
  if (governor == "performance") return {Verdict::ok, "machine", "frequency", "governor performance", {}};
  return {Verdict::note, "machine", "frequency", "governor " + governor,
          "a core that was idle is slow at first; \"performance\" makes the slowest calls faster (cpupower frequency-set -g performance)"};
}

Finding examine_virtualisation() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") || line.find(" hypervisor") == std::string::npos) continue;
    const std::string vendor = first_line("/sys/class/dmi/id/sys_vendor");
    return {Verdict::note, "machine", "virtual machine", vendor.empty() ? "yes" : vendor,
            "waking a sleeper costs tens of microseconds here, and a few without a hypervisor; spin_max decides how long a wait spins"};
  }
  return {Verdict::ok, "machine", "virtual machine", "none seen", {}};
}

Finding examine_clock() {
  const std::string source = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (source.empty()) return {Verdict::note, "machine", "clock", "not told to this system", {}};
  if (source != "hpet" && source != "acpi_pm" && source != "jiffies") return {Verdict::ok, "machine", "clock", source, {}};
  return {Verdict::warn, "machine", "clock", source, "reading it is a system call of about a microsecond, several times in each call; see "
          "/sys/devices/system/clocksource/clocksource0"};
}

// Lanes and arenas are shared memory of the kernel's own.
Finding examine_huge_pages() {
  const std::string shmem = first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  const std::size_t begin = shmem.find('['), end = shmem.find(']');
  if (begin == std::string::npos || end == std::string::npos) return {Verdict::note, "machine", "huge pages", "not told to this system", {}};
  return {Verdict::ok, "machine", "huge pages", "of shared memory: " + shmem.substr(begin + 1, end - begin - 1), {}};
}

}  // namespace

void examine_machine(Findings& findings) {
  const core::Machine machine = core::this_machine();
  findings.push_back(examine_cpus(machine));
  findings.push_back(examine_numa(machine));
  findings.push_back(examine_pinning(machine));
  findings.push_back(examine_governor());
  findings.push_back(examine_virtualisation());
  findings.push_back(examine_clock());
  findings.push_back(examine_huge_pages());
}

}  // namespace samovar::cli
