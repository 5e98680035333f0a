#include "core/supervision/limits.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "core/config/origins.h"
#include "core/errors.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr int kNiceMax = 19;

tl::unexpected<Error> refused(const Options& options, std::string_view option, std::string value, std::string why) {
  std::string message = place_of(options, *find_option(option)) + std::string(option) + " = " + std::move(value) + " is refused: " +
                        std::move(why);
  return tl::unexpected(make_error(Category::configuration, Code::invalid_option, std::move(message)));
}

std::string hard_limit(int resource) {
  rlimit host{};
  prlimit(0, static_cast<__rlimit_resource>(resource), nullptr, &host);
  return host.rlim_max == RLIM_INFINITY ? "unlimited" : std::to_string(host.rlim_max);
}

Result<void> set_limit(pid_t pid, const Options& options, const Limit& limit) {
  if (prlimit(pid, static_cast<__rlimit_resource>(limit.resource), &limit.value, nullptr) == 0) return {};
  if (errno == ESRCH) return {};  // it has died already, which its pidfd tells
  return refused(options, limit.option, std::to_string(limit.value.rlim_cur),
                 std::string(std::strerror(errno)) + "; the hard limit of this process is " + hard_limit(limit.resource) +
                     ": lower the option or raise that (ulimit -H, LimitNOFILE= and so on)");
}

Result<void> set_nice(pid_t pid, const Options& options) {
  if (options.worker_nice == 0) return {};
  errno = 0;
  const int host = getpriority(PRIO_PROCESS, static_cast<id_t>(pid));
  if (errno == 0 && setpriority(PRIO_PROCESS, static_cast<id_t>(pid), std::min(host + options.worker_nice, kNiceMax)) == 0) return {};
  if (errno == ESRCH) return {};  // it has died already, which its pidfd tells
  return refused(options, "worker_nice", std::to_string(options.worker_nice),
                 std::string(std::strerror(errno)) + "; a process without CAP_SYS_NICE can only make its workers nicer (above 0)");
}

}  // namespace

std::vector<Limit> limits_of(const Options& options) {
  std::vector<Limit> limits;
  const auto add = [&](std::string_view option, int resource, rlim_t value, rlim_t beyond = 0) {
    if (value != 0) limits.push_back({option, resource, {.rlim_cur = value, .rlim_max = value + beyond}});
  };
  add("worker_memory_max", RLIMIT_DATA, options.worker_memory_max);
  add("worker_descriptors_max", RLIMIT_NOFILE, options.worker_descriptors_max);
  const std::int64_t cpu_ns = options.worker_cpu_time_max.count();
  // A second more until the hard limit: at that the kernel sends SIGKILL, and nobody would know why.
  add("worker_cpu_time_max", RLIMIT_CPU, static_cast<rlim_t>(cpu_ns / kSecondNs + (cpu_ns % kSecondNs != 0 ? 1 : 0)), 1);
  add("worker_core_bytes_max", RLIMIT_CORE, options.worker_core_bytes_max);
  return limits;
}

Result<void> limit_worker(pid_t pid, const Options& options) {
  for (const Limit& limit : limits_of(options)) {
    if (Result<void> is_set = set_limit(pid, options, limit); !is_set) return is_set;
  }
  return set_nice(pid, options);
}

Result<void> limit_nursery(pid_t pid, const Options& options) {
  for (const Limit& limit : limits_of(options)) {
    if (limit.resource == RLIMIT_DATA) return set_limit(pid, options, limit);
  }
  return {};
}

}  // namespace samovar::core
