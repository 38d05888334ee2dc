#include "quantize.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "half.h"

namespace pagedkv::arena {
namespace {

constexpr float kSteps = 127;

float ReadFloat(const std::byte* at) {
  float value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <ElementType kType>
float Read(const std::byte* elements, std::size_t index) {
  if constexpr (kType == ElementType::kFloat) {
    return ReadFloat(elements + index * 4);
  } else {
    std::uint16_t half = 0;
    std::memcpy(&half, elements + index * 2, sizeof half);
    return FromHalf(half);
  }
}

template <ElementType kType>
void Write(std::byte* elements, std::size_t index, float value) {
  if constexpr (kType == ElementType::kFloat) {
    std::memcpy(elements + index * 4, &value, sizeof value);
  } else {
    const std::uint16_t half = ToHalf(value);
    std::memcpy(elements + index * 2, &half, sizeof half);
  }
}

struct Scale {
  float step = 0;  // what is stored
  float inverse =
      0;  // what values are multiplied with; 0 where they cannot be told from zero, or NaN
};

// Of the bits of the largest magnitude: as integers they have an order that NaN is part of.
Scale ScaleOf(std::uint32_t max_bits) {
  const float max = std::bit_cast<float>(max_bits);
  const float inverse = kSteps / max;
  if (max_bits >= 0x7F800000u) return {.step = max, .inverse = 0};
  if (!(inverse <= FLT_MAX)) return {};
  return {.step = max / kSteps, .inverse = inverse};
}

template <ElementType kType>
void QuantizeHead(const std::byte* plain, std::size_t head_dim, std::int8_t* out, float* scale) {
  std::uint32_t max_bits = 0;
  for (std::size_t i = 0; i < head_dim; ++i) {
    max_bits =
        std::max(max_bits, std::bit_cast<std::uint32_t>(Read<kType>(plain, i)) & 0x7FFFFFFFu);
  }
  const Scale found = ScaleOf(max_bits);
  for (std::size_t i = 0; i < head_dim; ++i) {
    const float value = found.inverse == 0 ? 0 : Read<kType>(plain, i) * found.inverse;
    out[i] = static_cast<std::int8_t>(std::nearbyint(value));
  }
  std::memcpy(scale, &found.step, sizeof(float));
}

template <ElementType kType>
void QuantizeAll(const HeadShape& shape, const std::byte* plain, std::byte* quantized) {
  auto* values = reinterpret_cast<std::int8_t*>(quantized);
  std::byte* scales = quantized + shape.scales_offset();
  const std::size_t head_bytes = shape.head_dim * BytesOf(kType);
  for (std::size_t head = 0; head < shape.heads; ++head) {
    float scale = 0;
    QuantizeHead<kType>(plain + head * head_bytes, shape.head_dim, values + head * shape.head_dim,
                        &scale);
    std::memcpy(scales + head * sizeof scale, &scale, sizeof scale);
  }
}

template <ElementType kType>
void DequantizeAll(const HeadShape& shape, const std::byte* quantized, std::byte* plain) {
  const auto* values = reinterpret_cast<const std::int8_t*>(quantized);
  const std::byte* scales = quantized + shape.scales_offset();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    const float scale = ReadFloat(scales + head * sizeof(float));
    const std::size_t begin = head * shape.head_dim;
    for (std::size_t i = begin; i < begin + shape.head_dim; ++i) {
      Write<kType>(plain, i, static_cast<float>(values[i]) * scale);
    }
  }
}

}  // namespace

void Quantize(const HeadShape& shape, const std::byte* plain, std::byte* quantized, Cpu) {
  const std::size_t values = shape.heads * shape.head_dim;
  std::memset(quantized + values, 0, shape.scales_offset() - values);
  if (shape.type == ElementType::kFloat) {
    QuantizeAll<ElementType::kFloat>(shape, plain, quantized);
  } else {
    QuantizeAll<ElementType::kHalf>(shape, plain, quantized);
  }
}

void Dequantize(const HeadShape& shape, const std::byte* quantized, std::byte* plain, Cpu) {
  if (shape.type == ElementType::kFloat) {
    DequantizeAll<ElementType::kFloat>(shape, quantized, plain);
  } else {
    DequantizeAll<ElementType::kHalf>(shape, quantized, plain);
  }
}

}  // namespace pagedkv::arena
