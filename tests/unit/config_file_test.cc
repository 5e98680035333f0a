// What a configuration file may say, and how it is told what it may not.
#include "core/config/config_file.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace samovar::core {
namespace {

using namespace std::chrono_literals;

Options options_of(const Settings& settings) {
  Options options;
  for (const Setting& setting : settings) EXPECT_TRUE(assign(options, *setting.row, setting.value, setting.row->name));
  return options;
}

Options general(std::string_view text) {
  const auto file = parse_config(text, "samovar.toml", "/etc/app");
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return {};
  }
  return options_of(file->general);
}

std::string refusal(std::string_view text) {
  const auto file = parse_config(text, "samovar.toml", "");
  if (file) return "(taken)";
  EXPECT_EQ(file.error().category, Category::configuration);
  EXPECT_EQ(file.error().code, Code::invalid_option);
  return file.error().message;
}

TEST(ConfigFile, sets_options_of_each_type) {
  const Options options = general(R"(
    name = "pricing"
    workers = 4
    dispatcher = "manual"
    timeout = "1.5s"
    lane_bytes = "1MiB"
    inline_bytes_max = 8192
    python_path = ["/lib"]
    worker_cpus = [2, 3]
    dispatcher_cpu = -1
    log_level = "debug"
  )");
  EXPECT_EQ(options.name, "pricing");
  EXPECT_EQ(options.workers, 4u);
  EXPECT_EQ(options.dispatcher, Dispatcher::manual);
  EXPECT_EQ(options.timeout, 1500ms);
  EXPECT_EQ(options.lane_bytes, 1u << 20);
  EXPECT_EQ(options.inline_bytes_max, 8192u);
  EXPECT_EQ(options.python_path, std::vector<std::string>{"/lib"});
  EXPECT_EQ(options.worker_cpus, (std::vector<int>{2, 3}));
  EXPECT_EQ(options.dispatcher_cpu, -1);
  EXPECT_EQ(options.log_level, LogLevel::debug);
}

TEST(ConfigFile, an_empty_one_sets_nothing) {
  EXPECT_EQ(general("").name, Options{}.name);
  EXPECT_EQ(general("# only words\n").workers, 0u);
}

// Found by tests/fuzz: toml++ 3.3 called these unreachable, and the compiler may believe it.
TEST(ConfigFile, takes_letters_beyond_ascii_in_comments_and_texts) {
  EXPECT_EQ(general("# é ñ \u0434 \u3042 \U0001fad6\nname = \"café\"  # ü\nworkers = 2\n").name, "café");
  EXPECT_NE(refusal("né = 1\n"), "(taken)");
}

TEST(ConfigFile, takes_each_option_as_it_is_written) {
  Options options;
  options.module = "/a \"b\"\\\n\x7f\xd0\xb6.py";
  options.timeout = Duration::max();
  options.lane_bytes = 4097;
  options.worker_cpus = {3, 1};
  options.python_path = {"/a", "/b c"};
  for (const OptionRow& row : option_table()) {
    const Options read = general(std::string(row.name) + " = " + format_value(options, row));
    EXPECT_TRUE(same_value(read, options, row)) << format_value(options, row) << " became " << format_value(read, row);
  }
}

TEST(ConfigFile, relative_paths_are_relative_to_the_file) {
  EXPECT_EQ(general("module = 'models.py'").module, "/etc/app/models.py");
  EXPECT_EQ(general("module = '../lib/models.py'").module, "/etc/lib/models.py");
  EXPECT_EQ(general("module = '/srv/models.py'").module, "/srv/models.py");
  EXPECT_EQ(general("module = 'package.models'").module, "package.models") << "a name is no path";
  EXPECT_EQ(general("python = 'venv/bin/python'").python, "/etc/app/venv/bin/python");
  EXPECT_EQ(general("python = 'python3.12'").python, "python3.12") << "looked for in $PATH";
  EXPECT_EQ(general("python_path = ['lib', '/opt']").python_path, (std::vector<std::string>{"/etc/app/lib", "/opt"}));
}

TEST(ConfigFile, has_profiles_and_pools_of_its_own) {
  const auto file = parse_config(R"(profile = "staging"
workers = 1
[profiles.staging]
workers = 2
[pools.fast]
workers = 3
[pools."a b"]
timeout = "1s"
)",
                                 "samovar.toml", "");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->profile, "staging");
  EXPECT_EQ(options_of(file->general).workers, 1u);
  EXPECT_EQ(options_of(file->profiles.at("staging")).workers, 2u);
  EXPECT_EQ(options_of(file->pools.at("fast")).workers, 3u);
  EXPECT_EQ(options_of(file->pools.at("a b")).timeout, 1s);
  EXPECT_EQ(file->pools.at("fast").front().where, "samovar.toml:6");
}

struct Wrong {
  const char* text;
  const char* message;
};

class EachMistake : public testing::TestWithParam<Wrong> {};

