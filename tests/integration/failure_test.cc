// What Python raises, as errors here; and that the worker lives on.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/pools.h"

namespace samovar::test {
namespace {

class Failures : public testing::Test {
 protected:
  // The error of a call that must fail and leave its worker alone.
  Error error_of(const char* method, const Payload& payload = {}) {
    const pid_t before = worker_pid(pool);
    const auto reply = pool.call(method, payload);
    if (reply) throw std::runtime_error(std::string(method) + " did not fail");
    EXPECT_EQ(worker_pid(pool), before) << "the worker did not survive " << method;
    return reply.error();
  }

  Pool pool = start(options());
};

TEST_F(Failures, exceptions_carry_type_message_and_traceback) {
  const Error error = error_of("fail", text("negative price"));

  EXPECT_EQ(error.category, Category::application);
  EXPECT_EQ(error.code, Code::method_failed);
  EXPECT_EQ(error.message, "ValueError: negative price");
  EXPECT_EQ(error.context.python_type, "ValueError");
  EXPECT_EQ(error.context.worker, 0);
  EXPECT_EQ(error.context.attempts, 1);
  EXPECT_TRUE(error.context.started);
  EXPECT_FALSE(error.context.retryable);
  EXPECT_NE(error.context.traceback.find("methods.py"), std::string::npos) << error.context.traceback;
  EXPECT_NE(error.context.traceback.find("raise ValueError(message)"), std::string::npos) << error.context.traceback;
  EXPECT_EQ(error.context.traceback.find("samovar/worker.py"), std::string::npos) << "our own frames are noise";
}

TEST_F(Failures, types_of_the_module_are_named_with_it) {
  EXPECT_EQ(error_of("fail_own").context.python_type, "methods.NoSuchSymbol");
}

TEST_F(Failures, chained_exceptions_show_their_cause) {
  const Error error = error_of("fail_chained");

  EXPECT_EQ(error.message, "RuntimeError: outer");
  EXPECT_NE(error.context.traceback.find("KeyError: 'cause'"), std::string::npos) << error.context.traceback;
  EXPECT_NE(error.context.traceback.find("direct cause"), std::string::npos) << error.context.traceback;
  EXPECT_LT(error.context.traceback.find("KeyError"), error.context.traceback.find("RuntimeError"));
}

TEST_F(Failures, an_exception_without_words_is_one_all_the_same) {
  const Error error = error_of("fail_mute");
  EXPECT_EQ(error.context.python_type, "methods.Mute");
}

TEST_F(Failures, system_exit_and_its_kind_end_the_call_and_not_the_worker) {
  EXPECT_EQ(error_of("leave", value(3)).context.python_type, "SystemExit");
  EXPECT_EQ(error_of("interrupt").context.python_type, "KeyboardInterrupt");
  EXPECT_EQ(error_of("raise_base").context.python_type, "methods.NoException");
}

TEST_F(Failures, endless_recursion_ends_the_call_and_not_the_worker) {
  const Error error = error_of("recurse");
  EXPECT_EQ(error.context.python_type, "RecursionError");
  EXPECT_LE(error.context.traceback.size(), 4096u);
}

TEST_F(Failures, memory_errors_end_the_call_and_not_the_worker) {
  EXPECT_EQ(error_of("zeros", value(std::int64_t{1} << 61)).context.python_type, "MemoryError");
}

TEST_F(Failures, long_messages_and_tracebacks_are_capped_and_still_utf8) {
  std::string message;
  while (message.size() < 4000) message += "ж";
  const Error error = error_of("fail", text(message));

  EXPECT_EQ(error.context.python_type, "ValueError");
  EXPECT_LT(error.message.size() + error.context.traceback.size(), 4096u);
  EXPECT_EQ(error.message.compare(0, 14, "ValueError: ж"), 0) << error.message;
  EXPECT_TRUE(pool.call("echo", text(error.message)));
  EXPECT_TRUE(pool.call("echo", text(error.context.traceback)));
}

TEST_F(Failures, failures_do_not_make_the_worker_grow) {
  for (int call = 0; call < 200; ++call) ASSERT_FALSE(pool.call("fail_chained"));
  EXPECT_EQ(pool.stats().failed, 200u);
  EXPECT_EQ(pool.stats().replied, 0u);
  EXPECT_EQ(pool.stats().workers_lost, 0u);
}

TEST_F(Failures, unknown_methods_fail_here_with_the_nearest_name) {
  const auto reply = pool.call("ehco");

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::unknown_method);
  EXPECT_EQ(reply.error().category, Category::request);
  EXPECT_NE(reply.error().message.find("did you mean \"echo\"?"), std::string::npos) << reply.error().message;
  EXPECT_NE(reply.error().message.find("methods.py"), std::string::npos) << reply.error().message;

  const auto far = pool.call("nothing of the kind at all, really");
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error().message.find("did you mean"), std::string::npos) << far.error().message;
  EXPECT_FALSE(pool.submit("ehco", {}, [](Result<Reply>) { FAIL() << "not accepted, so without an outcome"; }));
  EXPECT_FALSE(pool.call(""));
  EXPECT_EQ(pool.stats().rejected, 4u);
  EXPECT_EQ(pool.stats().accepted, 0u);
}

}  // namespace
}  // namespace samovar::test
