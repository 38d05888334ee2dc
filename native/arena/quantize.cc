#include "quantize.h"

#include <cstring>

#include "heads.h"

namespace pagedkv::arena {
namespace {

HeadLoops LoopsFor(ElementType type, [[maybe_unused]] Cpu cpu) {
#if PAGEDKV_X86_64
  if (cpu == Cpu::kAvx2) return Avx2HeadLoops(type);
#endif
  return PlainHeadLoops(type);
}

}  // namespace

void Quantize(const HeadShape& shape, const std::byte* plain, std::byte* quantized, Cpu cpu,
              const Flow& flow) {
  const std::size_t values = shape.heads * shape.head_dim;
  std::byte* scales = quantized + shape.scales_offset();
  std::memset(quantized + values, 0, shape.scales_offset() - values);
  LoopsFor(shape.type, cpu)
      .quantize(shape, plain, reinterpret_cast<std::int8_t*>(quantized), scales, flow);
}

void Dequantize(const HeadShape& shape, const std::byte* quantized, std::byte* plain, Cpu cpu,
                const Flow& flow) {
  const auto* values = reinterpret_cast<const std::int8_t*>(quantized);
  const std::byte* scales = quantized + shape.scales_offset();
  LoopsFor(shape.type, cpu).dequantize(shape, values, scales, plain, flow);
}

}  // namespace pagedkv::arena
