// int8 for what waits in the host tier: one scale for each token and head, symmetric, so that
// -127 s .. 127 s covers the head's values.
//
// A quantized part of a record, all that one plane has of a block, is
//
//   int8  [tokens][heads][head_dim]   q = round(x / s), ties to even
//   zeros up to a multiple of 4 bytes
//   f32   [tokens][heads]             s = max |x| / 127
//
// and x comes back as q s with |x - q s| <= s / 2, but for the rounding of one f32 operation and of
// the plane's own type. The relative L2 error of a head is about max |x| / rms / 440: 0.65% for
// independent normal values at head_dim 128, and below 1% as long as max / rms is below 4.4.
//
// A head with a value that is not finite comes back as NaN throughout: what is spoilt shows. One
// whose values are all below 4e-37 comes back as zeros.
//
// Invariant: every instruction set gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu.h"

namespace pagedkv::arena {

enum class ElementType : std::uint32_t { kFloat = 1, kHalf = 2 };

constexpr std::size_t BytesOf(ElementType type) {
  return type == ElementType::kFloat ? 4 : 2;
}

// What one plane has of a block, before and after.
struct HeadShape {
  ElementType type = ElementType::kFloat;
  std::size_t head_dim = 0;
  std::size_t heads = 0;  // times tokens

  std::size_t plain_bytes() const { return heads * head_dim * BytesOf(type); }
  std::size_t scales_offset() const { return (heads * head_dim + 3) / 4 * 4; }
  std::size_t quantized_bytes() const { return scales_offset() + heads * sizeof(float); }
};

// What comes before and after, for speed alone.
struct Flow {
  // What will be read some kilobytes later, as long as what is read now: see Copier. Null: nobody
  // knows.
  const std::byte* ahead = nullptr;
  // Write past the cache; then EndStreaming().
  bool streams = false;
};

// `plain` holds plain_bytes(), `quantized` quantized_bytes(); neither need be aligned.
void Quantize(const HeadShape& shape, const std::byte* plain, std::byte* quantized, Cpu cpu,
              const Flow& flow = {});
void Dequantize(const HeadShape& shape, const std::byte* quantized, std::byte* plain, Cpu cpu,
                const Flow& flow = {});

}  // namespace pagedkv::arena
