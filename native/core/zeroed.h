// Zeroed memory that costs nothing until it is touched: a large pool starts as fast as a small one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace pagedkv {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

// An array of a trivial type. Throws std::bad_alloc.
template <typename T>
using ZeroedArray = std::unique_ptr<T[], FreeMemory>;

template <typename T>
ZeroedArray<T> Zeroed(std::size_t count) {
  void* memory = std::calloc(std::max<std::size_t>(count, 1), sizeof(T));
  if (memory == nullptr) throw std::bad_alloc();
  return ZeroedArray<T>(static_cast<T*>(memory));
}

}  // namespace pagedkv
