#include "ipc/handshake.h"

#include <samovar_wire/control_generated.h>

#include <iterator>

namespace samovar::ipc {
namespace {

std::string text(const flatbuffers::String* string) { return string ? string->str() : std::string(); }

flatbuffers::Offset<flatbuffers::String> text_or_nothing(flatbuffers::FlatBufferBuilder& b, const std::string& text) {
  return text.empty() ? 0 : b.CreateString(text);
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Hello& m) {
  const auto module = b.CreateString(m.module);
  return wire::CreateHello(b, m.layout_hash, m.incarnation, m.worker, m.lane_bytes, m.payload_bytes_max,
                           static_cast<std::uint64_t>(m.spin_max_ns), module, m.request_arena_bytes, m.response_arena_bytes,
                           static_cast<std::uint64_t>(m.arena_trim_ns), m.escaped_views_max,
                           static_cast<std::uint64_t>(m.heartbeat_ns), static_cast<std::uint64_t>(m.probe_after_ns), m.log_level,
                           m.memory_node, m.concurrency, m.stream_window)
      .Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Ready& m) {
  std::vector<flatbuffers::Offset<wire::Method>> methods;
  for (const Method& method : m.methods) {
    const auto name = b.CreateString(method.name);
    const auto keyword = text_or_nothing(b, method.keyword);
    const auto signature = text_or_nothing(b, method.signature);
    methods.push_back(wire::CreateMethod(b, name, method.positional_min, method.positional_max, keyword, signature, method.stream,
                                         method.asynchronous, method.batch_max, static_cast<std::uint64_t>(method.batch_wait_ns)));
  }
  const auto python = b.CreateString(m.python);
  return wire::CreateReady(b, m.layout_hash, python, b.CreateVector(methods)).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const StartFailed& m) {
  const auto reason = b.CreateString(m.reason);
  const auto type = b.CreateString(m.type);
  const auto message = b.CreateString(m.message);
  return wire::CreateStartFailed(b, reason, type, message, b.CreateString(m.traceback)).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Stop&) { return wire::CreateStop(b).Union(); }

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const DumpStacks&) { return wire::CreateDumpStacks(b).Union(); }

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Stacks& m) {
  return wire::CreateStacks(b, b.CreateString(m.text)).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const NurseryHello& m) {
  const auto module = b.CreateString(m.module);
  return wire::CreateNurseryHello(b, m.layout_hash, module, m.log_level, b.CreateVector(m.memory_nodes)).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const NurseryReady& m) {
  return wire::CreateNurseryReady(b, m.layout_hash, b.CreateVectorOfStrings(m.threads)).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Fork& m) { return wire::CreateFork(b, m.incarnation).Union(); }

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Forked& m) {
  return wire::CreateForked(b, m.incarnation, m.pid).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const ForkFailed& m) {
  const auto reason = b.CreateString(m.why.reason);
  const auto type = b.CreateString(m.why.type);
  const auto message = b.CreateString(m.why.message);
  return wire::CreateForkFailed(b, m.incarnation, reason, type, message, b.CreateString(m.why.traceback)).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const ChildEnded& m) {
  return wire::CreateChildEnded(b, m.incarnation, m.code, m.signal).Union();
}

flatbuffers::Offset<void> pack(flatbuffers::FlatBufferBuilder& b, const Bury& m) { return wire::CreateBury(b, m.incarnation).Union(); }

wire::ControlBody body_type(const ControlMessage& message) {
  using enum wire::ControlBody;
  constexpr wire::ControlBody kTypes[] = {Hello, Ready, StartFailed, Stop, DumpStacks, Stacks, NurseryHello,
                                          NurseryReady, Fork, Forked, ForkFailed, ChildEnded, Bury};
  static_assert(std::size(kTypes) == std::variant_size_v<ControlMessage>);
  return kTypes[message.index()];
}

Hello unpack(const wire::Hello& m) {
  return {.layout_hash = m.layout_hash(),
          .incarnation = m.incarnation(),
          .worker = m.worker(),
          .lane_bytes = m.lane_bytes(),
          .payload_bytes_max = m.payload_bytes_max(),
          .spin_max_ns = static_cast<std::int64_t>(m.spin_max_ns()),
          .module = text(m.module_()),
          .request_arena_bytes = m.request_arena_bytes(),
          .response_arena_bytes = m.response_arena_bytes(),
          .arena_trim_ns = static_cast<std::int64_t>(m.arena_trim_ns()),
          .escaped_views_max = m.escaped_views_max(),
          .heartbeat_ns = static_cast<std::int64_t>(m.heartbeat_ns()),
          .probe_after_ns = static_cast<std::int64_t>(m.probe_after_ns()),
          .log_level = m.log_level(),
          .concurrency = m.concurrency(),
          .memory_node = m.memory_node(),
          .stream_window = m.stream_window()};
}

