#include "copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if PAGEDKV_X86_64
#include <immintrin.h>
#endif

namespace pagedkv::arena {
namespace {

void CopyPlain(std::byte* to, const std::byte* from, std::size_t bytes, const std::byte*) {
  std::memcpy(to, from, bytes);
}

#if PAGEDKV_X86_64

constexpr std::size_t kLine = 64;
// In a piece that is longer, how far ahead of the copy its own lines are fetched.
constexpr std::size_t kWithinBytes = 2048;

// What is copied by whole lines, and the bytes before and after it.
struct Cut {
  std::size_t head;
  std::size_t lines_end;
};

Cut CutAtLines(const std::byte* to, std::size_t bytes) {
  const std::size_t head =
      std::min(bytes, (kLine - reinterpret_cast<std::uintptr_t>(to) % kLine) % kLine);
  return {head, head + (bytes - head) / kLine * kLine};
}

// Fetches the line that is read `distance` bytes after the one at `at`.
inline void FetchAhead(const std::byte* from, const std::byte* ahead, std::size_t at,
                       std::size_t distance, std::size_t bytes) {
  const std::size_t then = at + distance;
  _mm_prefetch(then < bytes ? from + then : ahead + (then - bytes), _MM_HINT_NTA);
}

void StreamSse2(std::byte* to, const std::byte* from, std::size_t bytes, const std::byte* ahead) {
  const auto [head, end] = CutAtLines(to, bytes);
  const std::size_t distance = std::min(kWithinBytes, bytes);
  std::memcpy(to, from, head);
  for (std::size_t at = head; at < end; at += kLine) {
    FetchAhead(from, ahead, at, distance, bytes);
    const auto* source = reinterpret_cast<const __m128i*>(from + at);
    auto* target = reinterpret_cast<__m128i*>(to + at);
    const __m128i a = _mm_loadu_si128(source);
    const __m128i b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2);
    const __m128i d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, a);
    _mm_stream_si128(target + 1, b);
    _mm_stream_si128(target + 2, c);
    _mm_stream_si128(target + 3, d);
  }
  std::memcpy(to + end, from + end, bytes - end);
}

__attribute__((target("avx2"))) void StreamAvx2(std::byte* to, const std::byte* from,
                                                std::size_t bytes, const std::byte* ahead) {
  const auto [head, end] = CutAtLines(to, bytes);
  const std::size_t distance = std::min(kWithinBytes, bytes);
  std::memcpy(to, from, head);
  for (std::size_t at = head; at < end; at += kLine) {
    FetchAhead(from, ahead, at, distance, bytes);
    const auto* source = reinterpret_cast<const __m256i*>(from + at);
    auto* target = reinterpret_cast<__m256i*>(to + at);
    const __m256i a = _mm256_loadu_si256(source);
    const __m256i b = _mm256_loadu_si256(source + 1);
    _mm256_stream_si256(target, a);
    _mm256_stream_si256(target + 1, b);
  }
  std::memcpy(to + end, from + end, bytes - end);
}

#endif

}  // namespace

Copier PlainCopier() {
  return &CopyPlain;
}

Copier StreamingCopier([[maybe_unused]] Cpu cpu) {
#if PAGEDKV_X86_64
  return cpu == Cpu::kAvx2 ? &StreamAvx2 : &StreamSse2;
#else
  return PlainCopier();
#endif
}

void EndStreaming() {
#if PAGEDKV_X86_64
  _mm_sfence();
#endif
}

}  // namespace pagedkv::arena
