// The layers: defaults < the program's defaults < profile < file < its profile < its pool < code < environment; and what is told.
#include <samovar/config.h>

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <string>
#include <vector>

#include "core/config/option_table.h"
#include "core/config/origins.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Config : public testing::Test {
 protected:
  // No variable of ours that a machine may have, and none that a test leaves.
  void SetUp() override {
    for (const char* name : {"SAMOVAR_CONFIG", "SAMOVAR_PROFILE", "SAMOVAR_WRKERS", "SAMOVAR_PORT"}) unsetenv(name);
    for (const core::OptionRow& row : core::option_table()) unsetenv(core::environment_name(row).c_str());
  }
  void TearDown() override { SetUp(); }

  std::string write(std::string_view text, std::string_view name = "samovar.toml") {
    folder_.write(name, text);
    return folder_.file(name);
  }

  static Options load(const ConfigSource& source, Options defaults = {}) {
    Result<Options> options = load_options(source, std::move(defaults));
    if (!options) throw std::runtime_error(options.error().to_string());
    return std::move(*options);
  }

  static std::string refusal(const ConfigSource& source) {
    const Result<Options> options = load_options(source);
    if (options) return "(taken)";
    EXPECT_EQ(options.error().category, Category::configuration);
    EXPECT_EQ(options.error().code, Code::invalid_option);
    return options.error().message;
  }

  static std::string origin(const Options& options, std::string_view option) {
    return core::origin_of(options, *core::find_option(option)).to_string();
  }

  Folder folder_;
};

TEST_F(Config, each_layer_outranks_those_below) {
  const std::string file = write(R"(
queue_limit = 3
prefetch = 3
requeue_limit = 3
workers = 3
timeout = "3s"
[profiles.test]
requeue_limit = 4
workers = 4
timeout = "4s"
[pools.fast]
workers = 5
timeout = "5s"
)");
  Options defaults;
  defaults.stop_timeout = 7s;
  defaults.lane_bytes = 1 << 17;
  defaults.queue_limit = 1;
  setenv("SAMOVAR_TIMEOUT", "9s", 1);
  Options options = load({.file = file, .profile = "test", .pool = "fast"}, defaults);
  options.prefetch = 0;  // its default, in code: that counts, too
  options = *apply_environment(options);

  EXPECT_EQ(options.inline_bytes_max, Options{}.inline_bytes_max);
  EXPECT_EQ(options.lane_bytes, 1u << 17);
  EXPECT_EQ(options.stop_timeout, 1s) << "the profile's, not the program's";
  EXPECT_EQ(options.queue_limit, 3u);
  EXPECT_EQ(options.requeue_limit, 4u);
  EXPECT_EQ(options.workers, 5u);
  EXPECT_EQ(options.prefetch, 0u);
  EXPECT_EQ(options.timeout, 9s);

  EXPECT_EQ(origin(options, "inline_bytes_max"), "default");
  EXPECT_EQ(origin(options, "lane_bytes"), "default of the program");
  EXPECT_EQ(origin(options, "stop_timeout"), "profile test");
  EXPECT_EQ(origin(options, "queue_limit"), file + ":2");
  EXPECT_EQ(origin(options, "requeue_limit"), file + ":8");
  EXPECT_EQ(origin(options, "workers"), file + ":12");
  EXPECT_EQ(origin(options, "prefetch"), "code");
  EXPECT_EQ(origin(options, "timeout"), "environment SAMOVAR_TIMEOUT");
}

TEST_F(Config, a_profile_is_chosen_by_the_file_by_code_and_by_the_environment) {
  const std::string file = write("profile = 'dev'\n[profiles.own]\nworkers = 7\n");
  EXPECT_EQ(load({}).workers, 0u);
  EXPECT_EQ(load({.profile = "test"}).timeout, 5s) << "without a file";
  EXPECT_EQ(load({.file = file}).workers, 1u);
  EXPECT_EQ(load({.file = file, .profile = "test"}).workers, 2u);
  EXPECT_EQ(load({.file = file, .profile = "prod"}).workers, 0u);
  setenv("SAMOVAR_PROFILE", "own", 1);
  EXPECT_EQ(load({.file = file, .profile = "test"}).workers, 7u);
  EXPECT_EQ(load({.file = file, .profile = "test", .environment = Environment::ignore}).workers, 2u);
}

TEST_F(Config, a_file_can_be_chosen_by_the_environment) {
  setenv("SAMOVAR_CONFIG", write("workers = 7").c_str(), 1);
  EXPECT_EQ(load({}).workers, 7u);
  EXPECT_EQ(load({.file = write("workers = 8", "other.toml")}).workers, 7u) << "it outranks the program";
  EXPECT_EQ(load({.environment = Environment::ignore}).workers, 0u);
}

