// Heads in plain C++: what every machine has, and what the others are held against.
#include "heads.h"

#include <algorithm>
#include <bit>

#include "elements.h"
#include "scale.h"

namespace pagedkv::arena {
namespace {

// The largest magnitude among the values of a head.
template <ElementType kType>
float MaxOf(const std::byte* plain, std::size_t head_dim) {
  if constexpr (kType == ElementType::kFloat) {
    std::uint32_t max = 0;
    for (std::size_t i = 0; i < head_dim; ++i) {
      max = std::max(max, Load<std::uint32_t>(plain + i * sizeof max) & kMagnitude);
    }
    return std::bit_cast<float>(max);
  } else {
    std::uint32_t max = 0;
    for (std::size_t i = 0; i < head_dim; ++i) {
      const std::uint32_t half = Load<std::uint16_t>(plain + i * sizeof(std::uint16_t));
      max = std::max(max, half & kHalfMagnitude);
    }
    return FromHalf(static_cast<std::uint16_t>(max));
  }
}

template <ElementType kType>
void Quantize(const HeadShape& shape, const std::byte* plain, std::int8_t* values,
              std::byte* scales, const Flow&) {
  const std::size_t head_dim = shape.head_dim;
  for (std::size_t head = 0; head < shape.heads; ++head) {
    const auto [step, inverse] = ScaleOf(MaxOf<kType>(plain, head_dim));
    for (std::size_t i = 0; i < head_dim; ++i) {
      values[i] = inverse == 0 ? 0 : RoundToInt8(ReadElement<kType>(plain, i) * inverse);
    }
    Store(scales + head * sizeof step, step);
    values += head_dim;
    plain += head_dim * BytesOf(kType);
  }
}

template <ElementType kType>
void Dequantize(const HeadShape& shape, const std::int8_t* values, const std::byte* scales,
                std::byte* plain, const Flow&) {
  const std::size_t head_dim = shape.head_dim;
  for (std::size_t head = 0; head < shape.heads; ++head) {
    const auto step = Load<float>(scales + head * sizeof(float));
    for (std::size_t i = 0; i < head_dim; ++i) {
      WriteElement<kType>(plain, i, static_cast<float>(values[i]) * step);
    }
    values += head_dim;
    plain += head_dim * BytesOf(kType);
  }
}

}  // namespace

HeadLoops PlainHeadLoops(ElementType type) {
  if (type == ElementType::kFloat) {
    return {&Quantize<ElementType::kFloat>, &Dequantize<ElementType::kFloat>};
  }
  return {&Quantize<ElementType::kHalf>, &Dequantize<ElementType::kHalf>};
}

}  // namespace pagedkv::arena
