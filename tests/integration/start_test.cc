// What bad input gets when a pool starts: a clear error as a value, and nothing left behind.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ipc/layout.h"
#include "tests/support/child_host.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

bool says(const Error& error, std::string_view words) { return error.to_string().find(words) != std::string::npos; }

// The error of a pool that must not start; checks that nothing is left.
Error refused(Options options) {
  const Footprint before = Footprint::now();
  Error error = start_failure(std::move(options));
  EXPECT_EQ(Footprint::now(), before) << "before: " << before.to_string() << "\nafter: " << Footprint::now().to_string();
  return error;
}

// --- the module -------------------------------------------------------------------------------------------------------------

TEST(Module, that_raises_when_imported_is_told_with_its_traceback) {
  const Error error = refused(options("broken_import.py"));

  EXPECT_EQ(error.category, Category::configuration);
  EXPECT_EQ(error.code, Code::module_failed);
  EXPECT_TRUE(says(error, "broken_import.py")) << error.to_string();
  EXPECT_TRUE(says(error, "LookupError: no model here")) << error.to_string();
  EXPECT_EQ(error.context.python_type, "LookupError");
  EXPECT_NE(error.context.traceback.find("in prepare"), std::string::npos) << error.context.traceback;
}

TEST(Module, with_a_syntax_error_is_told_with_its_line) {
  const Error error = refused(options("syntax_error.py"));

  EXPECT_EQ(error.code, Code::module_failed);
  EXPECT_EQ(error.context.python_type, "SyntaxError");
  EXPECT_TRUE(says(error, "def half(:")) << error.to_string();
}

TEST(Module, that_is_missing_is_told_with_where_it_was_looked_for) {
  const Error file = refused(options("not_there.py"));
  EXPECT_EQ(file.code, Code::module_failed);
  EXPECT_TRUE(says(file, "not_there.py")) << file.to_string();
  EXPECT_TRUE(says(file, "does not exist")) << file.to_string();

  Options named = options();
  named.module = "no_such_package.models";
  const Error name = refused(named);
  EXPECT_EQ(name.code, Code::module_failed);
  EXPECT_EQ(name.context.python_type, "ModuleNotFoundError");
}

TEST(Module, without_methods_is_told_what_to_do) {
  const Error error = refused(options("no_methods.py"));
  EXPECT_EQ(error.code, Code::module_failed);
  EXPECT_TRUE(says(error, "@samovar.method")) << error.to_string();
}

TEST(Module, whose_preload_raises_is_told_with_its_traceback) {
  const Error error = refused(options("preload_raises.py"));
  EXPECT_EQ(error.code, Code::module_failed);
  EXPECT_TRUE(says(error, "preload hook load_model")) << error.to_string();
  EXPECT_TRUE(says(error, "OSError: model.bin is not there")) << error.to_string();
  EXPECT_NE(error.context.traceback.find("preload_raises.py"), std::string::npos);
}

TEST(Module, whose_preload_hangs_ends_in_start_timeout) {
  Options hanging = options("preload_hangs.py");
  hanging.start_timeout = 700ms;
  const auto begin = std::chrono::steady_clock::now();
  const Error error = refused(hanging);

  EXPECT_LE(std::chrono::steady_clock::now() - begin, 3s);
  EXPECT_EQ(error.category, Category::configuration);
  EXPECT_EQ(error.code, Code::start_timeout);
  EXPECT_TRUE(says(error, "start_timeout (700 ms)")) << error.to_string();
  EXPECT_TRUE(says(error, "loading for ever")) << "its last words help: " << error.to_string();
}

TEST(Module, that_leaves_when_imported_is_told) {
  const Error error = refused(options("leaves_at_import.py"));
  EXPECT_EQ(error.code, Code::module_failed);
  EXPECT_EQ(error.context.python_type, "SystemExit");
  EXPECT_TRUE(says(error, "I will not be imported")) << error.to_string();
}

TEST(Module, that_kills_its_process_is_told_with_signal_and_last_words) {
  const Error error = refused(options("dies_at_import.py"));
  EXPECT_EQ(error.category, Category::configuration) << error.to_string();
  EXPECT_TRUE(says(error, "killed by signal 6")) << error.to_string();
  EXPECT_TRUE(says(error, "last words")) << error.to_string();
}

