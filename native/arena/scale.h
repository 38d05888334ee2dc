// What quantizing one head comes to, for every instruction set.
#pragma once

#include <bit>
#include <cfloat>
#include <cstdint>

namespace pagedkv::arena {

// Bits of a float without its sign. As integers they have the order of magnitudes, and NaN is part
// of it; the same holds for halves.
inline constexpr std::uint32_t kMagnitude = 0x7FFFFFFFu;
inline constexpr std::uint32_t kHalfMagnitude = 0x7FFFu;

struct Scale {
  float step = 0;     // what is stored
  float inverse = 0;  // what values are multiplied by; 0: each of them becomes 0
};

inline Scale ScaleOf(float max) {
  constexpr float kSteps = 127;
  if (std::bit_cast<std::uint32_t>(max) >= 0x7F800000u) return {.step = max, .inverse = 0};
  const float inverse = kSteps / max;
  if (!(inverse <= FLT_MAX)) return {};  // of zero, and of what is nearly zero
  return {.step = max / kSteps, .inverse = inverse};
}

}  // namespace pagedkv::arena