Ready unpack(const wire::Ready& m) {
  Ready ready{.layout_hash = m.layout_hash(), .python = text(m.python())};
  if (m.methods()) {
    for (const wire::Method* method : *m.methods()) {
      ready.methods.push_back({.name = text(method->name()),
                               .positional_min = method->positional_min(),
                               .positional_max = method->positional_max(),
                               .keyword = text(method->keyword()),
                               .signature = text(method->signature()),
                               .stream = method->stream(),
                               .asynchronous = method->asynchronous(),
                               .batch_max = method->batch_max(),
                               .batch_wait_ns = static_cast<std::int64_t>(method->batch_wait_ns())});
    }
  }
  return ready;
}

// Of wire::StartFailed and wire::ForkFailed.
template <typename T>
StartFailed unpack_failure(const T& m) {
  return {.reason = text(m.reason()), .type = text(m.type()), .message = text(m.message()), .traceback = text(m.traceback())};
}

NurseryReady unpack(const wire::NurseryReady& m) {
  NurseryReady ready{.layout_hash = m.layout_hash(), .threads = {}};
  if (m.threads()) {
    for (const flatbuffers::String* name : *m.threads()) ready.threads.push_back(text(name));
  }
  return ready;
}

ControlMessage unpack_for_nurseries(const wire::Control& control) {
  switch (control.body_type()) {
    case wire::ControlBody::NurseryHello: {
      const wire::NurseryHello& m = *control.body_as_NurseryHello();
      NurseryHello hello{.layout_hash = m.layout_hash(), .module = text(m.module_()), .log_level = m.log_level()};
      if (m.memory_nodes()) hello.memory_nodes.assign(m.memory_nodes()->begin(), m.memory_nodes()->end());
      return hello;
    }
    case wire::ControlBody::NurseryReady: return unpack(*control.body_as_NurseryReady());
    case wire::ControlBody::Fork: return Fork{control.body_as_Fork()->incarnation()};
    case wire::ControlBody::Forked: return Forked{control.body_as_Forked()->incarnation(), control.body_as_Forked()->pid()};
    case wire::ControlBody::ForkFailed: {
      const wire::ForkFailed& m = *control.body_as_ForkFailed();
      return ForkFailed{m.incarnation(), unpack_failure(m)};
    }
    case wire::ControlBody::ChildEnded: {
      const wire::ChildEnded& m = *control.body_as_ChildEnded();
      return ChildEnded{.incarnation = m.incarnation(), .code = m.code(), .signal = m.signal()};
    }
    default: return Bury{control.body_as_Bury()->incarnation()};
  }
}

}  // namespace

std::vector<std::uint8_t> encode_control(const ControlMessage& message) {
  flatbuffers::FlatBufferBuilder builder;
  const auto body = std::visit([&](const auto& m) { return pack(builder, m); }, message);
  builder.Finish(wire::CreateControl(builder, body_type(message), body));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

tl::expected<ControlMessage, std::string> decode_control(std::span<const std::uint8_t> bytes) {
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  if (!wire::VerifyControlBuffer(verifier)) return tl::unexpected(std::string("a control message that is no FlatBuffer of control.fbs"));
  const wire::Control* control = wire::GetControl(bytes.data());
  if (!control->body()) return tl::unexpected(std::string("a control message without a body"));
  switch (control->body_type()) {
    case wire::ControlBody::Hello: return unpack(*control->body_as_Hello());
    case wire::ControlBody::Ready: return unpack(*control->body_as_Ready());
    case wire::ControlBody::StartFailed: return unpack_failure(*control->body_as_StartFailed());
    case wire::ControlBody::Stop: return Stop{};
    case wire::ControlBody::DumpStacks: return DumpStacks{};
    case wire::ControlBody::Stacks: return Stacks{text(control->body_as_Stacks()->text())};
    case wire::ControlBody::NurseryHello:
    case wire::ControlBody::NurseryReady:
    case wire::ControlBody::Fork:
    case wire::ControlBody::Forked:
    case wire::ControlBody::ForkFailed:
    case wire::ControlBody::ChildEnded:
    case wire::ControlBody::Bury: return unpack_for_nurseries(*control);
    case wire::ControlBody::NONE: break;
  }
  return tl::unexpected(std::string("a control message of an unknown kind"));
}

}  // namespace samovar::ipc
