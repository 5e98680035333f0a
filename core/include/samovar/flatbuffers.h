// FlatBuffers of your own schema: sent from a finished builder, read from a reply after verification. Include it where you use
// them; samovar.h does not, for it needs FlatBuffers' own headers, and generated headers want just the version that made them.
//
//   flatbuffers::FlatBufferBuilder builder;
//   builder.Finish(fbs::CreateQuestion(builder, ...));
//   auto reply = pool.call("answer", samovar::flatbuffer(builder));
//   auto answer = reply->as<fbs::Answer>();                               // Result<FlatBuffer<fbs::Answer>>
//   if (answer) use((*answer)->label(), (*answer)->scores());
//
// In Python the method gets a view of it (@samovar.method(schema=…)), or the bytes for code that flatc has generated.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samovar/error.h>
#include <samovar/loan.h>
#include <samovar/payload.h>
#include <samovar/pool.h>
#include <samovar/reply.h>

namespace samovar {

// A finished FlatBuffer as the argument of a call; plain, or with its size in front. Views `bytes`, as samovar::bytes() does.
inline Payload flatbuffer(std::span<const std::byte> bytes) { return {PayloadKind::flatbuffer, bytes}; }

// Requires: the builder is finished, and stays as it is until call() returns or submit() has copied.
inline Payload flatbuffer(const flatbuffers::FlatBufferBuilder& builder) {
  return flatbuffer(std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())));
}
inline Payload flatbuffer(const flatbuffers::DetachedBuffer& buffer) {
  return flatbuffer(std::as_bytes(std::span(buffer.data(), buffer.size())));
}
Payload flatbuffer(flatbuffers::FlatBufferBuilder&&) = delete;  // the payload would view what is gone
Payload flatbuffer(flatbuffers::DetachedBuffer&&) = delete;

// A builder whose memory is a loan, so that what it builds is sent without a copy.
//
//   auto question = samovar::LoanBuilder::make(pool, 1 << 20);          // Result<LoanBuilder>
//   auto& builder = question->builder();
//   builder.Finish(fbs::CreateQuestion(builder, builder.CreateVector(pixels)));
//   pool.call("answer", samovar::flatbuffer(std::move(*question)));
//
// What does not fit into the loan grows on the heap, and is copied when it is sent: is_loan() tells. Scratch room counts, so give some
// tenths more than the message. A builder does not survive want of memory: growing beyond the loan ends the process by bad_alloc's way.
// Threads: one at a time.
class LoanBuilder {
 public:
  // Blocks up to `wait` while the arena is full. Fails as Pool::loan().
  static Result<LoanBuilder> make(Pool& pool, std::size_t bytes, Duration wait = Duration::zero()) {
    // What is built stands at the end of the memory and is aligned from there.
    Result<Loan> loan = pool.loan((bytes + kAlign - 1) / kAlign * kAlign, wait);
    if (!loan) return tl::unexpected(std::move(loan.error()));
    return LoanBuilder(std::make_unique<State>(std::move(*loan)));
  }

  // Not to be moved from, swapped or released: its memory belongs to this.
  flatbuffers::FlatBufferBuilder& builder() { return state_->builder; }

  // Whether all that was built so far lies in the loan.
  bool is_loan() const { return !state_->memory.has_grown; }

 private:
  friend Payload flatbuffer(LoanBuilder&& built);

  static constexpr std::size_t kAlign = 256;  // the most that a schema can ask for by force_align

  // Gives the loan first, and the heap when that is too small. Never null: a builder does not look.
  class Memory final : public flatbuffers::Allocator {
   public:
    explicit Memory(Loan its_loan) : loan(std::move(its_loan)), begin_(reinterpret_cast<std::uint8_t*>(loan.data())) {}
    std::uint8_t* allocate(std::size_t bytes) override {
      if (!is_lent && bytes <= loan.size()) {
        is_lent = true;
        return begin_;
      }
      has_grown = true;
      return static_cast<std::uint8_t*>(::operator new(bytes, std::align_val_t{kAlign}));
    }
    void deallocate(std::uint8_t* memory, std::size_t) override {
      if (memory == begin_) {
        is_lent = false;
      } else {
        ::operator delete(memory, std::align_val_t{kAlign});
      }
    }
    Loan loan;
    bool is_lent = false;
    bool has_grown = false;

   private:
    std::uint8_t* const begin_;  // of the loan, which may have been sent since
  };

