// The inner loops of quantizing: all heads of a part, values and scales apart.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quantize.h"

namespace pagedkv::arena {

// `scales` need not be aligned.
using QuantizeHeads = void (*)(const HeadShape& shape, const std::byte* plain, std::int8_t* values,
                               std::byte* scales, const Flow& flow);
using DequantizeHeads = void (*)(const HeadShape& shape, const std::int8_t* values,
                                 const std::byte* scales, std::byte* plain, const Flow& flow);

struct HeadLoops {
  QuantizeHeads quantize;
  DequantizeHeads dequantize;
};

HeadLoops PlainHeadLoops(ElementType type);
#if PAGEDKV_X86_64
HeadLoops Avx2HeadLoops(ElementType type);
#endif

}  // namespace pagedkv::arena