TEST(Module, can_be_named_and_found_on_python_path) {
  Options named = options();
  named.module = "methods";
  named.python_path = {std::filesystem::path(module("methods.py")).parent_path().string()};
  Pool pool = start(named);
  EXPECT_TRUE(pool.call("echo"));
}

TEST(Module, can_lie_in_a_folder_with_a_strange_name) {
  Folder folder;
  std::filesystem::create_directory(folder.path() / "a b\"ж");
  std::filesystem::copy(module("methods.py"), folder.path() / "a b\"ж" / "methods.py");
  Options strange = options();
  strange.module = (folder.path() / "a b\"ж" / "methods.py").string();
  Pool pool = start(strange);
  EXPECT_TRUE(pool.call("echo"));
}

// --- the interpreter --------------------------------------------------------------------------------------------------------

TEST(Python, that_does_not_exist_is_told) {
  Options missing = options();
  for (const char* python : {"/no/such/python", "no-such-python"}) {
    missing.python = python;
    const Error error = refused(missing);
    EXPECT_EQ(error.category, Category::configuration);
    EXPECT_EQ(error.code, Code::python_not_found);
    EXPECT_TRUE(says(error, python)) << error.to_string();
    EXPECT_TRUE(says(error, "Options::python")) << error.to_string();
  }
}

TEST(Python, that_is_not_executable_is_told) {
  Folder folder;
  folder.write("python", "#!/bin/sh\n");
  std::filesystem::permissions(folder.path() / "python", std::filesystem::perms::owner_read);
  Options wrong = options();
  wrong.python = folder.file("python");
  EXPECT_EQ(refused(wrong).code, Code::python_not_found);
  wrong.python = folder.path().string();  // a folder
  EXPECT_EQ(refused(wrong).code, Code::python_not_found);
}

TEST(Python, that_the_kernel_cannot_execute_is_told) {
  Folder folder;
  folder.write("python", "\x7f" "ELF\x02\x01\x01 of no machine");
  Options wrong = options();
  wrong.python = folder.file("python");
  const Error error = refused(wrong);
  EXPECT_TRUE(says(error, folder.file("python"))) << error.to_string();
  EXPECT_NE(error.code, Code::start_timeout);
}

TEST(Python, that_is_something_else_is_told_with_what_it_said) {
  Folder folder;
  folder.write("python", "#!/bin/sh\necho I am no Python\nexit 42\n");
  Options wrong = options();
  wrong.python = folder.file("python");
  const Error error = refused(wrong);
  EXPECT_EQ(error.code, Code::incompatible_worker);
  EXPECT_TRUE(says(error, "exited with status 42")) << error.to_string();
  EXPECT_TRUE(says(error, "I am no Python")) << error.to_string();
}

TEST(Python, named_by_the_environment_is_used) {
  setenv("SAMOVAR_PYTHON", "/no/such/python/from/the/environment", 1);
  const Error error = refused(options());
  unsetenv("SAMOVAR_PYTHON");
  EXPECT_EQ(error.code, Code::python_not_found);
  EXPECT_TRUE(says(error, "SAMOVAR_PYTHON")) << error.to_string();
}

// As an interpreter of another ABI finds the package: the extension bears the tag of a different one.
TEST(Python, of_another_abi_is_told_what_was_built_and_what_it_wants) {
  PackageCopy package;
  std::filesystem::rename(package.extension(), package.file("_native.cpython-399-x86_64-linux-gnu.so"));
  Options other = options();
  other.python_path = package.python_path();
  const Error error = refused(other);

  EXPECT_EQ(error.category, Category::configuration);
  EXPECT_EQ(error.code, Code::incompatible_worker);
  EXPECT_TRUE(says(error, "no Samovar extension that it can load")) << error.to_string();
  EXPECT_TRUE(says(error, "cpython-399")) << error.to_string();
}

TEST(Python, whose_extension_is_damaged_is_told) {
  PackageCopy package;
  std::filesystem::resize_file(package.extension(), 5000);
  Options damaged = options();
  damaged.python_path = package.python_path();
  const Error error = refused(damaged);
  EXPECT_EQ(error.code, Code::incompatible_worker) << error.to_string();
}

// --- the layout -------------------------------------------------------------------------------------------------------------

