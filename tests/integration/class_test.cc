// Handlers as classes.
#include <gtest/gtest.h>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

class Classes : public testing::TestWithParam<WorkerStart> {
 protected:
  Classes() {
    folder.write("classes.py", R"(
import os
import samovar

@samovar.method
class Counter:
    def setup(self):
        self.made_in = os.getpid()
        self.count = 0

    def after_fork(self):
        self.serves_in = os.getpid()

    def handle(self, step=1):
        self.count += step
        return self.count

    def teardown(self):
        with open(os.path.join(os.path.dirname(__file__), "ended"), "a") as file:
            file.write(str(self.count))

@samovar.method("places")
class Places(Counter):
    def handle_batch(self, items):
        return [self.made_in == self.serves_in and self.serves_in == os.getpid()] * len(items)

    def teardown(self):
        raise RuntimeError("cannot end well")
)");
    chosen = options();
    chosen.module = folder.file("classes.py");
    chosen.worker_start = GetParam();
    chosen.log = lines.sink();
  }

  Folder folder;
  Lines lines;
  Options chosen;
};

INSTANTIATE_TEST_SUITE_P(By, Classes, testing::Values(WorkerStart::exec, WorkerStart::nursery),
                         [](const auto& info) { return std::string(info.param == WorkerStart::exec ? "exec" : "nursery"); });

TEST_P(Classes, are_set_up_once_called_and_torn_down) {
  {
    Pool pool = start(chosen);
    EXPECT_EQ(integer(pool.call("Counter")), 1);
    EXPECT_EQ(integer(pool.call("Counter", value(5))), 6);
    EXPECT_EQ(value_of(pool.call("places")).as_bool(), GetParam() == WorkerStart::exec) << "in the nursery, where workers are forked";
    pool.drain(std::chrono::seconds(20));
  }
  EXPECT_EQ(folder.read("ended"), "6");
  EXPECT_TRUE(wait_until([this] { return lines.contain("Places.teardown failed") && lines.contain("cannot end well"); })) << lines.all();
}

}  // namespace
}  // namespace samovar::test