TEST_F(Config, a_pool_of_the_file_has_its_name) {
  const std::string file = write("[pools.fast]\nworkers = 1\n[pools.slow]\nname = 'tortoise'\n");
  EXPECT_EQ(load({.file = file}).name, "samovar");
  EXPECT_EQ(load({.file = file, .pool = "fast"}).name, "fast");
  EXPECT_EQ(load({.file = file, .pool = "slow"}).name, "tortoise");
}

TEST_F(Config, names_that_do_not_exist_are_told_with_the_nearest) {
  const std::string file = write("[pools.fast]\n[profiles.staging]\n");
  EXPECT_EQ(refusal({.file = file, .pool = "fats"}), file + " has no [pools.fats]; did you mean \"fast\"?");
  EXPECT_EQ(refusal({.file = file, .profile = "stagin"}), "there is no profile \"stagin\"; did you mean \"staging\"?");
  EXPECT_EQ(refusal({.profile = "prd"}), "there is no profile \"prd\"; did you mean \"prod\"?");
  EXPECT_EQ(refusal({.pool = "fast"}), "there is no pool \"fast\" without a file that has [pools.fast]");
  setenv("SAMOVAR_PROFILE", "tset", 1);
  EXPECT_EQ(refusal({}), "there is no profile \"tset\"; did you mean \"test\"?");
}

TEST_F(Config, a_file_that_cannot_be_read_is_told) {
  EXPECT_EQ(refusal({.file = folder_.file("none.toml")}), "cannot read " + folder_.file("none.toml") + ": No such file or directory");
  EXPECT_EQ(refusal({.file = folder_.path().string()}), "cannot read " + folder_.path().string() + ": it is a folder");
  EXPECT_EQ(refusal({.file = write(std::string((1 << 20) + 1, '\n'))}), "cannot read " + folder_.file("samovar.toml") + ": it is larger than 1 MiB");
  EXPECT_EQ(load({.file = write(std::string(1 << 20, '\n'))}).workers, 0u);
}

TEST_F(Config, a_mistake_in_a_pool_that_was_not_asked_for_is_told) {
  EXPECT_EQ(refusal({.file = write("[pools.other]\nworker = 1")}),
            folder_.file("samovar.toml") + ":2: unknown key \"worker\"; did you mean \"workers\"?");
}

TEST_F(Config, variables_that_are_wrong_are_all_told) {
  setenv("SAMOVAR_TIMEOUT", "30", 1);
  setenv("SAMOVAR_WORKERS", "many", 1);
  setenv("SAMOVAR_LANE_BYTES", "", 1);  // as if it were not there
  const Error error = start_failure(options());
  EXPECT_EQ(error.code, Code::invalid_option);
  EXPECT_EQ(error.message,
            "environment: SAMOVAR_WORKERS = \"many\" is no whole number\n"
            "environment: SAMOVAR_TIMEOUT = \"30\" has no unit; did you mean \"30s\"?");
}

TEST_F(Config, lists_of_the_environment_are_split) {
  setenv("SAMOVAR_PYTHON_PATH", "/a:/b c", 1);
  setenv("SAMOVAR_WORKER_CPUS", "1,0", 1);
  const Options options = *apply_environment({});
  EXPECT_EQ(options.python_path, (std::vector<std::string>{"/a", "/b c"}));
  EXPECT_EQ(options.worker_cpus, (std::vector<int>{1, 0}));
}

// What only a pool that starts can know is told with its place, too.
TEST_F(Config, what_does_not_fit_the_machine_is_told_with_its_line) {
  const std::string file = write("workers = 1\nworker_cpus = [4095]\n");
  Options options = load({.file = file}, test::options());
  EXPECT_EQ(start_failure(options).message.substr(0, (file + ":2: worker_cpus names CPU 4095").size()),
            file + ":2: worker_cpus names CPU 4095");
  options.worker_cpus = {4094};  // in code: no line to name
  EXPECT_EQ(start_failure(options).message.substr(0, 26), "worker_cpus names CPU 4094");
  setenv("SAMOVAR_WORKER_CPUS", "4093", 1);
  EXPECT_EQ(start_failure(options).message.substr(0, 40), "environment SAMOVAR_WORKER_CPUS: worker_");
  unsetenv("SAMOVAR_WORKER_CPUS");
  EXPECT_EQ(start_failure(load({.file = write("lane_bytes = 5000")}, test::options())).message.substr(0, (file + ":1: lane_bytes").size()),
            file + ":1: lane_bytes");
}