// An extension of another version differs in this constant of its code: so the copy is changed where the number stands.
void change_layout_hash(const std::filesystem::path& extension) {
  std::ifstream in(extension, std::ios::binary);
  std::string code((std::istreambuf_iterator<char>(in)), {});
  const auto number = [](std::uint64_t hash) { return std::string(reinterpret_cast<const char*>(&hash), sizeof hash); };
  const std::string ours = number(ipc::layout_hash());
  const std::string other = number(ipc::layout_hash() ^ 0x10);
  int changed = 0;
  for (std::size_t at = code.find(ours); at != std::string::npos; at = code.find(ours, at)) {
    code.replace(at, other.size(), other);
    ++changed;
  }
  ASSERT_GT(changed, 0) << "the hash stands nowhere in the extension";
  std::ofstream(extension, std::ios::binary) << code;
}

TEST(Layout, of_another_version_is_refused_by_the_worker) {
  PackageCopy package;
  change_layout_hash(package.extension());
  Options other = options();
  other.python_path = package.python_path();
  const Error error = refused(other);

  EXPECT_EQ(error.category, Category::configuration);
  EXPECT_EQ(error.code, Code::incompatible_worker) << error.to_string();
  EXPECT_TRUE(says(error, "different versions of Samovar")) << error.to_string();
}

TEST(Layout, of_another_version_is_refused_by_the_host_where_the_worker_did_not_look) {
  PackageCopy package;
  change_layout_hash(package.extension());
  std::ifstream in(package.file("worker.py"));
  std::string source((std::istreambuf_iterator<char>(in)), {});
  const std::string look = "if link.layout_hash != _native.LAYOUT_HASH:";
  ASSERT_NE(source.find(look), std::string::npos);
  source.replace(source.find(look), look.size(), "if False:");
  std::ofstream(package.file("worker.py")) << source;
  Options other = options();
  other.python_path = package.python_path();
  const Error error = refused(other);

  EXPECT_EQ(error.code, Code::incompatible_worker) << error.to_string();
  EXPECT_TRUE(says(error, "another layout")) << error.to_string();
}

// --- the options ------------------------------------------------------------------------------------------------------------

