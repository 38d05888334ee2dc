// Values of a plane, one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "half.h"
#include "quantize.h"

namespace pagedkv::arena {

// Reads and writes that need no alignment.
template <typename T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
void Store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

template <ElementType kType>
float ReadElement(const std::byte* elements, std::size_t index) {
  if constexpr (kType == ElementType::kFloat) {
    return Load<float>(elements + index * sizeof(float));
  } else {
    return FromHalf(Load<std::uint16_t>(elements + index * sizeof(std::uint16_t)));
  }
}

template <ElementType kType>
void WriteElement(std::byte* elements, std::size_t index, float value) {
  if constexpr (kType == ElementType::kFloat) {
    Store(elements + index * sizeof(float), value);
  } else {
    Store(elements + index * sizeof(std::uint16_t), ToHalf(value));
  }
}

// To the nearest whole number, ties to even. Requires a magnitude below 2^22.
inline std::int8_t RoundToInt8(float value) {
  constexpr float kOnesBecomeTheLastBit = 0x1.8p23f;
  return static_cast<std::int8_t>((value + kOnesBecomeTheLastBit) - kOnesBecomeTheLastBit);
}

}  // namespace pagedkv::arena