TEST_F(Config, a_python_that_is_not_there_is_told_with_its_place) {
  const std::string file = write("python = '/no/such/python'\n");
  const Error error = start_failure(load({.file = file}, test::options()));
  EXPECT_EQ(error.code, Code::python_not_found);
  EXPECT_NE(error.message.find("/no/such/python (" + file + ":1)"), std::string::npos) << error.message;
}

TEST_F(Config, a_pool_runs_with_what_a_file_says) {
  const std::string file = write("profile = 'test'\nmodule = '" + module("methods.py") + "'\nworkers = 1\n[pools.tea]\nprefetch = 5\n");
  Pool pool = start(load({.file = file, .pool = "tea"}));
  EXPECT_TRUE(pool.call("echo"));
  EXPECT_EQ(pool.options().workers, 1u);
  EXPECT_EQ(pool.options().timeout, 5s);
  EXPECT_EQ(pool.options().prefetch, 5u);
  EXPECT_EQ(pool.options().name, "tea");
}

TEST_F(Config, a_pool_logs_what_the_environment_changed_and_what_it_does_not_know) {
  setenv("SAMOVAR_PREFETCH", "6", 1);
  setenv("SAMOVAR_REQUEUE_LIMIT", "3", 1);  // as it is
  setenv("SAMOVAR_WRKERS", "2", 1);
  setenv("SAMOVAR_PORT", "tcp://10.0.0.1", 1);  // Kubernetes, and no error
  setenv("SAMOVAR_PROFILE", "test", 1);
  Lines lines;
  Options chosen = options();
  chosen.log_level = LogLevel::info;
  chosen.log = lines.sink();
  Pool pool = start(chosen);

  EXPECT_TRUE(lines.contain("environment: SAMOVAR_PREFETCH sets prefetch = 6 (was 0)")) << lines.all();
  EXPECT_FALSE(lines.contain("SAMOVAR_REQUEUE_LIMIT"));
  EXPECT_TRUE(lines.contain("environment: SAMOVAR_WRKERS is no option; did you mean SAMOVAR_WORKERS?"));
  EXPECT_EQ(lines.with("SAMOVAR_PORT"), std::vector<std::string>{"environment: SAMOVAR_PORT is no option"});
  EXPECT_TRUE(lines.contain("environment: SAMOVAR_PROFILE has no effect: this program does not call samovar::load_options()"));

  Lines loaded;
  Options from_profile = load({}, test::options());
  from_profile.log = loaded.sink();
  start(from_profile);
  EXPECT_FALSE(loaded.contain("SAMOVAR_PROFILE"));
}

TEST_F(Config, options_and_the_command_of_a_worker_are_explained_without_a_pool) {
  setenv("SAMOVAR_PREFETCH", "6", 1);
  Options chosen = *apply_environment(load({.profile = "test", .environment = Environment::ignore}));
  chosen.timeout = 1s;
  chosen.python = "/bin/sh";
  const Result<Explanation> explanation = explain(chosen);
  ASSERT_TRUE(explanation) << explanation.error().to_string();
  EXPECT_EQ(explanation->profile, "test");
  ASSERT_EQ(explanation->options.size(), core::option_table().size());
  const auto told = [&](std::string_view name) {
    for (const ExplainedOption& option : explanation->options) {
      if (option.name == name) return option.value + " " + option.from;
    }
    return std::string("(missing)");
  };
  EXPECT_EQ(told("timeout"), "\"1s\" code");
  EXPECT_EQ(told("workers"), "2 profile test");
  EXPECT_EQ(told("prefetch"), "6 environment SAMOVAR_PREFETCH");
  EXPECT_EQ(told("queue_limit"), "1000 default");

  const Result<WorkerCommand> command = worker_command(chosen);
  ASSERT_TRUE(command);
  EXPECT_EQ(command->argv.front(), "/bin/sh");
  chosen.lane_bytes = 5000;
  EXPECT_EQ(explain(chosen).error().code, Code::invalid_option);
  chosen.python = "/no/such";
  EXPECT_EQ(worker_command(chosen).error().code, Code::python_not_found);
}

TEST_F(Config, what_is_assigned_after_the_environment_outranks_it) {
  setenv("SAMOVAR_PREFETCH", "6", 1);
  Options chosen = *apply_environment(options());
  chosen.prefetch = 2;
  EXPECT_EQ(start(chosen).options().prefetch, 2u);
}

}  // namespace
}  // namespace samovar::test
