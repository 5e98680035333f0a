// Layout: every shared byte of a channel, frozen by the compiler. ipc/PROTOCOL.md describes it in prose.
//
// A channel is two memfds. The host segment is written by the host only and sealed against any other writer; the worker
// segment is written by the worker only. Each is one control page followed by one lane:
//
//   host segment    | HostPage 4096   | request lane,  lane_bytes | releases of response blocks | note lane, lane_bytes |
//   worker segment  | WorkerPage 4096 | response lane, lane_bytes | releases of request blocks  |
//
// Payloads that do not fit into a record lie in arenas, memfds of their own without any structure: see arena.h.
//
// Words that are written once per call never share a cache line with flags that are written rarely.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <samovar_wire/schema_hash.h>

namespace samovar::ipc {

inline constexpr std::uint32_t kCacheLineBytes = 64;
inline constexpr std::uint32_t kPageBytes = 4096;

// Records begin on granules and their sizes are padded to granules.
inline constexpr std::uint32_t kGranuleBytes = 64;

// A record: one 8-byte commit word, then at once the message (a FlatBuffer).
inline constexpr std::uint32_t kCommitWordBytes = 8;

// Commit word: bit 63 valid, bit 62 wrap (the next record is at the start of the ring), bit 61 revoked (set later, by
// the host, on a request that it takes back or no longer waits for), bits 0..31 size of the message in bytes.
inline constexpr std::uint64_t kCommitValid = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kCommitWrap = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kCommitRevoked = std::uint64_t{1} << 61;
inline constexpr std::uint64_t kCommitSizeMask = 0xffff'ffff;

// A request or response with a payload of n bytes is a message of kEnvelopeBytes + n rounded up to 8.
inline constexpr std::uint32_t kEnvelopeBytes = 48;

// Lanes hold at least this many of the largest records, so that one record and its wrap always fit.
inline constexpr std::uint32_t kRecordsPerLaneMin = 4;
inline constexpr std::uint32_t kLaneBytesMin = 4096;
inline constexpr std::uint32_t kLaneBytesMax = 1u << 30;

// Releases: numbers of 8 bytes; a side has at most this many blocks of the other's.
inline constexpr std::uint32_t kReleaseEntries = 4096;
inline constexpr std::uint32_t kReleaseRingBytes = kReleaseEntries * 8;

constexpr std::uint32_t message_bytes(std::uint32_t payload_bytes) { return kEnvelopeBytes + ((payload_bytes + 7u) & ~7u); }

// How far a record moves its lane on. Follows from the size alone; what a peer says of it is never used.
constexpr std::uint32_t record_advance(std::uint32_t message_size) {
  return (kCommitWordBytes + message_size + kGranuleBytes - 1) & ~(kGranuleBytes - 1);
}

// Control page of the host segment. Writer: host.
struct HostPage {
  // Line 0: written rarely.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> doorbell;  // futex word the worker sleeps on; counts rings
  std::atomic<std::uint32_t> asleep;                             // 1: the host sleeps, ring its eventfd
  std::atomic<std::uint32_t> stop;                               // 1: finish the running call and end

  // Line 1: written once per duty cycle that took responses.
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> responses_consumed;  // bytes of the response lane, cumulative

  // Line 2: written when a reply that lay in the response arena is dropped.
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> blocks_released;  // entries of the release ring, cumulative

  alignas(kCacheLineBytes) std::byte reserved[kPageBytes - 3 * kCacheLineBytes];
};

// Control page of the worker segment. Writer: worker.
struct WorkerPage {
  // Line 0: written rarely.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> asleep;  // 1: the worker sleeps, ring its doorbell
  std::atomic<std::uint32_t> awaits_block;                     // 1: it sleeps until a block is released

  // Line 1: written for every call.
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> requests_consumed;  // bytes of the request lane, cumulative
  std::atomic<std::uint64_t> started;                                     // requests begun or skipped, in lane order
  std::atomic<std::uint64_t> running;  // the last one begun: its place in the lane << 16 | its method. Done once consumed is past it

  // Line 2: written when a view of a payload dies after its call, and when a running call has been told something.
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> blocks_released;  // entries of the release ring, cumulative
  std::atomic<std::uint64_t> notes_consumed;                            // bytes of the note lane, cumulative

  // Line 3, the pulse: written by the guard and the prober, each heartbeat_interval and on suspicion. CLOCK_MONOTONIC.
  alignas(kCacheLineBytes) std::atomic<std::int64_t> alive_ns;  // when the guard last ran
  std::atomic<std::int64_t> probe_began_ns;                     // when the prober last asked for the GIL
  std::atomic<std::int64_t> probe_ended_ns;                     // when it last had it; before probe_began_ns: it waits
  std::atomic<std::uint64_t> rss_anon_bytes;                    // private memory of the process, as of the last beat that found work done

