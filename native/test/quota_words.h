// What tests of quotas say often.
#pragma once

#include <cstdint>
#include <string_view>

#include "simulated_device.h"

namespace pagedkv::test {

inline Quota DeviceMax(std::uint32_t blocks) {
  return {.device = {.max = blocks}, .host = {}};
}

inline Quota DeviceMin(std::uint32_t blocks) {
  return {.device = {.min = blocks}, .host = {}};
}

inline Quota Host(TierQuota host) {
  return {.device = {}, .host = host};
}

// Blocks of a text found in any tier.
inline std::uint32_t Found(SimulatedDevice& device, std::uint32_t text, std::string_view name) {
  const auto hit = device.Lookup(Text(text, 1024), name);
  return (hit.device_tokens + hit.host_tokens) / 16;
}

}  // namespace pagedkv::test
