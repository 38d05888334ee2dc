// Heads with AVX2 and F16C: 32 or 16 values at a time, then fewer, then one.
#include "heads.h"

#if PAGEDKV_X86_64

#include <immintrin.h>

#include <algorithm>
#include <bit>

#include "elements.h"
#include "scale.h"

#define PAGEDKV_AVX2 __attribute__((target("avx2,f16c"))) inline

namespace pagedkv::arena {
namespace {

constexpr std::size_t kWide = 32;
constexpr std::size_t kNarrow = 8;
constexpr std::size_t kLine = 64;
// How far ahead of what is read lines are fetched.
constexpr std::size_t kFetchBytes = 2048;

PAGEDKV_AVX2 std::uint32_t MaxLane(__m256i lanes) {
  __m128i max = _mm_max_epu32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  max = _mm_max_epu32(max, _mm_shuffle_epi32(max, 0b01'00'11'10));
  max = _mm_max_epu32(max, _mm_shuffle_epi32(max, 0b10'11'00'01));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(max));
}

bool IsAligned(const void* at) {
  return reinterpret_cast<std::uintptr_t>(at) % sizeof(__m256i) == 0;
}

PAGEDKV_AVX2 void Put(__m256i* at, __m256i bits, bool streams) {
  streams ? _mm256_stream_si256(at, bits) : _mm256_storeu_si256(at, bits);
}

PAGEDKV_AVX2 __m256i Bits(const std::byte* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

PAGEDKV_AVX2 float MaxOfFloats(const std::byte* plain, std::size_t head_dim) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(kMagnitude));
  __m256i a = _mm256_setzero_si256();
  __m256i b = a;
  std::size_t i = 0;
  for (; i + 2 * kNarrow <= head_dim; i += 2 * kNarrow) {
    a = _mm256_max_epu32(a, _mm256_and_si256(Bits(plain + i * 4), mask));
    b = _mm256_max_epu32(b, _mm256_and_si256(Bits(plain + i * 4 + 32), mask));
  }
  std::uint32_t max = MaxLane(_mm256_max_epu32(a, b));
  for (; i < head_dim; ++i) max = std::max(max, Load<std::uint32_t>(plain + i * 4) & kMagnitude);
  return std::bit_cast<float>(max);
}

PAGEDKV_AVX2 float MaxOfHalves(const std::byte* plain, std::size_t head_dim) {
  const __m256i mask = _mm256_set1_epi16(static_cast<short>(kHalfMagnitude));
  __m256i lanes = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 2 * kNarrow <= head_dim; i += 2 * kNarrow) {
    lanes = _mm256_max_epu16(lanes, _mm256_and_si256(Bits(plain + i * 2), mask));
  }
  const __m256i low = _mm256_and_si256(lanes, _mm256_set1_epi32(0xFFFF));
  std::uint32_t max = MaxLane(_mm256_max_epu32(low, _mm256_srli_epi32(lanes, 16)));
  for (; i < head_dim; ++i) {
    max = std::max<std::uint32_t>(max, Load<std::uint16_t>(plain + i * 2) & kHalfMagnitude);
  }
  return FromHalf(static_cast<std::uint16_t>(max));
}

template <ElementType kType>
PAGEDKV_AVX2 __m256 EightFrom(const std::byte* plain, std::size_t index) {
  if constexpr (kType == ElementType::kFloat) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(plain + index * 4));
  } else {
    const auto* halves = reinterpret_cast<const __m128i*>(plain + index * 2);
    return _mm256_cvtph_ps(_mm_loadu_si128(halves));
  }
}

template <ElementType kType>
PAGEDKV_AVX2 __m256i Rounded(const std::byte* plain, std::size_t index, __m256 inverse) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(EightFrom<kType>(plain, index), inverse));
}

template <ElementType kType>
PAGEDKV_AVX2 void QuantizeHead(const std::byte* plain, std::size_t head_dim, float inverse,
                               std::int8_t* values, bool streams) {
  streams = streams && IsAligned(values);
  const __m256 factor = _mm256_set1_ps(inverse);
  // Packing works within halves of a register.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  std::size_t i = 0;
  for (; i + kWide <= head_dim; i += kWide) {
    const __m256i low =
        _mm256_packs_epi32(Rounded<kType>(plain, i, factor), Rounded<kType>(plain, i + 8, factor));
    const __m256i high = _mm256_packs_epi32(Rounded<kType>(plain, i + 16, factor),
                                            Rounded<kType>(plain, i + 24, factor));
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    Put(reinterpret_cast<__m256i*>(values + i), bytes, streams);
  }
  for (; i + kNarrow <= head_dim; i += kNarrow) {
    const __m256i words = Rounded<kType>(plain, i, factor);
    const __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(values + i), _mm_packs_epi16(halves, halves));
  }
  for (; i < head_dim; ++i) values[i] = RoundToInt8(ReadElement<kType>(plain, i) * inverse);
}

