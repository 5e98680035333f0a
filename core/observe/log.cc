#include "core/observe/log.h"

#include <memory>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace samovar::core {
namespace {

// A logger of this pool alone: nothing is registered in spdlog's globals, which the user's program may use for itself.
LogSink to_stderr(const std::string& name) {
  auto logger = std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_level(spdlog::level::debug);
  logger->flush_on(spdlog::level::debug);
  return [logger](LogLevel level, std::string_view line) {
    constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                     spdlog::level::err};
    logger->log(kLevels[static_cast<int>(level)], spdlog::string_view_t(line.data(), line.size()));
  };
}

}  // namespace

Log::Log(const Options& options)
    : level_(options.log_level), sink_(options.log ? options.log : to_stderr(options.name)) {}

}  // namespace samovar::core
