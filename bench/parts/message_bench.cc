// Question: what do building and verifying a message cost, beside what FlatBuffers' own builder and verifier cost?
// The argument of each benchmark is the payload in bytes.
#include <array>
#include <cstring>
#include <vector>

#include <benchmark/benchmark.h>
#include <samovar_wire/request_generated.h>
#include <samovar_wire/response_generated.h>

#include "ipc/message.h"

namespace samovar::bench {
namespace {

struct Fixture {
  explicit Fixture(const benchmark::State& state)
      : payload(static_cast<std::size_t>(state.range(0)), std::byte{0x42}),
        size(ipc::message_bytes(static_cast<std::uint32_t>(payload.size()))) {}

  ipc::Request request() const {
    return {.call_id = 7, .deadline_ns = 1, .method = 1, .kind = ipc::Kind::bytes, .payload = payload};
  }
  ipc::Response response() const { return {.call_id = 7, .kind = ipc::Kind::bytes, .payload = payload}; }
  std::span<const std::byte> message() const { return {room.data(), size}; }

  std::vector<std::byte> payload;
  std::size_t size;
  alignas(64) std::array<std::byte, 8192> room{};
};

void write_request(benchmark::State& state) {
  Fixture f(state);
  for (auto _ : state) {
    ipc::write_request(f.request(), f.room.data());
    benchmark::ClobberMemory();
  }
}

void read_request(benchmark::State& state) {
  Fixture f(state);
  ipc::write_request(f.request(), f.room.data());
  ipc::Request out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ipc::read_request(f.message(), out));
    benchmark::DoNotOptimize(out);
  }
}

void write_response(benchmark::State& state) {
  Fixture f(state);
  for (auto _ : state) {
    ipc::write_response(f.response(), f.room.data());
    benchmark::ClobberMemory();
  }
}

void read_response(benchmark::State& state) {
  Fixture f(state);
  ipc::write_response(f.response(), f.room.data());
  ipc::Response out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ipc::read_response(f.message(), out));
    benchmark::DoNotOptimize(out);
  }
}

void build_request(flatbuffers::FlatBufferBuilder& builder, const std::vector<std::byte>& payload) {
  builder.Clear();
  const wire::RequestHeader header(7, 1, 0, 1, static_cast<std::uint8_t>(ipc::Kind::bytes), 0);
  const auto bytes = builder.CreateVector(reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size());
  wire::FinishRequestBuffer(builder, wire::CreateRequest(builder, &header, bytes));
}

// As write_request(), by a warm builder, and copied into place: a builder cannot write into a record of exact size.
void flatbuffer_builder_request(benchmark::State& state) {
  Fixture f(state);
  flatbuffers::FlatBufferBuilder builder(8192);
  builder.ForceDefaults(true);
  for (auto _ : state) {
    build_request(builder, f.payload);
    std::memcpy(f.room.data(), builder.GetBufferPointer(), builder.GetSize());
    benchmark::ClobberMemory();
  }
}

// As read_request(), by the general verifier and the generated accessors.
void flatbuffer_verifier_request(benchmark::State& state) {
  Fixture f(state);
  ipc::write_request(f.request(), f.room.data());
  for (auto _ : state) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(f.room.data());
    flatbuffers::Verifier verifier(data, f.size);
    const bool right = wire::VerifyRequestBuffer(verifier);
    const wire::Request* request = wire::GetRequest(data);
    benchmark::DoNotOptimize(right);
    benchmark::DoNotOptimize(request->header()->call_id());
    benchmark::DoNotOptimize(request->payload()->size());
  }
}

void sizes(benchmark::internal::Benchmark* benchmark) { benchmark->Arg(0)->Arg(64)->Arg(4096); }

BENCHMARK(write_request)->Apply(sizes);
BENCHMARK(flatbuffer_builder_request)->Apply(sizes);
BENCHMARK(read_request)->Apply(sizes);
BENCHMARK(flatbuffer_verifier_request)->Apply(sizes);
BENCHMARK(write_response)->Apply(sizes);
BENCHMARK(read_response)->Apply(sizes);

}  // namespace
}  // namespace samovar::bench
