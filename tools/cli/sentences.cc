#include "tools/cli/sentences.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "ipc/value_format.h"
#include "tools/cli/failure.h"

namespace samovar::cli {
namespace {

constexpr const char* kFortunes = "/usr/share/games/fortunes/";
// Of some 50 subjects those that suit all readers, and have sentences rather than drawings, songs and long jokes.
constexpr const char* kSubjects[] = {"computers", "education", "food",   "humorists", "law",    "linux", "literature", "love", "medicine",
                                     "people",    "pets",      "riddles", "science",   "sports", "wisdom", "work"};
constexpr std::size_t kBytesMin = 30, kBytesMax = 200;

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  errno = 0;
  if (!file || !(text << file.rdbuf())) return tl::unexpected(system_error("cannot read " + path, errno));
  return std::move(text).str();
}

// With one space between words.
void append_words(std::string& to, std::string_view line) {
  std::istringstream words{std::string(line)};
  for (std::string word; words >> word;) {
    if (!to.empty()) to += ' ';
    to += word;
  }
}

bool is_sentence(const std::string& text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' '; };  // letters that are struck over
  return text.size() >= kBytesMin && text.size() <= kBytesMax && ipc::is_utf8(text) && std::none_of(text.begin(), text.end(), is_control);
}

}  // namespace

std::vector<Sentence> parse_fortunes(std::string_view file) {
  std::vector<Sentence> sentences;
  Sentence sentence;
  bool in_author = false;
  const auto end_sentence = [&] {
    if (is_sentence(sentence.text)) sentences.push_back(std::move(sentence));
    sentence = {};
    in_author = false;
  };
  std::istringstream lines{std::string(file)};
  for (std::string line; std::getline(lines, line);) {
    if (line == "%") {
      end_sentence();
      continue;
    }
    const std::size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
    in_author = in_author || line.compare(begin, 2, "--") == 0;
    append_words(in_author ? sentence.author : sentence.text, line);
  }
  end_sentence();
  return sentences;
}

Result<std::vector<Sentence>> read_fortunes(std::size_t max) {
  std::vector<Sentence> all;
  std::set<std::string> known;
  for (const char* subject : kSubjects) {
    const auto file = read_file(std::string(kFortunes) + subject);
    if (!file) {
      Error error = file.error();
      error.message += "; it is of Debian's package fortunes, which `make setup` installs. --file PATH takes sentences of your own";
      return tl::unexpected(std::move(error));
    }
    for (Sentence& sentence : parse_fortunes(*file)) {
      if (known.insert(sentence.text).second) all.push_back(std::move(sentence));
    }
  }
  if (all.size() <= max) return all;
  std::vector<Sentence> some;
  for (std::size_t i = 0; i < max; ++i) some.push_back(std::move(all[i * all.size() / max]));
  return some;
}

Result<std::vector<Sentence>> read_lines(const std::string& path, std::size_t max) {
  const auto file = read_file(path);
  if (!file) return tl::unexpected(file.error());
  if (!ipc::is_utf8(*file)) return tl::unexpected(system_error(path + " is not UTF-8", 0));
  std::vector<Sentence> sentences;
  std::istringstream lines{*file};
  for (std::string line; sentences.size() < max && std::getline(lines, line);) {
    Sentence sentence;
    append_words(sentence.text, line);
    if (!sentence.text.empty()) sentences.push_back(std::move(sentence));
  }
  if (sentences.empty()) return tl::unexpected(system_error(path + " has no sentences, one a line", 0));
  return sentences;
}

}  // namespace samovar::cli
