// samovar call: starts a pool, makes one call with JSON in and out, and ends.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/samovar.h>

#include "tools/cli/commands.h"
#include "tools/cli/configured.h"
#include "tools/cli/duration.h"
#include "tools/cli/failure.h"
#include "tools/cli/json_value.h"

namespace samovar::cli {
namespace {

// One call is in no hurry and its lanes cost nothing until they are used: room for what one would send by hand.
constexpr std::uint32_t kPayloadBytesMax = 1 << 20;
constexpr std::uint32_t kLaneBytes = 8 << 20;

constexpr std::string_view kWorkerPrefix = "worker ";  // of the pool's log lines; "worker 0: ..." is output of worker 0

constexpr const char* kFooter =
    "Each ARG is JSON and becomes a positional argument; quote it from the shell: '[1, 2]' '\"text\"' null.\n"
    "The result is printed as one line of JSON. What JSON lacks is written, in both directions, as\n"
    "  bytes {\"$bytes\": \"<base64>\"}   nan {\"$float\": \"nan\"}   {1: 2} {\"$dict\": [[1, 2]]}\n"
    "Arguments and result may have 1 MiB each.\n"
    "Examples:\n"
    "  samovar call models.py price '\"EURUSD\"' 1000000\n"
    "  samovar call models.py greet --text world\n"
    "  samovar call models.py brightness --bytes picture.raw\n"
    "An exception in Python prints its traceback and ends with status 1.";

struct CallCommand {
  std::string module;
  std::string method;
  std::string bytes_file;
  bool text = false;
  bool raw = false;
  bool verbose = false;
  Configured source;
  Options pool;  // where the command line says something
  Duration timeout = Options{}.timeout;
};

class CallFormatter : public CLI::Formatter {
 public:
  CallFormatter() { column_width(34); }
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = CLI::Formatter::make_usage(app, std::move(name));
    return usage.insert(usage.find_last_not_of('\n') + 1, " [ARG...]");
  }
};

Result<std::string> read_all(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    errno = 0;
    file.open(path, std::ios::binary);
    if (!file) return tl::unexpected(system_error("cannot read " + path, errno));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string content{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) return tl::unexpected(system_error("cannot read " + path, errno));
  return content;
}

struct Refusal {
  std::string what;
  std::string advice;
};

tl::expected<std::vector<Value>, Refusal> parse_arguments(const std::vector<std::string>& texts, bool accept_text) {
  std::vector<Value> values;
  for (const std::string& text : texts) {
    auto parsed = parse_json(text);
    const std::string which = "argument " + std::to_string(values.size() + 1);
    if (parsed) {
      values.push_back(*std::move(parsed));
    } else if (parsed.error().is_json) {
      return tl::unexpected(Refusal{which + " cannot be sent: " + text, parsed.error().why});
    } else if (text.size() > 1 && text.front() == '-') {
      return tl::unexpected(Refusal{"there is no option " + text, "If it is an argument, write it as JSON: '\"" + text + "\"'."});
    } else if (accept_text) {
      values.emplace_back(text);
    } else {
      return tl::unexpected(Refusal{which + " is not JSON: " + text,
                                    parsed.error().why + "\nA string needs its quotes, and the shell's around them: '\"hello\"'.\n"
                                    "Or --text takes arguments that are not JSON as strings."});
    }
  }
  return values;
}

// What a method prints is part of what its caller wants to see. What befalls the pool is not: the call's own error says it.
void print_worker_output(LogLevel /*level*/, std::string_view line) {
  const auto number = line.substr(std::min(line.size(), kWorkerPrefix.size()));
  const auto end = number.find_first_not_of("0123456789");
  if (!line.starts_with(kWorkerPrefix) || end == 0 || end == number.npos || !number.substr(end).starts_with(": ")) return;
  const auto said = number.substr(end + 2);
  std::fprintf(stderr, "%.*s\n", static_cast<int>(said.size()), said.data());
}

int print_reply(const Reply& reply, bool raw) {
  if (raw) {
    if (reply.kind() == PayloadKind::value) {
      return report("call", {.category = Category::application,
                             .code = Code::invalid_result,
                             .message = "--raw: the result is neither bytes nor str; without --raw it is printed as JSON",
                             .context = {}});
    }
    std::fwrite(reply.data().data(), 1, reply.data().size(), stdout);
  } else {
    const auto value = reply.value();
    if (!value) return report("call", value.error());
    std::printf("%s\n", to_json(*value).c_str());
  }
  if (std::fflush(stdout) != 0) return report("call", system_error("cannot write the result to stdout", errno));
  return kSucceeded;
}

// What a single call by hand wants where no file and no variable says otherwise.
Options defaults_of_call() {
  Options options;
  options.name = "samovar-call";
  options.workers = 1;
  options.inline_bytes_max = kPayloadBytesMax;
  options.lane_bytes = kLaneBytes;
  options.stop_timeout = std::chrono::milliseconds(500);  // after --timeout nobody waits for what still runs
  return options;
}

int run_call(const CallCommand& command, const std::vector<std::string>& argument_texts, const CLI::App& given) {
  auto values = parse_arguments(argument_texts, command.text);
  if (!values) {
    return report_usage("call", values.error().what, values.error().advice);
  }
  if (!command.bytes_file.empty() && !values->empty()) {
    return report_usage("call", "--bytes sends one argument, and there are others", "Leave out one or the other.");
  }
  std::string content;
  Payload payload;
  if (!command.bytes_file.empty()) {
    auto read = read_all(command.bytes_file);
    if (!read) return report("call", read.error());
    content = *std::move(read);
    payload = bytes(content.data(), content.size());
  } else if (!values->empty()) {
    payload = arguments(*values);
  }

  auto loaded = load(command.source, defaults_of_call());
  if (!loaded) return report("call", loaded.error());
  Options options = *std::move(loaded);
  options.module = command.module;
  if (given.count("--workers") > 0) options.workers = command.pool.workers;
  if (given.count("--start-timeout") > 0) options.start_timeout = command.pool.start_timeout;
  if (given.count("--python") > 0) options.python = command.pool.python;
  if (given.count("--timeout") > 0) options.timeout = command.timeout;
  if (command.verbose) {
    options.log_level = LogLevel::debug;
  } else {
    options.log_level = LogLevel::info;
    options.log = print_worker_output;
  }
  auto pool = Pool::start(std::move(options));
  if (!pool) return report("call", pool.error());
  const auto reply = pool->call(command.method, payload);
  return reply ? print_reply(*reply, command.raw) : report("call", reply.error());
}

}  // namespace

