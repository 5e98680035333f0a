// Wording: what happened, why, what to do next; and what is read of a failure that a worker sent.
#include "core/errors.h"

#include <gtest/gtest.h>
#include <samovar_wire/error_generated.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>

namespace samovar::core {
namespace {

TEST(Errors, each_code_and_category_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::system_error); ++code) names.insert(to_string(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Code::system_error) + 1);
  EXPECT_EQ(to_string(Code::invalid_option), "invalid_option");
  EXPECT_EQ(to_string(Code::worker_lost), "worker_lost");
  EXPECT_EQ(to_string(Code::system_error), "system_error");
  std::set<std::string_view> categories;
  for (int category = 0; category <= static_cast<int>(Category::system); ++category) categories.insert(to_string(static_cast<Category>(category)));
  EXPECT_EQ(categories.size(), static_cast<std::size_t>(Category::system) + 1);
  EXPECT_EQ(to_string(Category::worker), "worker");
  EXPECT_EQ(to_string(Category::system), "system");
}

TEST(Errors, deadline_says_whether_the_call_may_have_run) {
  const Error waiting = deadline_exceeded("price", false);
  EXPECT_EQ(waiting.code, Code::deadline_exceeded);
  EXPECT_EQ(waiting.category, Category::timeout);
  EXPECT_EQ(waiting.message, "\"price\" found no free worker before its deadline; it has not run");
  EXPECT_FALSE(waiting.context.started);
  EXPECT_TRUE(waiting.context.retryable);
  const Error running = deadline_exceeded("price", true);
  EXPECT_EQ(running.message, "\"price\" was not answered before its deadline; its late reply will be dropped");
  EXPECT_TRUE(running.context.started);
  EXPECT_FALSE(running.context.retryable);
}

TEST(Errors, worker_lost_says_how_and_whether_it_ran) {
  const Error started = worker_lost("price", 2, "worker 2 (PID 7) was killed by signal 9 (Killed)", true);
  EXPECT_EQ(started.to_string(), "worker_lost: worker 2 (PID 7) was killed by signal 9 (Killed) while it ran \"price\" (worker 2)");
  EXPECT_FALSE(started.context.retryable);
  const Error before = worker_lost("price", 2, "it died", false);
  EXPECT_EQ(before.message, "it died before it began to run \"price\"");
  EXPECT_TRUE(before.context.retryable);
}

TEST(Errors, name_the_limit_and_what_to_do) {
  EXPECT_EQ(queue_full(1000).category, Category::resource);
  EXPECT_NE(queue_full(1000).message.find("1000 calls wait already (queue_limit)"), std::string::npos);
  EXPECT_NE(queue_full(1000).message.find("WhenFull::wait"), std::string::npos);
  EXPECT_TRUE(queue_full(1).context.retryable);
  const Error large = payload_too_large(5000, 4096);
  EXPECT_EQ(large.category, Category::request);
  EXPECT_NE(large.message.find("5000 bytes"), std::string::npos);
  EXPECT_NE(large.message.find("request_arena_bytes = 4096"), std::string::npos);
  EXPECT_EQ(call_cancelled("price").category, Category::cancelled);
  EXPECT_EQ(pool_stopped().category, Category::shutdown);
}

TEST(Errors, unknown_method_offers_the_nearest_where_there_is_one) {
  EXPECT_EQ(unknown_method("prise", "price", "models.py").message, "\"models.py\" has no method \"prise\"; did you mean \"price\"?");
  EXPECT_EQ(unknown_method("x", {}, "models.py").message, "\"models.py\" has no method \"x\"");
}

TEST(Errors, of_the_system_say_what_was_refused_and_what_to_do) {
  const Error files = system_failure({"memfd_create(samovar)", EMFILE}, "starting a worker");
  EXPECT_EQ(files.category, Category::system);
  EXPECT_EQ(files.code, Code::system_error);
  EXPECT_EQ(files.message, "starting a worker: memfd_create(samovar): Too many open files; raise the limit of open files (ulimit -n)");
  EXPECT_EQ(start_refused({"memfd_create", ENOSYS}, "x").code, Code::unsupported_system);
  EXPECT_EQ(start_refused({"memfd_create", ENOSYS}, "x").category, Category::configuration);
  EXPECT_EQ(start_refused({"memfd_create", EMFILE}, "x").category, Category::system);
  EXPECT_NE(system_failure({"mmap", ENOMEM}, "x").message.find("fewer workers"), std::string::npos);
  EXPECT_EQ(system_failure({"mmap", EINVAL}, "x").message, "x: mmap: Invalid argument");
}

