// The C++ side of tools/examples/digits: the images, and the model called through a pool.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <samovar/samovar.h>

namespace samovar::cli {

constexpr std::size_t kImageSide = 8;
using Image = std::array<std::byte, kImageSide * kImageSide>;  // row by row, 0 (white) to 16 (black)

struct Digits {
  std::string python;    // the interpreter that the workers run
  std::string versions;  // "Python 3.11.2, scikit-learn 1.9.1"
  std::string model;     // as scikit-learn prints it
  std::int64_t support_vectors = 0;
  double trained_ms = 0;
  std::size_t trained = 0;  // images [0, trained) are known to the model, the others unseen
  std::vector<Image> images;
  std::vector<int> labels;  // one for each image

  std::span<const Image> unseen() const { return std::span(images).subspan(trained); }
  int unseen_label(std::size_t i) const { return labels[trained + i]; }
};

// In pages, each as large as a reply may be.
Result<Digits> fetch_digits(Pool& pool);

// An int that a method returned.
Result<std::int64_t> integer_of(const Result<Reply>& reply);

}  // namespace samovar::cli
