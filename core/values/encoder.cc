#include <samovar/encoder.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>
#include <vector>

#include "core/values/value_codec.h"
#include "ipc/value_writer.h"

namespace samovar {
namespace {

// The writer that this thread used last: kept, so that a small call allocates nothing. Null while it is in use; then an argument's
// conversion makes a call itself.
constinit thread_local ipc::ValueWriter* spare = nullptr;

struct SpareEnd {
  ~SpareEnd() { delete std::exchange(spare, nullptr); }
};

ipc::ValueWriter* take_writer() {
  if (ipc::ValueWriter* writer = std::exchange(spare, nullptr)) return writer;
  static thread_local SpareEnd end;
  static_cast<void>(end);
  return new (std::nothrow) ipc::ValueWriter;
}

void give_back(ipc::ValueWriter* writer) {
  writer->clear();
  delete std::exchange(spare, writer);
}

constexpr char kTooDeep[] = "nested deeper than 64 levels (a list counts as one, a dict as two, a str or bytes as one)";
static_assert(ipc::kValueDepthMax == 64);

}  // namespace

// Where: the steps, the innermost first, before `tail`, which is ": why" or continues the path.
struct Encoder::Failure {
  std::string tail;
  std::vector<std::string> steps;
  std::size_t argument = 0;
};

Encoder::Encoder(std::size_t arguments) : writer_(take_writer()), arguments_(arguments), depth_(arguments > 1 ? 1 : 0) {
  if (!writer_) fail("out of memory");
}

Encoder::~Encoder() {
  if (writer_) give_back(writer_);
  delete failure_;
}

template <typename Write>
void Encoder::write(Write&& write) {
  if (!ok()) return;
  try {
    write(*writer_);
  } catch (const std::bad_alloc&) {
    fail("out of memory");
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void Encoder::none() {
  write([](ipc::ValueWriter& to) { to.null(); });
}
void Encoder::boolean(bool value) {
  write([=](ipc::ValueWriter& to) { to.boolean(value); });
}
void Encoder::integer(std::int64_t value) {
  write([=](ipc::ValueWriter& to) { to.integer(value); });
}
void Encoder::unsigned_integer(std::uint64_t value) {
  // As Value does: an int is unsigned only where it must be.
  if (value <= static_cast<std::uint64_t>(INT64_MAX)) return integer(static_cast<std::int64_t>(value));
  write([=](ipc::ValueWriter& to) { to.unsigned_integer(value); });
}
void Encoder::number(double value) {
  write([=](ipc::ValueWriter& to) { to.number(value); });
}
void Encoder::text(std::string_view utf8) {
  if (depth_ + 1 > ipc::kValueDepthMax) return fail(kTooDeep);
  if (!ipc::is_utf8(utf8)) return fail("a str that is not UTF-8 (send it as samovar::Bytes)");
  write([=](ipc::ValueWriter& to) { to.text(utf8); });
}
void Encoder::bytes(std::span<const std::byte> data) {
  if (depth_ + 1 > ipc::kValueDepthMax) return fail(kTooDeep);
  write([=](ipc::ValueWriter& to) { to.blob(data.data(), data.size()); });
}

void Encoder::value(const Value& value) {
  write([&](ipc::ValueWriter& to) {
    if (auto written = core::write_value(value, {}, depth_, to); !written) {
      fail({});
      failure_->tail = std::move(written.error());
    }
  });
}

Encoder::Open Encoder::open_list() {
  if (++depth_ > ipc::kValueDepthMax) fail(kTooDeep);
  return {ok() ? writer_->open_count() : 0, std::exchange(item_, 0)};
}
void Encoder::close_list(const Open& open) {
  --depth_;
  item_ = open.item;
  write([&](ipc::ValueWriter& to) { to.close_list(open.first); });
}
Encoder::Open Encoder::open_dict() {
  depth_ += 2;
  if (depth_ > ipc::kValueDepthMax) fail(kTooDeep);
  return {ok() ? writer_->open_count() : 0, item_};
}
void Encoder::close_dict(const Open& open) {
  depth_ -= 2;
  write([&](ipc::ValueWriter& to) { to.close_entries(open.first); });
}

void Encoder::fail(std::string_view why) {
  if (!ok()) return;
  failure_ = new Failure{.tail = ": " + std::string(why), .steps = {}, .argument = argument_};
}

void Encoder::add_step(std::size_t index) { add_step("[" + std::to_string(index) + "]"); }
void Encoder::add_step(std::string step) { failure_->steps.push_back(std::move(step)); }

Payload Encoder::finish() {
  const PayloadKind kind = arguments_ > 1 ? PayloadKind::arguments : PayloadKind::value;
  if (ok() && arguments_ == 0) return {};
  std::span<const std::byte> bytes;
  write([&](ipc::ValueWriter& to) {
    if (arguments_ > 1) to.close_list(0);
    bytes = to.finish();
  });
  if (ok()) return {kind, bytes};
  std::string message = "argument " + std::to_string(std::max<std::size_t>(1, failure_->argument));
  for (auto step = failure_->steps.rbegin(); step != failure_->steps.rend(); ++step) message += *step;
  return {kind, {}, message + failure_->tail};
}

}  // namespace samovar
