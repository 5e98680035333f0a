#include "tools/cli/embeddings_client.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>

namespace samovar::cli {

namespace {

tl::unexpected<Error> wrong_reply(std::string message) {
  return tl::unexpected(
      Error{.category = Category::application, .code = Code::invalid_result, .message = std::move(message), .context = {}});
}

// Sentences that are embedded by several threads at once, and where their rows go.
class Work {
 public:
  Work(std::span<const Sentence> sentences, std::size_t width) : sentences_(sentences), order_(sentences.size()) {
    // Texts of one call are padded to the longest: neighbours by length waste least.
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return sentences[a].text.size() < sentences[b].text.size(); });
    all_ = {.width = width, .floats = std::vector<float>(width * sentences.size())};
  }

  // Threads: any.
  std::span<const std::size_t> take(std::size_t count) {
    const std::size_t first = std::min(next_.fetch_add(count, std::memory_order_relaxed), order_.size());
    return std::span(order_).subspan(first, std::min(count, order_.size() - first));
  }
  std::string_view text(std::size_t row) const { return sentences_[row].text; }
  std::size_t place(std::span<const std::size_t> rows, const Embedded& embedded) {  // each row has one thread; returns how many are done
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(embedded.row(i).data(), all_.width, all_.floats.begin() + static_cast<std::ptrdiff_t>(rows[i] * all_.width));
    }
    return done_.fetch_add(rows.size(), std::memory_order_relaxed) + rows.size();
  }
  void fail(const Error& error) {
    next_.store(order_.size(), std::memory_order_relaxed);  // nothing is begun any more
    const std::scoped_lock lock(mutex_);
    if (!error_) error_ = error;
  }

  // By one thread, when the others have ended.
  Result<Matrix> finish() && {
    if (error_) return tl::unexpected(*std::move(error_));
    return std::move(all_);
  }

 private:
  const std::span<const Sentence> sentences_;
  std::vector<std::size_t> order_;
  Matrix all_;
  std::atomic<std::size_t> next_{0}, done_{0};
  std::mutex mutex_;
  std::optional<Error> error_;  // guarded by mutex_
};

}  // namespace

Result<Embedder> Embedder::make(Pool& pool) {
  const auto about = pool.call("about");
  if (!about) return tl::unexpected(about.error());
  const auto facts = about->value();
  if (!facts) return tl::unexpected(facts.error());
  Embedder embedder(pool);
  const auto text = [&](std::string_view key) {
    const Value* value = facts->find(key);
    return value && value->as_str() ? *value->as_str() : "?";
  };
  embedder.model_ = text("model");
  embedder.versions_ = text("versions");
  const Value* dimensions = facts->find("dimensions");
  const std::int64_t count = dimensions ? dimensions->as_int().value_or(0) : 0;
  if (count < 1 || count > 65'536) return wrong_reply("about: not the facts expected: " + facts->to_string());
  embedder.dimensions_ = static_cast<std::size_t>(count);
  return embedder;
}

Result<Embedded> Embedder::embed(std::span<const std::string_view> texts, const CallOptions& options) const {
  const auto reply = pool_->call("embed", value(Value(Value::List(texts.begin(), texts.end()))), options);
  if (!reply) return tl::unexpected(reply.error());
  auto tensor = reply->tensor<float, 2>();
  if (!tensor) return tl::unexpected(std::move(tensor).error());
  if (tensor->shape()[0] != texts.size() || tensor->shape()[1] != dimensions_) return wrong_reply("embed: not a row of floats for each text");
  return Embedded{.tensor = *std::move(tensor), .model_time = reply->service_time()};
}

Result<Matrix> Embedder::embed_all(std::span<const Sentence> sentences, std::size_t batch,
                                   const std::function<void(std::size_t done)>& progress) const {
  Work work(sentences, dimensions_);
  const auto embed_some = [&] {
    for (auto rows = work.take(batch); !rows.empty(); rows = work.take(batch)) {
      std::vector<std::string_view> texts;
      for (const std::size_t row : rows) texts.push_back(work.text(row));
      const auto embedded = embed(texts);
      if (!embedded) return work.fail(embedded.error());
      progress(work.place(rows, *embedded));
    }
  };
  std::vector<std::thread> threads;  // they wait, one for each worker
  for (unsigned i = 0; i < pool_->options().workers; ++i) threads.emplace_back(embed_some);
  for (std::thread& thread : threads) thread.join();
  return std::move(work).finish();
}

std::vector<Match> nearest(const Matrix& matrix, std::span<const float> query, std::size_t count) {
  std::vector<Match> matches;
  matches.reserve(matrix.rows());
  for (std::size_t i = 0; i < matrix.rows(); ++i) {
    const auto row = matrix.row(i);
    matches.push_back({.row = i, .cosine = std::transform_reduce(row.begin(), row.end(), query.begin(), 0.0F)});
  }
  const auto end = matches.begin() + static_cast<std::ptrdiff_t>(std::min(count, matches.size()));
  std::partial_sort(matches.begin(), end, matches.end(), [](const Match& a, const Match& b) { return a.cosine > b.cosine; });
  matches.erase(end, matches.end());
  return matches;
}

}  // namespace samovar::cli
