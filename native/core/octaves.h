// Times and sizes on a logarithmic scale: eighths of an octave, so that a ratio is a difference.
#pragma once

#include <bit>
#include <cstdint>

namespace pagedkv {

inline constexpr std::uint32_t kPerOctave = 8;

// 0 for 0 and 1; else eight times the binary logarithm, rounded down to what three bits tell.
constexpr std::uint8_t Octaves(std::uint64_t value) {
  if (value < 2) return 0;
  const auto whole = static_cast<std::uint32_t>(std::bit_width(value) - 1);
  const std::uint64_t mantissa = whole >= 3 ? value >> (whole - 3) : value << (3 - whole);
  return static_cast<std::uint8_t>(whole * kPerOctave + (mantissa & 7));
}

}  // namespace pagedkv