void add_call(CLI::App& app, int& exit_status) {
  auto command = std::make_shared<CallCommand>();
  command->pool.workers = 1;
  CLI::App* call = app.add_subcommand("call", "Call a method of a Python module once, with JSON in and out");
  call->formatter(std::make_shared<CallFormatter>());
  call->footer(kFooter);
  call->add_option("MODULE", command->module, "models.py, path/to/models.py, or an importable name")->required()->option_text(" ");
  call->add_option("METHOD", command->method, "Name of a function with @samovar.method")->required()->option_text(" ");
  // The arguments are what is left over. As an option of many values CLI11 would take [1,2] apart and drop {}.
  call->allow_extras();
  call->add_flag("--text", command->text, "Take arguments that are not JSON as strings");
  call->add_option("--bytes", command->bytes_file, "Send the content of this file ('-': stdin) as one bytes argument")
      ->option_text("FILE");
  call->add_flag("--raw", command->raw, "Write the bytes or str of the result to stdout as they are");
  add_duration(*call, "--timeout", command->timeout, "Time for the call");
  add_duration(*call, "--start-timeout", command->pool.start_timeout, "Time for the worker to start, the module's import included");
  call->add_option("--workers", command->pool.workers, "Number of workers, 1 to 1024")->option_text("N=1")->check(CLI::Range(1, 1024));
  call->add_option("--python", command->pool.python, "Interpreter; default: $SAMOVAR_PYTHON, else the one Samovar was built for")
      ->option_text("PATH");
  add_configured(*call, "--config", command->source);
  call->add_flag("-v,--verbose", command->verbose, "Log what the pool does to stderr");
  call->callback([command, call, &exit_status] { exit_status = run_call(*command, call->remaining(), *call); });
}

}  // namespace samovar::cli