TEST(Settings, that_cannot_be_are_each_an_error_that_names_them) {
  const struct {
    const char* name;
    void (*set)(Options&);
  } cases[] = {
      {"module", [](Options& o) { o.module.clear(); }},
      {"workers", [](Options& o) { o.workers = 100'000; }},
      {"queue_limit", [](Options& o) { o.queue_limit = 0; }},
      {"prefetch", [](Options& o) { o.prefetch = 1'000'000; }},
      {"timeout", [](Options& o) { o.timeout = 0s; }},
      {"start_timeout", [](Options& o) { o.start_timeout = -1s; }},
      {"stop_timeout", [](Options& o) { o.stop_timeout = -1s; }},
      {"restart_delay", [](Options& o) { o.restart_delay = 0s; }},
      {"restart_delay_max", [](Options& o) { o.restart_delay_max = 0s; }},
      {"spin_max", [](Options& o) { o.spin_max = 1h; }},
      {"lane_bytes", [](Options& o) { o.lane_bytes = 100'000; }},
      {"lane_bytes", [](Options& o) { o.lane_bytes = 1 << 31; }},
      {"inline_bytes_max", [](Options& o) { o.inline_bytes_max = 60'000; }},
      {"inline_bytes_max", [](Options& o) { o.inline_bytes_max = 0xffff'ffff; }},
      {"worker_cpus", [](Options& o) { o.worker_cpus = {4095}; }},
      {"worker_cpus", [](Options& o) { o.worker_cpus = {-1}; }},
      {"dispatcher_cpu", [](Options& o) { o.dispatcher_cpu = 4095; }},
  };
  for (const auto& [name, set] : cases) {
    Options wrong = options();
    set(wrong);
    const Error error = refused(wrong);
    EXPECT_EQ(error.category, Category::configuration) << name;
    EXPECT_EQ(error.code, Code::invalid_option) << name << ": " << error.to_string();
    EXPECT_TRUE(says(error, name)) << name << ": " << error.to_string();
  }
}

TEST(Settings, cpus_that_this_process_may_not_use_are_an_error) {
  EXPECT_EQ(in_child_host([] {
              cpu_set_t one;
              CPU_ZERO(&one);
              CPU_SET(0, &one);
              if (sched_setaffinity(0, sizeof one, &one) != 0) return std::string("cannot pin the host");
              Options wrong = options();
              wrong.worker_cpus = {0, 1};
              const Error workers = start_failure(wrong);
              wrong = options();
              wrong.dispatcher = Dispatcher::pinned;
              wrong.dispatcher_cpu = 1;
              const Error dispatcher = start_failure(wrong);
              const bool named = says(workers, "worker_cpus names CPU 1") && says(dispatcher, "dispatcher_cpu = 1");
              return named ? std::string("both named") : workers.to_string() + dispatcher.to_string();
            }),
            "both named");
}

// --- the machine ------------------------------------------------------------------------------------------------------------

// A call, a death and a call more: what a pool must be able to do wherever its host is.
std::string work_in(Options chosen) {
  const Footprint before = Footprint::now();
  {
    Pool pool = start(std::move(chosen));
    if (!pool.call("say", text("hello")) || text_of(pool.call("echo", text("a"))) != "a") return "it does not answer";
    const auto lost = pool.call("die", value(3));
    if (lost || lost.error().code != Code::worker_lost) return "a death is no worker_lost";
    if (!pool.call("echo")) return "it does not go on after a death";
    if (pool.call("sleep", value(0.2), {.timeout = 20ms})) return "no deadline";
  }
  if (Footprint::now() != before) return "left behind: " + before.to_string() + " then " + Footprint::now().to_string();
  return "works";
}

TEST(Host, that_ignores_sigchld_is_no_error) {
  EXPECT_EQ(in_child_host([] {
              signal(SIGCHLD, SIG_IGN);
              return work_in(options());
            }),
            "works");
}

TEST(Host, that_ignores_sigchld_learns_of_a_death_without_its_status) {
  EXPECT_EQ(in_child_host([] {
              signal(SIGCHLD, SIG_IGN);
              Options exec = options();
              exec.worker_start = WorkerStart::exec;
              Pool pool = start(exec);
              const auto lost = pool.call("die", value(3));
              return std::string(!lost && says(lost.error(), "status unknown") ? "told" : "not told");
            }),
            "told");
}

TEST(Host, that_reaps_all_children_itself_is_no_error) {
  EXPECT_EQ(in_child_host([] {
              struct sigaction reap {};
              reap.sa_handler = [](int) {
                while (waitpid(-1, nullptr, WNOHANG) > 0) {
                }
              };
              reap.sa_flags = SA_RESTART;
              sigaction(SIGCHLD, &reap, nullptr);
              return work_in(options());
            }),
            "works");
}

TEST(Host, with_all_standard_descriptors_closed_is_no_error) {
  for (const std::vector<int>& closed : {std::vector{0}, std::vector{1}, std::vector{2}, std::vector{0, 1, 2}}) {
    EXPECT_EQ(in_child_host([&] {
                for (int fd : closed) close(fd);
                return work_in(options());
              }),
              "works")
        << closed.size() << " closed, the first is " << closed[0];
  }
}

TEST(Host, with_a_flood_of_signals_is_no_error) {
  EXPECT_EQ(in_child_host([] {
              struct sigaction wake {};
              wake.sa_handler = [](int) {};  // without SA_RESTART: every wait of the host is interrupted
              sigaction(SIGALRM, &wake, nullptr);
              const itimerval often{{0, 500}, {0, 500}};
              setitimer(ITIMER_REAL, &often, nullptr);
              const std::string worked = work_in(options());
              const itimerval never{};
              setitimer(ITIMER_REAL, &never, nullptr);
              return worked;
            }),
            "works");
}

// Every point at which a start can run out of descriptors, one after the other.
TEST(Host, with_too_few_descriptors_gets_an_error_and_loses_none) {
  EXPECT_EQ(in_child_host([] {
              rlimit limit{};
              getrlimit(RLIMIT_NOFILE, &limit);
              const Footprint before = Footprint::now();
              int refusals = 0;
              for (rlim_t allowed = before.descriptors.size(); allowed < 200; ++allowed) {
                // The child host's own pipe has a high number and stays open.
                limit.rlim_cur = allowed;
                setrlimit(RLIMIT_NOFILE, &limit);
                Options two = options();
                two.workers = 2;
                Result<Pool> pool = Pool::start(std::move(two));
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
                if (pool) {
                  if (!pool->call("echo")) return std::string("it started and does not answer");
                  return refusals > 0 ? std::string("refused, then started") : std::string("never refused");
                }
                ++refusals;
                if (pool.error().category != Category::system || !says(pool.error(), "ulimit -n")) {
                  return "with " + std::to_string(allowed) + ": " + pool.error().to_string();
                }
                if (Footprint::now() != before) {
                  return "with " + std::to_string(allowed) + " left behind: " + Footprint::now().to_string();
                }
              }
              return std::string("never started");
            }),
            "refused, then started");
}

TEST(Host, that_runs_out_of_descriptors_later_goes_on_and_replaces_its_worker_when_it_can) {
  EXPECT_EQ(in_child_host([] {
              Options chosen = options();
              chosen.restart_delay = 5ms;
              chosen.restart_delay_max = 50ms;
              chosen.quarantine_after = 1'000'000;
              Pool pool = start(chosen);
              rlimit limit{};
              getrlimit(RLIMIT_NOFILE, &limit);
              limit.rlim_cur = 4;
              setrlimit(RLIMIT_NOFILE, &limit);
              const auto lost = pool.call("die", value(1));
              if (lost || lost.error().code != Code::worker_lost) return std::string("no worker_lost");
              const auto waits = pool.call("echo", {}, {.timeout = 100ms});
              if (waits || waits.error().code != Code::deadline_exceeded) return std::string("no deadline_exceeded");
              limit.rlim_cur = limit.rlim_max;
              setrlimit(RLIMIT_NOFILE, &limit);
              return std::string(pool.call("echo") ? "goes on" : "does not come back");
            }),
            "goes on");
}

// From here on this process and its children get `error` from a system call, as on a kernel or in a container that lacks it.
bool refuse(int system_call, int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(system_call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(Host, that_may_not_pin_workers_gets_an_error_that_names_the_option) {
  EXPECT_EQ(in_child_host([] {
              if (!refuse(SYS_sched_setaffinity, EPERM)) return std::string("no seccomp here");
              Options pinned = options();
              pinned.worker_cpus = {0};
              const Footprint before = Footprint::now();
              const Error error = start_failure(pinned);
              if (Footprint::now() != before) return "left behind: " + Footprint::now().to_string();
              const bool clear = error.category == Category::system && says(error, "worker_cpus") && says(error, "permitted");
              return clear ? std::string("clear") : error.to_string();
            }),
            "clear");
}

TEST(Host, that_may_not_pin_its_dispatcher_is_warned_and_served) {
  EXPECT_EQ(in_child_host([] {
              if (!refuse(SYS_sched_setaffinity, EPERM)) return std::string("no seccomp here");
              Lines lines;
              Options pinned = options();
              pinned.dispatcher = Dispatcher::pinned;
              pinned.log = lines.sink();
              Pool pool = start(pinned);
              if (!pool.call("echo")) return std::string("not served");
              return std::string(lines.contain("could not be pinned") ? "warned and served" : "not warned");
            }),
            "warned and served");
}

TEST(Host, whose_kernel_lacks_something_is_told_what) {
  const struct {
    int system_call;
    const char* name;
  } cases[] = {{SYS_memfd_create, "memfd_create"}, {SYS_pidfd_open, "pidfd_open"}};
  for (const auto& [system_call, name] : cases) {
    EXPECT_EQ(in_child_host([&] {
                if (!refuse(system_call, ENOSYS)) return std::string("no seccomp here");
                const Error error = start_failure(options());
                const bool clear = error.code == Code::unsupported_system && says(error, name);
                return clear ? std::string("clear") : error.to_string();
              }),
              "clear")
        << name;
  }
}

TEST(Host, without_memory_for_its_lanes_gets_an_error) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory is far above any limit";
#endif
  EXPECT_EQ(in_child_host([] {
              rlimit limit{};
              getrlimit(RLIMIT_AS, &limit);
              limit.rlim_cur = 300u << 20;
              setrlimit(RLIMIT_AS, &limit);
              Options large = options();
              large.lane_bytes = 256 << 20;
              Result<Pool> pool = Pool::start(large);
              if (pool) return std::string("it started");
              return std::string(pool.error().category == Category::system ? "refused" : pool.error().to_string());
            }),
            "refused");
}

}  // namespace
}  // namespace samovar::test
