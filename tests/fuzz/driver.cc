// Runs a fuzz target without libFuzzer: the same inputs in the same order each time, so that it is a test.
//
//   NAME [--runs N] [FILE.hex...]     the seeds, the files, then N mutations of both
//   NAME --write-seeds FOLDER         seeds and files as binary files, for libFuzzer
//
// An input that ends the process is printed in hex: save it as corpus/NAME/WHAT_IT_SHOWS.hex, and it is tried ever after.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/fuzz/target.h"

namespace samovar::fuzz {
namespace {

constexpr std::size_t kInputBytesMax = 4096;

// The input that runs, for the handler of a signal.
const Input* running = nullptr;

void print_input(int signal) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const auto print = [](std::string_view text) { (void)!write(STDERR_FILENO, text.data(), text.size()); };
  print("fuzz: the input was:\n");
  for (const std::uint8_t byte : *running) {
    const char digits[] = {kDigits[byte >> 4U], kDigits[byte & 15U]};
    print({digits, 2});
  }
  print("\n");
  raise(signal);  // by default now: the handler was set for one signal
}

void run(const Input& input) {
  running = &input;
  const auto exact = std::make_unique<std::uint8_t[]>(input.size());
  std::copy(input.begin(), input.end(), exact.get());
  LLVMFuzzerTestOneInput(exact.get(), input.size());
}

// Hex digits; white space between bytes, and comments from # to the end of a line.
Input read_hex(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  Input input;
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    std::erase_if(line, [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; });
    if (line.size() % 2 != 0 || line.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      throw std::runtime_error(path + " is not hex: " + line);
    }
    for (std::size_t i = 0; i < line.size(); i += 2) {
      input.push_back(static_cast<std::uint8_t>(std::stoi(line.substr(i, 2), nullptr, 16)));
    }
  }
  return input;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<Input>& corpus) : corpus_(corpus) {}

  Input next() {
    Input input = corpus_[below(corpus_.size())];
    for (std::size_t changes = 1 + below(6); changes-- > 0;) change(input);
    input.resize(std::min(input.size(), kInputBytesMax));
    return input;
  }

 private:
  // The generator alone is the same everywhere; the standard's distributions are not.
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void change(Input& input) {
    static constexpr std::array<std::uint64_t, 14> kTelling = {
        0, 1, 2, 4, 8, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xffffffffffffffff};
    const auto at = static_cast<Input::difference_type>(below(input.size() + 1));
    const auto left = input.size() - static_cast<std::size_t>(at);
    switch (below(8)) {
      case 0:
        if (left > 0) input[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1U << below(8));
        break;
      case 1:
        if (left > 0) input[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(random_());
        break;
      case 2: {
        const std::uint64_t value = below(4) == 0 ? below(input.size() + 2) : kTelling[below(kTelling.size())];
        const std::size_t width = std::min<std::size_t>(std::size_t{1} << below(4), left);
        if (width > 0) std::memcpy(input.data() + at, &value, width);
        break;
      }
      case 3:
        input.insert(input.begin() + at, static_cast<std::uint8_t>(random_()));
        break;
      case 4:
        input.erase(input.begin() + at,
                    input.begin() + at + static_cast<Input::difference_type>(below(std::min<std::size_t>(left, 8) + 1)));
        break;
      case 5:
        input.resize(static_cast<std::size_t>(at));
        break;
      case 6: {  // a part of this one again
        const Input part(input.begin() + at, input.begin() + at + static_cast<Input::difference_type>(below(left + 1)));
        input.insert(input.begin() + static_cast<Input::difference_type>(below(input.size() + 1)), part.begin(), part.end());
        break;
      }
      default: {  // the end of another one
        const Input& other = corpus_[below(corpus_.size())];
        const auto from = static_cast<Input::difference_type>(below(other.size() + 1));
        input.erase(input.begin() + at, input.end());
        input.insert(input.end(), other.begin() + from, other.end());
        break;
      }
    }
  }

  const std::vector<Input>& corpus_;
  std::mt19937_64 random_{1};
};

int drive(std::span<char*> arguments) {
  std::size_t runs = 0;
  std::filesystem::path folder;
  std::vector<Input> corpus = seeds();
  corpus.emplace_back();  // nothing at all
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string argument = arguments[i];
    const bool more = i + 1 < arguments.size();
    if (argument == "--runs" && more) {
      runs = std::stoull(arguments[++i]);
    } else if (argument == "--write-seeds" && more) {
      folder = arguments[++i];
    } else {
      corpus.push_back(read_hex(argument));
    }
  }
  if (!folder.empty()) {
    std::filesystem::create_directories(folder);
    for (std::size_t i = 0; i < corpus.size(); ++i) {
      std::ofstream file(folder / ("seed-" + std::to_string(i)), std::ios::binary);
      std::copy(corpus[i].begin(), corpus[i].end(), std::ostreambuf_iterator<char>(file));
    }
    return 0;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    struct sigaction once {};
    sigaction(signal, nullptr, &once);
    if (once.sa_handler != SIG_DFL) continue;  // a sanitizer's, which reports and aborts
    once.sa_handler = print_input;
    once.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
    sigaction(signal, &once, nullptr);
  }
  for (const Input& input : corpus) run(input);
  Mutator mutator(corpus);
  for (std::size_t i = 0; i < runs; ++i) run(mutator.next());
  std::printf("%zu seeds, %zu mutations: nothing found\n", corpus.size(), runs);
  return 0;
}

}  // namespace
}  // namespace samovar::fuzz

int main(int argc, char** argv) {
  try {
    return samovar::fuzz::drive({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz: %s\n", error.what());
    return 2;
  }
}
