// samovar doctor, the limits: of this process, and of the cgroup (container) it is in.
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include "core/topology/machine.h"
#include "core/topology/plan.h"
#include "core/topology/quota.h"
#include "tools/cli/doctor.h"
#include "tools/cli/text.h"

namespace samovar::cli {
namespace {

namespace fs = std::filesystem;

// Of the host: pidfd, control socket, output and eventfd of each worker; epolls, bells, timers, a worker's ends while it starts, and
// a few to spare.
constexpr rlim_t kDescriptorsOfWorker = 4;
constexpr rlim_t kDescriptorsOfPool = 16;

constexpr std::uint64_t kMemoryOfWorker = 64u << 20;  // an interpreter with little imported, and room to compute

std::string size(rlim_t bytes) { return human_bytes(static_cast<double>(bytes)); }

rlim_t soft_limit(__rlimit_resource resource) {
  rlimit limit{};
  getrlimit(resource, &limit);
  return limit.rlim_cur;
}

rlim_t open_descriptors() {
  std::error_code unreadable;
  const fs::directory_iterator entries("/proc/self/fd", unreadable);
  return unreadable ? 3 : static_cast<rlim_t>(std::distance(begin(entries), end(entries))) - 1;
}

Finding examine_descriptors(unsigned workers) {
  const rlim_t limit = soft_limit(RLIMIT_NOFILE);
  const auto needed = [](rlim_t count) { return open_descriptors() + kDescriptorsOfPool + count * kDescriptorsOfWorker; };
  Finding finding{Verdict::ok, "limits", "descriptors", limit == RLIM_INFINITY ? "no limit" : std::to_string(limit), {}};
  if (limit >= needed(workers)) return finding;
  const bool none = limit < needed(1);
  finding.verdict = none ? Verdict::fail : Verdict::warn;
  finding.follows = none ? "no pool can start with fewer than " + std::to_string(needed(1)) + "; raise ulimit -n"
                         : std::to_string(workers) + " workers, as configured, need about " + std::to_string(needed(workers)) +
                               " and will not start; raise ulimit -n or lower workers";
  return finding;
}

// Every process and thread of this user counts.
Finding examine_processes(unsigned workers) {
  const rlim_t limit = soft_limit(RLIMIT_NPROC);
  Finding finding{Verdict::ok, "limits", "processes", limit == RLIM_INFINITY ? "no limit" : std::to_string(limit), {}};
  if (limit >= 4 * rlim_t{workers} + 64) return finding;
  finding.verdict = Verdict::warn;
  finding.follows = "of all processes and threads of this user together; a worker has three threads or more: starting may fail; raise ulimit -u";
  return finding;
}

Finding examine_address_space() {
  const rlim_t limit = soft_limit(RLIMIT_AS);
  if (limit == RLIM_INFINITY) return {Verdict::ok, "limits", "address space", "no limit", {}};
  return {Verdict::warn, "limits", "address space", size(limit),
          "sparse memory counts whole: large lanes, arenas and NumPy may not start; raise ulimit -v, and limit memory by cgroup instead"};
}

// ftruncate() above the limit kills with SIGXFSZ.
Finding examine_file_size(const Options& options) {
  const rlim_t limit = soft_limit(RLIMIT_FSIZE);
  if (limit == RLIM_INFINITY) return {Verdict::ok, "limits", "file size", "no limit", {}};
  const rlim_t needed = rlim_t{options.lane_bytes} + 4096;
  const bool none = limit < needed;
  return {none ? Verdict::fail : Verdict::warn, "limits", "file size", size(limit),
          none ? "shared memory counts as a file, and " + size(needed) + " are needed for a lane: pools cannot start; raise ulimit -f"
               : "shared memory counts as a file: arenas may not start; raise ulimit -f"};
}

Finding examine_locked_memory() {
  const rlim_t limit = soft_limit(RLIMIT_MEMLOCK);
  return {Verdict::ok, "limits", "locked memory", (limit == RLIM_INFINITY ? "no limit" : size(limit)) + ", and none is needed", {}};
}

std::optional<std::string> first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

// The folders of this process's cgroup and those above it, whose limits hold, too. Version 2, or a controller of version 1.
std::vector<fs::path> cgroup_folders(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  std::vector<fs::path> folders;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string number, controllers, path;
    std::getline(fields, number, ':');
    std::getline(fields, controllers, ':');
    std::getline(fields, path);
    const bool unified = number == "0" && controllers.empty();
    const bool ours = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!unified && !ours) continue;
    const fs::path root = fs::path("/sys/fs/cgroup") / (unified ? "" : controllers);
    for (fs::path folder = fs::path(path).relative_path();; folder = folder.parent_path()) {
      folders.push_back(root / folder);
      if (folder.empty()) break;
    }
  }
  return folders;
}

std::optional<std::uint64_t> memory_limit() {
  constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;  // version 1 writes a number near 2^63
  std::optional<std::uint64_t> least;
  for (const fs::path& folder : cgroup_folders("memory")) {
    for (const char* name : {"memory.max", "memory.limit_in_bytes"}) {
      std::uint64_t bytes = 0;
      const auto line = first_line(folder / name);
      if (line && std::istringstream(*line) >> bytes && bytes < kNoLimit) least = std::min(least.value_or(bytes), bytes);
    }
  }
  return least;
}

Finding examine_cpu_quota(unsigned workers) {
  const double quota = core::cpu_quota();
  if (quota == 0) return {Verdict::ok, "limits", "cgroup CPU", "no limit", {}};
  char text[64];
  std::snprintf(text, sizeof text, "the time of %.2g CPUs", quota);
  if (quota >= workers + 1) return {Verdict::ok, "limits", "cgroup CPU", text, {}};
  return {Verdict::warn, "limits", "cgroup CPU", text,
          std::to_string(workers) + " workers and the host together may use more; then all of them stand still until the next period "
          "(usually 100 ms). Set workers, or raise the limit"};
}

Finding examine_memory_limit(unsigned workers) {
  const std::optional<std::uint64_t> limit = memory_limit();
  if (!limit) return {Verdict::ok, "limits", "cgroup memory", "no limit", {}};
  const bool little = *limit < workers * kMemoryOfWorker;
  return {little ? Verdict::warn : Verdict::ok, "limits", "cgroup memory", size(*limit),
          little ? std::to_string(workers) + " workers with little imported need more; the kernel would kill one of them" : ""};
}

Finding examine_dev_shm() {
  struct statvfs status {};
  const bool there = statvfs("/dev/shm", &status) == 0;
  return {Verdict::ok, "limits", "/dev/shm", (there ? size(status.f_blocks * status.f_frsize) : "none") + ", and none is needed", {}};
}

}  // namespace

void examine_limits(Findings& findings, const Options& options) {
  const unsigned workers = options.workers > 0 ? options.workers : core::plan_placement(core::this_machine(), {}).workers;
  const unsigned workers_most = std::max(workers, options.workers_max) + options.max_overflow;
  findings.push_back(examine_descriptors(workers_most));
  findings.push_back(examine_processes(workers_most));
  findings.push_back(examine_address_space());
  findings.push_back(examine_file_size(options));
  findings.push_back(examine_locked_memory());
  findings.push_back(examine_cpu_quota(workers));
  findings.push_back(examine_memory_limit(workers_most));
  findings.push_back(examine_dev_shm());
}

}  // namespace samovar::cli
