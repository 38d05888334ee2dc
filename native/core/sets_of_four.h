// Numbers that only grow, by 32-bit fingerprint, in sets of four: the oldest of a set gives way, so
// that a few are lost early. Every operation takes O(1), and the memory is bounded at construction.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace pagedkv {

template <typename Number>
class SetsOfFour {
 public:
  struct Entry {
    std::uint32_t fingerprint = 0;
    Number number = 0;  // 0: nothing is there
  };
  using Set = std::array<Entry, 4>;

  static std::uint64_t Bytes(std::uint32_t sets) {
    return std::uint64_t{std::bit_ceil(sets)} * sizeof(Set);
  }
  // At least so many sets.
  explicit SetsOfFour(std::uint32_t sets) : sets_(std::bit_ceil(sets)) {}

  Set& SetOf(std::uint32_t fingerprint) { return sets_[fingerprint & (sets_.size() - 1)]; }
  const Set& SetOf(std::uint32_t fingerprint) const {
    return sets_[fingerprint & (sets_.size() - 1)];
  }
  // The place of a new one.
  Entry& OldestFor(std::uint32_t fingerprint) {
    Set& set = SetOf(fingerprint);
    return *std::min_element(set.begin(), set.end(),
                             [](const Entry& a, const Entry& b) { return a.number < b.number; });
  }

 private:
  std::vector<Set> sets_;
};

}  // namespace pagedkv
