// Zeroed memory that costs nothing until it is touched: a large pool starts as fast as a small one.
// It begins at a cache line, so that a record of 64 bytes is one; where it is large, it lies in
// huge pages if the system has them, as it is read at random.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace pagedkv {

struct FreeMemory {
  void* allocation = nullptr;  // it begins before the array
  void operator()(void*) const { std::free(allocation); }
};

// An array of a trivial type. Throws std::bad_alloc.
template <typename T>
using ZeroedArray = std::unique_ptr<T[], FreeMemory>;

inline constexpr std::size_t kCacheLineBytes = 64;
inline constexpr std::size_t kHugePageBytes = std::size_t{1} << 21;

template <typename T>
ZeroedArray<T> Zeroed(std::size_t count) {
  const std::size_t bytes = std::max<std::size_t>(count, 1) * sizeof(T);
  const bool is_large = bytes >= 2 * kHugePageBytes;
  const std::size_t alignment = is_large ? kHugePageBytes : kCacheLineBytes;
  void* const allocation = std::calloc(bytes + alignment, 1);
  if (allocation == nullptr) throw std::bad_alloc();
  const auto begin =
      (reinterpret_cast<std::uintptr_t>(allocation) + alignment - 1) & ~(alignment - 1);
  void* const memory = reinterpret_cast<void*>(begin);
#ifdef __linux__
  if (is_large) static_cast<void>(madvise(memory, bytes, MADV_HUGEPAGE));
#endif
  return ZeroedArray<T>(static_cast<T*>(memory), FreeMemory{allocation});
}

}  // namespace pagedkv