INSTANTIATE_TEST_SUITE_P(
    ConfigFile, EachMistake,
    testing::Values(
        Wrong{"\n\nworker = 2", "samovar.toml:3: unknown key \"worker\"; did you mean \"workers\"?"},
        Wrong{"zzzzz = 2", "samovar.toml:1: unknown key \"zzzzz\""},
        Wrong{"[pool.fast]", "samovar.toml:1: unknown key \"pool\"; did you mean \"pools\"?"},
        Wrong{"[pools.fast]\nworkerz = 1", "samovar.toml:2: unknown key \"workerz\"; did you mean \"workers\"?"},
        Wrong{"[profiles.prod]\nprofile = 'dev'", "samovar.toml:2: unknown key \"profile\""},
        Wrong{"profile = 'prd'", "samovar.toml:1: unknown profile \"prd\"; did you mean \"prod\"?"},
        Wrong{"profile = 1", "samovar.toml:1: profile names a profile, in quotes"},
        Wrong{"[profile.prod]", "samovar.toml:1: profile names a profile, in quotes; the tables of profiles are [profiles.NAME]"},
        Wrong{"pools = 1", "samovar.toml:1: pools holds tables: [pools.NAME]"},
        Wrong{"[pools]\nworkers = 1", "samovar.toml:2: pools.workers is no table: write [pools.workers] above its keys"},
        Wrong{"workers = '4'", "samovar.toml:1: workers = \"4\" is no whole number"},
        Wrong{"workers = 4.5", "samovar.toml:1: workers = 4.5 is no whole number"},
        Wrong{"workers = true", "samovar.toml:1: workers = true is no whole number"},
        Wrong{"workers = -1", "samovar.toml:1: workers = -1 is out of range: from 0 to 1024"},
        Wrong{"workers = 1025", "samovar.toml:1: workers = 1025 is out of range: from 0 to 1024"},
        Wrong{"queue_limit = 4294967296", "samovar.toml:1: queue_limit = 4294967296 is out of range: from 1 to 4294967295"},
        Wrong{"timeout = 30", "samovar.toml:1: timeout = 30 has no unit; did you mean \"30s\"?"},
        Wrong{"timeout = 0.5", "samovar.toml:1: timeout = 0.5 has no unit; did you mean \"0.5s\"?"},
        Wrong{"timeout = '30'", "samovar.toml:1: timeout = \"30\" has no unit; did you mean \"30s\"?"},
        Wrong{"timeout = '0s'", "samovar.toml:1: timeout = \"0s\" is out of range: longer than 0s"},
        Wrong{"timeout = 1979-05-27", "samovar.toml:1: timeout = a date or time is no duration; write it like \"5ms\" or \"1.5s\""},
        Wrong{"spin_max = '2s'", "samovar.toml:1: spin_max = \"2s\" is out of range: from 0s to 1s"},
        Wrong{"lane_bytes = '64KB'", "samovar.toml:1: lane_bytes = \"64KB\" has no unit that is known; did you mean \"64KiB\"?"},
        Wrong{"lane_bytes = '2KiB'", "samovar.toml:1: lane_bytes = \"2KiB\" is out of range: from 4KiB to 1GiB"},
        Wrong{"lane_bytes = [1]", "samovar.toml:1: lane_bytes = [1] is no size; write it like 4096 or \"64KiB\""},
        Wrong{"name = 5", "samovar.toml:1: name = 5 is no text; put it in quotes"},
        Wrong{"[name]", "samovar.toml:1: name = a table is no text; put it in quotes"},
        Wrong{"python_path = 'lib'", "samovar.toml:1: python_path = \"lib\" is no list of texts, such as [\"lib\"]"},
        Wrong{"python_path = ['a', 1]", "samovar.toml:1: python_path = [\"a\", 1] has 1, which is no text; put it in quotes"},
        Wrong{"worker_cpus = [0, 'x']", "samovar.toml:1: worker_cpus = [0, \"x\"] has \"x\", which is no whole number"},
        Wrong{"dispatcher = 'pined'", "samovar.toml:1: dispatcher = \"pined\" is none of \"auto\", \"caller\", \"manual\", \"pinned\"; "
                                      "did you mean \"pinned\"?"},
        Wrong{"log_level = 3", "samovar.toml:1: log_level = 3 is none of \"debug\", \"info\", \"warning\", \"error\""},
        Wrong{"log = 'x'", "samovar.toml:1: unknown key \"log\""}));

TEST_P(EachMistake, is_told_with_file_line_and_what_to_write) { EXPECT_EQ(refusal(GetParam().text), GetParam().message); }

TEST(ConfigFile, all_mistakes_are_told_at_once_in_the_order_of_their_lines) {
  EXPECT_EQ(refusal("workrs = 1\n[pools.b]\nlane_bytes = 1\n[profiles.a]\ntimeout = 5\n"),
            "samovar.toml:1: unknown key \"workrs\"; did you mean \"workers\"?\n"
            "samovar.toml:3: lane_bytes = 1 is out of range: from 4KiB to 1GiB\n"
            "samovar.toml:5: timeout = 5 has no unit; did you mean \"5s\"?");
}

TEST(ConfigFile, what_is_no_toml_is_told_with_its_line) {
  EXPECT_EQ(refusal("workers = 1\nworkers = 2\n").substr(0, 15), "samovar.toml:2:");
  EXPECT_EQ(refusal("workers = \n").substr(0, 15), "samovar.toml:1:");
  EXPECT_EQ(refusal("\n[pools.fast\n").substr(0, 15), "samovar.toml:2:");
  EXPECT_NE(refusal(std::string("name = \"\xff\xfe\"", 11)), "(taken)") << "not UTF-8";
  // Here toml++ 3.3 assumed what is not so.
  EXPECT_EQ(refusal("workers = 1 \xc3\xa9").substr(0, 15), "samovar.toml:1:");
  EXPECT_EQ(refusal("[[").substr(0, 15), "samovar.toml:1:");
  EXPECT_EQ(refusal("[pools.[").substr(0, 15), "samovar.toml:1:");
  EXPECT_EQ(refusal("x = {[").substr(0, 15), "samovar.toml:1:");
  EXPECT_EQ(refusal("x = {,}").substr(0, 15), "samovar.toml:1:");
  EXPECT_NE(refusal("worker_cpus = " + std::string(10'000, '[')), "(taken)") << "no end of nesting";
}

}  // namespace
}  // namespace samovar::core