TEST(Errors, print_their_worker_traceback_stacks_and_output_where_there_are) {
  Error error = make_error(Category::application, Code::method_failed, "ValueError: negative price");
  EXPECT_EQ(error.to_string(), "method_failed: ValueError: negative price");
  error.context.worker = 0;
  error.context.traceback = "Traceback: …";
  error.context.stacks = "Thread 0x1:\n";
  error.context.output = "one\ntwo\n";
  EXPECT_EQ(error.to_string(), "method_failed: ValueError: negative price (worker 0)\nTraceback: …\nstacks of the worker's threads:\n"
                               "Thread 0x1:\n\nlast output of the worker:\none\ntwo\n");
}

std::vector<std::byte> failure(std::uint16_t code, const char* type, const char* message, const char* traceback) {
  flatbuffers::FlatBufferBuilder builder;
  const auto type_text = builder.CreateString(type);
  const auto message_text = builder.CreateString(message);
  const auto traceback_text = builder.CreateString(traceback);
  builder.Finish(wire::CreateError(builder, code, type_text, message_text, traceback_text));
  const auto* data = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return {data, data + builder.GetSize()};
}

TEST(MethodFailed, carries_type_message_and_traceback) {
  const Error error = method_failed("price", failure(0, "models.Bad", "no", "Traceback"));
  EXPECT_EQ(error.category, Category::application);
  EXPECT_EQ(error.code, Code::method_failed);
  EXPECT_EQ(error.message, "models.Bad: no");
  EXPECT_EQ(error.context.python_type, "models.Bad");
  EXPECT_EQ(error.context.traceback, "Traceback");
  EXPECT_TRUE(error.context.started);
  EXPECT_EQ(method_failed("price", failure(0, "", "no", "")).message, "no");
}

// Found by tests/fuzz: the message was empty.
TEST(MethodFailed, with_an_error_that_says_nothing_says_so) {
  for (const std::uint16_t code : {0, 1, 2, 3, 4}) {
    EXPECT_EQ(method_failed("price", failure(code, "", "", "")).message, "\"price\" failed; its error says nothing");
  }
  EXPECT_EQ(method_failed("price", failure(0, "ValueError", "", "")).message, "ValueError");
}

TEST(MethodFailed, has_the_code_and_category_of_its_kind) {
  const struct {
    std::uint16_t code;
    Category category;
    Code expected;
  } cases[] = {{0, Category::application, Code::method_failed},    {1, Category::application, Code::invalid_result},
               {2, Category::application, Code::result_too_large}, {3, Category::request, Code::invalid_payload},
               {4, Category::request, Code::unknown_method},       {5, Category::resource, Code::resource_exhausted},
               {6, Category::application, Code::method_failed},   {65535, Category::application, Code::method_failed}};
  for (const auto& c : cases) {
    const Error error = method_failed("price", failure(c.code, "", "why", ""));
    EXPECT_EQ(error.code, c.expected) << c.code;
    EXPECT_EQ(error.category, c.category) << c.code;
    EXPECT_EQ(error.message, "why");
  }
}

TEST(MethodFailed, of_bytes_that_are_no_error_is_an_error_all_the_same) {
  const auto whole = failure(0, "T", "message", "traceback");
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    const auto block = std::make_unique<std::byte[]>(length);
    std::copy(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length), block.get());
    const Error error = method_failed("price", {block.get(), length});
    EXPECT_FALSE(error.message.empty());
    if (length < 16) {
      EXPECT_EQ(error.message, "\"price\" failed; its error could not be read");
    }
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      const auto block = std::make_unique<std::byte[]>(whole.size());
      std::copy(whole.begin(), whole.end(), block.get());
      block[at] = static_cast<std::byte>(value);
      method_failed("price", {block.get(), whole.size()});
    }
  }
}

}  // namespace
}  // namespace samovar::core
