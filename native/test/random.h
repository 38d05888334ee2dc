// A source of small random numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace pagedkv::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  // From 0 to limit - 1.
  std::uint32_t Below(std::size_t limit) {
    return static_cast<std::uint32_t>(engine_() % std::max<std::size_t>(limit, 1));
  }
  std::uint32_t Between(std::uint32_t least, std::uint32_t most) {
    return least + Below(most - least + 1);
  }
  bool OneIn(std::uint32_t chances) { return Below(chances) == 0; }
  template <typename T>
  const T& Pick(const std::vector<T>& items) {
    return items[Below(items.size())];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace pagedkv::test
