// The C++ side of tools/examples/embeddings: sentences become rows of floats in Python, and are searched here.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/samovar.h>

#include "tools/cli/sentences.h"

namespace samovar::cli {

// Rows of equal width in one piece, each of length 1.
struct Matrix {
  std::size_t width = 0;
  std::vector<float> floats;

  std::size_t rows() const { return width == 0 ? 0 : floats.size() / width; }
  std::span<const float> row(std::size_t i) const { return std::span(floats).subspan(i * width, width); }
};

struct Embedded {
  TensorViewOf<float> tensor;              // (texts, dimensions), where the worker wrote it
  std::chrono::nanoseconds model_time{0};  // inside the Python function; zero unless asked for with CallOptions::timed

  std::span<const float> row(std::size_t i) const {
    const std::size_t width = tensor.shape()[1];
    return tensor.span().subspan(i * width, width);
  }
};

// The model behind a pool, which must outlive this. Threads: any.
class Embedder {
 public:
  // Asks the pool what it has. Fails: as the call does, or where the pool's module is another one.
  static Result<Embedder> make(Pool& pool);

  const std::string& model() const { return model_; }        // "all-MiniLM-L6-v2, int8"
  const std::string& versions() const { return versions_; }  // "Python 3.11.2, onnxruntime 1.31.1"
  std::size_t dimensions() const { return dimensions_; }     // floats in a row

  // One call. Fails: as it does, or where what comes back has another shape. Blocks.
  Result<Embedded> embed(std::span<const std::string_view> texts, const CallOptions& options = {}) const;

  // All of them, `batch` to a call, by all workers at once. `progress` is told, by any thread, how many are done.
  // Fails: with the first error that any call got. Blocks.
  Result<Matrix> embed_all(std::span<const Sentence> sentences, std::size_t batch,
                           const std::function<void(std::size_t done)>& progress) const;

 private:
  explicit Embedder(Pool& pool) : pool_(&pool) {}

  Pool* pool_;
  std::string model_, versions_;
  std::size_t dimensions_ = 0;
};

struct Match {
  std::size_t row;
  float cosine;  // -1 to 1
};

// The `count` rows that point most nearly as `query` does, the nearest first.
std::vector<Match> nearest(const Matrix& matrix, std::span<const float> query, std::size_t count);

}  // namespace samovar::cli