  // Line 4, of an event loop: written at each of its turns. CLOCK_MONOTONIC.
  alignas(kCacheLineBytes) std::atomic<std::int64_t> turn_began_ns;  // of the one under way; -1: it waits; 0: there is no event loop
  std::atomic<std::uint64_t> turn_method;                            // whose code runs in it; 0: no method's

  alignas(kCacheLineBytes) std::byte reserved[kPageBytes - 5 * kCacheLineBytes];
};

static_assert(sizeof(HostPage) == kPageBytes && sizeof(WorkerPage) == kPageBytes);
static_assert(offsetof(HostPage, doorbell) == 0 && offsetof(HostPage, asleep) == 4 && offsetof(HostPage, stop) == 8);
static_assert(offsetof(HostPage, responses_consumed) == 64 && offsetof(HostPage, blocks_released) == 128);
static_assert(offsetof(WorkerPage, asleep) == 0 && offsetof(WorkerPage, requests_consumed) == 64);
static_assert(offsetof(WorkerPage, awaits_block) == 4);
static_assert(offsetof(WorkerPage, started) == 72 && offsetof(WorkerPage, running) == 80 && offsetof(WorkerPage, blocks_released) == 128);
static_assert(offsetof(WorkerPage, notes_consumed) == 136);
static_assert(offsetof(WorkerPage, alive_ns) == 192 && offsetof(WorkerPage, probe_began_ns) == 200);
static_assert(offsetof(WorkerPage, probe_ended_ns) == 208 && offsetof(WorkerPage, rss_anon_bytes) == 216);
static_assert(offsetof(WorkerPage, turn_began_ns) == 256 && offsetof(WorkerPage, turn_method) == 264);
static_assert(std::is_standard_layout_v<HostPage> && std::is_standard_layout_v<WorkerPage>);
static_assert(std::is_trivially_destructible_v<HostPage> && std::is_trivially_destructible_v<WorkerPage>);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(record_advance(message_bytes(0)) == 64, "an empty request is one cache line");
static_assert(record_advance(message_bytes(64)) == 128, "a request of 64 bytes is two cache lines");

constexpr std::uint64_t release_ring_at(std::uint32_t lane_bytes) { return std::uint64_t{kPageBytes} + lane_bytes; }
constexpr std::uint64_t note_lane_at(std::uint32_t lane_bytes) { return release_ring_at(lane_bytes) + kReleaseRingBytes; }
constexpr std::uint64_t host_segment_bytes(std::uint32_t lane_bytes) { return note_lane_at(lane_bytes) + lane_bytes; }
constexpr std::uint64_t worker_segment_bytes(std::uint32_t lane_bytes) { return release_ring_at(lane_bytes) + kReleaseRingBytes; }

// Of this layout and the schemas, not of the build: host and extension are built apart and compare it in the handshake.
constexpr std::uint64_t layout_hash() {
  constexpr std::uint64_t kFacts[] = {
      5,  // revision: raise it when meaning changes and no number below does
      wire::kSchemaHash,
      kPageBytes,
      kGranuleBytes,
      kCommitWordBytes,
      kCommitValid,
      kCommitWrap,
      kCommitRevoked,
      kCommitSizeMask,
      kEnvelopeBytes,
      kReleaseEntries,
      offsetof(HostPage, doorbell),
      offsetof(HostPage, asleep),
      offsetof(HostPage, stop),
      offsetof(HostPage, responses_consumed),
      offsetof(HostPage, blocks_released),
      offsetof(WorkerPage, asleep),
      offsetof(WorkerPage, awaits_block),
      offsetof(WorkerPage, requests_consumed),
      offsetof(WorkerPage, started),
      offsetof(WorkerPage, running),
      offsetof(WorkerPage, blocks_released),
      offsetof(WorkerPage, notes_consumed),
      offsetof(WorkerPage, alive_ns),
      offsetof(WorkerPage, probe_began_ns),
      offsetof(WorkerPage, probe_ended_ns),
      offsetof(WorkerPage, rss_anon_bytes),
      offsetof(WorkerPage, turn_began_ns),
      offsetof(WorkerPage, turn_method),
  };
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325;  // FNV-1a, 64 bits
  for (std::uint64_t fact : kFacts) {
    for (int byte = 0; byte < 8; ++byte) {
      hash = (hash ^ ((fact >> (8 * byte)) & 0xff)) * 0x0000'0100'0000'01b3;
    }
  }
  return hash;
}

}  // namespace samovar::ipc