  struct State {
    explicit State(Loan loan) : memory(std::move(loan)), builder(memory.loan.size(), &memory) {}
    Memory memory;
    flatbuffers::FlatBufferBuilder builder;
  };

  explicit LoanBuilder(std::unique_ptr<State> state) : state_(std::move(state)) {}

  std::unique_ptr<State> state_;
};

// Requires: the builder is finished. The payload owns what was built.
inline Payload flatbuffer(LoanBuilder&& built) {
  const auto state = std::move(built.state_);
  const auto* bytes = reinterpret_cast<const std::byte*>(state->builder.GetBufferPointer());
  const std::size_t size = state->builder.GetSize();
  Loan& loan = state->memory.loan;
  const std::less<const std::byte*> before;
  if (before(bytes, loan.data()) || !before(bytes, loan.data() + loan.size())) {
    return {PayloadKind::flatbuffer, std::vector<std::byte>(bytes, bytes + size), {}};
  }
  Loan sent = std::move(loan);
  sent.narrow(static_cast<std::size_t>(bytes - sent.data()), size);
  return {std::move(sent), PayloadKind::flatbuffer};
}

// A verified FlatBuffer with root T, and its memory: private, so that nobody writes what was verified. Movable; outlives its reply.
template <class T>
class FlatBuffer {
 public:
  const T* get() const { return root_; }
  const T* operator->() const { return root_; }
  const T& operator*() const { return *root_; }

  // All of it, aligned to 64 bytes.
  std::span<const std::byte> bytes() const { return {memory_.get(), size_}; }

  // Copies `bytes`, which may be anything, and verifies the copy. With `identifier` (four characters, as AnswerIdentifier() that
  // flatc generates) the buffer must carry it. Fails: why not, in words that follow "the reply ...".
  static tl::expected<FlatBuffer, std::string> verified(std::span<const std::byte> bytes, const char* identifier = nullptr) {
    if (bytes.size() < 2 * sizeof(flatbuffers::uoffset_t)) return tl::unexpected("has " + std::to_string(bytes.size()) + " bytes, too few for a FlatBuffer");
    if (bytes.size() >= FLATBUFFERS_MAX_BUFFER_SIZE) return tl::unexpected(std::string("is larger than a FlatBuffer can be (2 GiB)"));
    FlatBuffer out;
    out.memory_.reset(static_cast<std::byte*>(::operator new(bytes.size(), std::align_val_t{kAlign})));
    out.size_ = bytes.size();
    std::memcpy(out.memory_.get(), bytes.data(), bytes.size());
    const auto* data = reinterpret_cast<const std::uint8_t*>(out.memory_.get());
    if (flatbuffers::Verifier(data, bytes.size()).VerifyBuffer<T>(identifier)) {
      out.root_ = flatbuffers::GetRoot<T>(data);
    } else if (flatbuffers::Verifier(data, bytes.size()).VerifySizePrefixedBuffer<T>(identifier)) {
      out.root_ = flatbuffers::GetSizePrefixedRoot<T>(data);
    } else if (identifier != nullptr && std::string_view(reinterpret_cast<const char*>(data) + sizeof(flatbuffers::uoffset_t), bytes.size() - sizeof(flatbuffers::uoffset_t)).substr(0, 4) != identifier) {
      return tl::unexpected("has not the file identifier \"" + std::string(identifier) + "\"");
    } else {
      return tl::unexpected(std::string("does not verify as a FlatBuffer of this type: it is of another schema, or damaged"));
    }
    return out;
  }

 private:
  static constexpr std::size_t kAlign = 64;
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{kAlign}); }
  };

  FlatBuffer() = default;

  std::unique_ptr<std::byte, Free> memory_;
  std::size_t size_ = 0;
  const T* root_ = nullptr;
};

template <class T>
Result<FlatBuffer<T>> Reply::as(const char* identifier) const {
  const auto fail = [&](std::string why) {
    Error error{.category = Category::application, .code = Code::invalid_result, .message = "the reply " + std::move(why), .context = {}};
    error.context.worker = worker();
    error.context.started = true;
    return tl::unexpected(std::move(error));
  };
  if (kind() != PayloadKind::flatbuffer && kind() != PayloadKind::bytes) {
    return fail("is no FlatBuffer: return samovar.flatbuffer(...), or what samovar.schema() builds, from the method");
  }
  auto verified = FlatBuffer<T>::verified(data(), identifier);
  if (!verified) return fail(std::move(verified.error()));
  return std::move(*verified);
}

}  // namespace samovar
