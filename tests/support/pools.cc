#include "tests/support/pools.h"

#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace samovar::test {
namespace {

namespace fs = std::filesystem;

const bool kSanitizedWorkers = [] {
  // An instrumented extension needs its runtime in the interpreter, which was built without it. Children alone see this.
#ifdef SAMOVAR_TEST_PRELOAD
  setenv("LD_PRELOAD", SAMOVAR_TEST_PRELOAD, 1);
  // CPython keeps what it has made until the process ends; and what ends a worker, or is a MemoryError in it, stays that.
  setenv("ASAN_OPTIONS", "detect_leaks=0:allocator_may_return_null=1:handle_segv=0:handle_abort=0", 0);
#endif
  return true;
}();

}  // namespace

std::string module(std::string_view file) { return (fs::path(SAMOVAR_TEST_MODULES) / file).string(); }

Options options(std::string_view module_file) {
  Options options;
  options.module = module(module_file);
  options.workers = 1;
  options.dispatcher = Dispatcher::caller;
  options.log_level = LogLevel::warning;
  options.restart_intensity = 10'000;  // tests kill many
  return options;
}

Pool start(Options options) {
  Result<Pool> pool = Pool::start(std::move(options));
  if (!pool) throw std::runtime_error("the pool did not start: " + pool.error().to_string());
  return std::move(*pool);
}

Error start_failure(Options options) {
  Result<Pool> pool = Pool::start(std::move(options));
  if (pool) throw std::runtime_error("the pool started, and should not have");
  return std::move(pool.error());
}

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "samovar-test-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp " + name);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string Folder::read(std::string_view name) const {
  std::ifstream file(path_ / name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void Folder::write(std::string_view name, std::string_view text) const {
  const fs::path path = path_ / name;
  std::ofstream(path) << text;
  fs::permissions(path, fs::perms::owner_exec, fs::perm_options::add);
}

bool Gate::reached() const {
  return wait_until([this] { return fs::exists(folder_.path() / (name_ + ".here")); });
}

LogSink Lines::sink() {
  return [kept = kept_](LogLevel, std::string_view line) {
    std::lock_guard lock(kept->mutex);
    kept->lines.emplace_back(line);
  };
}

bool Lines::contain(std::string_view text) const { return !with(text).empty(); }

std::vector<std::string> Lines::with(std::string_view text) const {
  std::lock_guard lock(kept_->mutex);
  std::vector<std::string> found;
  std::copy_if(kept_->lines.begin(), kept_->lines.end(), std::back_inserter(found),
               [&](const std::string& line) { return line.find(text) != std::string::npos; });
  return found;
}

std::string Lines::all() const {
  std::string text;
  for (const std::string& line : with("")) text += line + "\n";
  return text;
}

EventHook Happenings::hook() {
  return [kept = kept_](const Event& event) {
    const std::lock_guard lock(kept->mutex);
    kept->events.push_back(event);
  };
}

std::vector<Event> Happenings::all() const {
  const std::lock_guard lock(kept_->mutex);
  return kept_->events;
}

std::vector<Event> Happenings::of(EventKind kind) const {
  std::vector<Event> events = all();
  std::erase_if(events, [&](const Event& event) { return event.kind != kind; });
  return events;
}

bool Happenings::have(EventKind kind, std::size_t at_least) const {
  return wait_until([&] { return count(kind) >= at_least; });
}

PackageCopy::PackageCopy() {
  fs::copy(fs::path(SAMOVAR_TEST_PACKAGES) / "samovar", folder_.path() / "samovar");
}

fs::path PackageCopy::extension() const {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path() / "samovar")) {
    if (entry.path().extension() == ".so") return entry.path();
  }
  throw std::runtime_error("no extension in the package");
}

Value value_of(const Result<Reply>& reply) {
  if (!reply) throw std::runtime_error("no reply: " + reply.error().to_string());
  Result<Value> value = reply->value();
  if (!value) throw std::runtime_error("no value: " + value.error().to_string());
  return std::move(*value);
}

std::optional<Code> code_of(const Result<Reply>& reply) {
  if (reply) return std::nullopt;
  return reply.error().code;
}

std::optional<std::int64_t> if_integer(const Result<Reply>& reply) {
  if (!reply) return std::nullopt;
  const Result<Value> value = reply->value();
  return value ? value->as_int() : std::nullopt;
}

std::int64_t integer(const Result<Reply>& reply) {
  const Value value = value_of(reply);
  if (!value.as_int()) throw std::runtime_error("not an int: " + value.to_string());
  return *value.as_int();
}

std::string text_of(const Result<Reply>& reply) {
  const Value value = value_of(reply);
  if (!value.as_str()) throw std::runtime_error("not a str: " + value.to_string());
  return *value.as_str();
}

pid_t worker_pid(Pool& pool) { return static_cast<pid_t>(integer(pool.call("pid"))); }

}  // namespace samovar::test
