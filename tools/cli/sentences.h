// The sentences that `samovar demo embeddings` searches: quotations that Debian ships, or lines of a file of one's own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/error.h>

namespace samovar::cli {

struct Sentence {
  std::string text;    // UTF-8, one line
  std::string author;  // or empty
};

// `max` of them, spread evenly over all that there are: from Debian's package fortunes, those of a length that a sentence has.
// Fails: the package is not there.
Result<std::vector<Sentence>> read_fortunes(std::size_t max);

// The first `max` lines of a file that are not empty. Fails: it cannot be read, has none, or is not UTF-8.
Result<std::vector<Sentence>> read_lines(const std::string& path, std::size_t max);

// The quotations of one file of fortunes, parted by lines of one '%'. Longer and shorter ones are left out, and drawings.
std::vector<Sentence> parse_fortunes(std::string_view file);

}  // namespace samovar::cli
