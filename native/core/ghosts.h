// What was evicted lately: fingerprints of prefixes, in order, each for so many blocks. The oldest
// give way. Every operation takes O(1), amortised, and the memory is bounded at construction.
//
// Sets of four, by fingerprint: the oldest of a set gives way too, so that a few are lost early.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace pagedkv {

class Ghosts {
 public:
  explicit Ghosts(std::uint32_t most)
      : most_(std::max<std::uint32_t>(most, 4)),
        sets_(std::bit_ceil(std::max<std::uint32_t>(most_ / 2, 4))) {}

  std::uint32_t size() const { return size_; }

  void Add(std::uint32_t fingerprint) {
    std::array<Ghost, 4>& set = SetOf(fingerprint);
    Ghost* place = &set[0];
    for (Ghost& each : set) {
      if (each.number < place->number) place = &each;
    }
    if (!Lives(*place)) size_++;
    *place = {fingerprint, ++newest_};
    if (size_ > most_) size_--;  // one of the oldest, wherever it is, lives no more
  }

  // Whether it was there; it is not any more.
  bool Take(std::uint32_t fingerprint) {
    for (Ghost& each : SetOf(fingerprint)) {
      if (each.fingerprint != fingerprint || !Lives(each)) continue;
      each.number = 0;
      size_--;
      return true;
    }
    return false;
  }

 private:
  struct Ghost {
    std::uint32_t fingerprint = 0;
    std::uint64_t number = 0;
  };

  bool Lives(const Ghost& ghost) const {
    return ghost.number != 0 && ghost.number + most_ > newest_;
  }
  std::array<Ghost, 4>& SetOf(std::uint32_t fingerprint) {
    return sets_[fingerprint & (sets_.size() - 1)];
  }

  const std::uint32_t most_;
  std::vector<std::array<Ghost, 4>> sets_;
  std::uint64_t newest_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace pagedkv