PAGEDKV_AVX2 __m256 EightTimes(const std::int8_t* values, __m256 factor) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), factor);
}

PAGEDKV_AVX2 __m128i ToHalves(__m256 values) {
  return _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT);
}

template <ElementType kType>
PAGEDKV_AVX2 void DequantizeHead(const std::int8_t* values, std::size_t head_dim, float step,
                                 std::byte* plain, bool streams) {
  const __m256 factor = _mm256_set1_ps(step);
  streams = streams && IsAligned(plain);
  std::size_t i = 0;
  for (; i + 2 * kNarrow <= head_dim; i += 2 * kNarrow) {
    const __m256 a = EightTimes(values + i, factor);
    const __m256 b = EightTimes(values + i + kNarrow, factor);
    auto* at = reinterpret_cast<__m256i*>(plain + i * BytesOf(kType));
    if constexpr (kType == ElementType::kFloat) {
      Put(at, _mm256_castps_si256(a), streams);
      Put(at + 1, _mm256_castps_si256(b), streams);
    } else {
      Put(at, _mm256_set_m128i(ToHalves(b), ToHalves(a)), streams);
    }
  }
  for (; i < head_dim; ++i) WriteElement<kType>(plain, i, static_cast<float>(values[i]) * step);
}

// Fetches what is read a while after the bytes from `at` on, of `bytes` in all from `from` on.
PAGEDKV_AVX2 void Fetch(const std::byte* from, std::size_t at, std::size_t count, std::size_t bytes,
                        const std::byte* ahead) {
  const std::size_t distance = std::min(kFetchBytes, bytes);
  for (std::size_t then = at + distance; then < at + count + distance; then += kLine) {
    if (then < bytes) {
      _mm_prefetch(from + then, _MM_HINT_T0);
    } else if (ahead != nullptr) {
      _mm_prefetch(ahead + (then - bytes), _MM_HINT_T0);
    }
  }
}

template <ElementType kType>
PAGEDKV_AVX2 void Quantize(const HeadShape& shape, const std::byte* plain, std::int8_t* values,
                           std::byte* scales, const Flow& flow) {
  const std::size_t head_dim = shape.head_dim;
  const std::size_t head_bytes = head_dim * BytesOf(kType);
  const std::size_t bytes = shape.plain_bytes();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    Fetch(plain, head * head_bytes, head_bytes, bytes, flow.ahead);
    const std::byte* elements = plain + head * head_bytes;
    const float max = kType == ElementType::kFloat ? MaxOfFloats(elements, head_dim)
                                                   : MaxOfHalves(elements, head_dim);
    const auto [step, inverse] = ScaleOf(max);
    if (inverse == 0) {
      std::fill_n(values, head_dim, std::int8_t{0});
    } else {
      QuantizeHead<kType>(elements, head_dim, inverse, values, flow.streams);
    }
    Store(scales + head * sizeof step, step);
    values += head_dim;
  }
}

template <ElementType kType>
PAGEDKV_AVX2 void Dequantize(const HeadShape& shape, const std::int8_t* values,
                             const std::byte* scales, std::byte* plain, const Flow& flow) {
  const std::size_t head_dim = shape.head_dim;
  const auto* begin = reinterpret_cast<const std::byte*>(values);
  const std::size_t bytes = shape.quantized_bytes();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    Fetch(begin, head * head_dim, head_dim, bytes, flow.ahead);
    DequantizeHead<kType>(values, head_dim, Load<float>(scales + head * sizeof(float)), plain,
                          flow.streams);
    values += head_dim;
    plain += head_dim * BytesOf(kType);
  }
}

}  // namespace

HeadLoops Avx2HeadLoops(ElementType type) {
  if (type == ElementType::kFloat) {
    return {&Quantize<ElementType::kFloat>, &Dequantize<ElementType::kFloat>};
  }
  return {&Quantize<ElementType::kHalf>, &Dequantize<ElementType::kHalf>};
}

}  // namespace pagedkv::arena

#endif
