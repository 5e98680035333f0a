#include "core/topology/cpu_list.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>

namespace samovar::core {
namespace {

constexpr int kCpusMax = 1 << 16;  // more than any kernel knows: a longer range is a slip of the pen

}  // namespace

std::string format_cpus(const std::vector<int>& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    const bool is_range = last >= i + 2;
    if (!is_range) last = i;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]) + (is_range ? "-" + std::to_string(cpus[last]) : "");
    i = last + 1;
  }
  return text;
}

tl::expected<std::vector<int>, std::string> parse_cpus(std::string_view text) {
  const auto wrong = [&] { return tl::unexpected("\"" + std::string(text) + "\" is no list of numbers; write it like 0-5,8"); };
  std::set<int> cpus;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const char* const stop = text.data() + end;
    int first = 0, last = 0;
    auto [after, failure] = std::from_chars(text.data() + at, stop, first);
    if (failure != std::errc{}) return wrong();
    last = first;
    if (after != stop && *after == '-') {
      const auto range = std::from_chars(after + 1, stop, last);
      after = range.ptr;
      failure = range.ec;
    }
    if (failure != std::errc{} || after != stop || first < 0 || last < first || last >= kCpusMax) return wrong();
    for (int cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
    at = end + 1;
  }
  return std::vector<int>(cpus.begin(), cpus.end());
}

}  // namespace samovar::core
