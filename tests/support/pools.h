// Pools with real Python workers, and what tests need around them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/samovar.h>

#include "tests/support/wait_until.h"

namespace samovar {

// In a failed expectation of GoogleTest.
inline void PrintTo(Code code, std::ostream* out) { *out << to_string(code); }
inline void PrintTo(Category category, std::ostream* out) { *out << to_string(category); }
inline void PrintTo(const Value& value, std::ostream* out) { *out << value.to_string(); }

}  // namespace samovar

namespace samovar::test {

// Whether the workers' extension is instrumented: AddressSanitizer's shadow memory counts as data, and it turns core dumps off.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kShadowed = true;
#else
inline constexpr bool kShadowed = false;
#endif

// tests/support/modules/FILE.
std::string module(std::string_view file);

// Options for methods.py with one worker, caller dispatch and little logging; tests change what they are about.
Options options(std::string_view module_file = "methods.py");

// A pool that must start; throws what Pool::start() says otherwise.
Pool start(Options options);

// The error of a pool that must not start, nor leave anything behind.
Error start_failure(Options options);

// A folder that goes with the test.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(std::string_view name) const { return (path_ / name).string(); }
  std::string read(std::string_view name) const;
  void write(std::string_view name, std::string_view text) const;  // executable, too

 private:
  std::filesystem::path path_;
};

// A place in Python where a handler waits: `wait_at` of methods.py, called with path().
class Gate {
 public:
  explicit Gate(std::string_view name = "gate") : name_(name) {}

  std::string path() const { return folder_.file(name_); }
  [[nodiscard]] bool reached() const;  // waits until a handler stands here
  void open() const { folder_.write(name_ + ".open", ""); }

 private:
  std::string name_;
  Folder folder_;
};

// Log lines of a pool, kept. Threads: any.
class Lines {
 public:
  LogSink sink();
  bool contain(std::string_view text) const;
  std::vector<std::string> with(std::string_view text) const;
  std::string all() const;

 private:
  struct Kept {
    std::mutex mutex;
    std::vector<std::string> lines;  // guarded by mutex
  };
  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();  // a sink may outlive the test's view of it
};

// Events of a pool, kept. Threads: any.
class Happenings {
 public:
  EventHook hook();
  std::vector<Event> of(EventKind kind) const;
  std::vector<Event> all() const;
  std::size_t count(EventKind kind) const { return of(kind).size(); }
  [[nodiscard]] bool have(EventKind kind, std::size_t at_least = 1) const;  // waits for them

 private:
  struct Kept {
    std::mutex mutex;
    std::vector<Event> events;  // guarded by mutex
  };
  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

// A copy of the Python package of this build, in front of the real one for pools that get `python_path`.
class PackageCopy {
 public:
  PackageCopy();
  std::vector<std::string> python_path() const { return {folder_.path().string()}; }
  std::filesystem::path file(std::string_view name) const { return folder_.path() / "samovar" / name; }
  std::filesystem::path extension() const;

 private:
  Folder folder_;
};

std::optional<Code> code_of(const Result<Reply>& reply);  // of its error; nothing where it is a reply
std::optional<std::int64_t> if_integer(const Result<Reply>& reply);  // for callbacks, which must not throw
std::int64_t integer(const Result<Reply>& reply);  // of a reply that must be an int; throws its error otherwise
std::string text_of(const Result<Reply>& reply);   // likewise
Value value_of(const Result<Reply>& reply);        // likewise, of any kind

// The process of one worker of an idle pool, asked from itself. With several workers: of any.
pid_t worker_pid(Pool& pool);

}  // namespace samovar::test
