// What the stress tests share: how long they run, and calls whose replies can be checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include <samovar/samovar.h>

namespace samovar::test {

// SAMOVAR_SOAK=1: the long versions, which ctest knows under the label soak.
inline bool is_soak() {
  const char* soak = std::getenv("SAMOVAR_SOAK");
  return soak && *soak && *soak != '0';
}
template <typename T>
T for_soak(T otherwise, T soak) {
  return is_soak() ? soak : otherwise;
}

// How long a test goes on that is driven by chance: `otherwise`, or in a soak SAMOVAR_SOAK_MINUTES.
inline std::chrono::seconds random_test_length(std::chrono::seconds otherwise) {
  const char* minutes = std::getenv("SAMOVAR_SOAK_MINUTES");
  return for_soak(otherwise, std::chrono::seconds(minutes && *minutes ? static_cast<long>(60 * std::atof(minutes)) : 300));
}

// SAMOVAR_TEST_SEED repeats a run (as far as threads let it); each run says its seed.
inline std::uint64_t seed() {
  if (const char* text = std::getenv("SAMOVAR_TEST_SEED")) return std::strtoull(text, nullptr, 10);
  return std::random_device{}();
}

inline std::uint64_t announced_seed() {
  const std::uint64_t chosen = seed();
  std::printf("SAMOVAR_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
  std::fflush(stdout);  // the test may not live to do so
  return chosen;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kMeasures = false;  // an instrumented build is right or wrong, not fast or slow
#else
inline constexpr bool kMeasures = true;
#endif

inline std::uint32_t crc32(const std::byte* data, std::size_t size) {
  std::uint32_t crc = 0xffff'ffff;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= static_cast<std::uint32_t>(data[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb8'8320u : 0);
  }
  return ~crc;
}

// A payload that no other call has: its number, then random bytes; and the reply it must get from stress.py.
class CheckedPayload {
 public:
  CheckedPayload(std::uint64_t number, std::size_t bytes, std::minstd_rand& dice) : bytes_(bytes < 8 ? 8 : bytes) {
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(dice());
    std::memcpy(bytes_.data(), &number, sizeof number);
    std::memcpy(expected_, &number, sizeof number);
    const std::uint32_t crc = crc32(bytes_.data(), bytes_.size());
    std::memcpy(expected_ + sizeof number, &crc, sizeof crc);
  }

  Payload payload() const { return samovar::bytes(bytes_.data(), bytes_.size()); }
  bool is_answered_by(const Reply& reply) const {
    return reply.data().size() == sizeof expected_ && std::memcmp(reply.data().data(), expected_, sizeof expected_) == 0;
  }

 private:
  std::vector<std::byte> bytes_;
  std::byte expected_[12];
};

}  // namespace samovar::test
