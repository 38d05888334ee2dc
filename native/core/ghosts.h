// What was evicted lately: fingerprints of prefixes, in order, each for so many blocks. The oldest
// give way. Every operation takes O(1), and the memory is bounded at construction.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sets_of_four.h"

namespace pagedkv {

class Ghosts {
 public:
  explicit Ghosts(std::uint32_t most)
      : most_(std::max<std::uint32_t>(most, 4)), sets_(Sets(most)) {}

  static std::uint64_t Bytes(std::uint32_t most) { return Table::Bytes(Sets(most)); }

  std::uint32_t size() const { return size_; }

  void Add(std::uint32_t fingerprint) {
    Ghost& place = sets_.OldestFor(fingerprint);
    if (!Lives(place)) size_++;
    place = {fingerprint, ++newest_};
    if (size_ > most_) size_--;  // one of the oldest, wherever it is, lives no more
  }

  // Whether it was there; it is not any more.
  bool Take(std::uint32_t fingerprint) {
    for (Ghost& each : sets_.SetOf(fingerprint)) {
      if (each.fingerprint != fingerprint || !Lives(each)) continue;
      each.number = 0;
      size_--;
      return true;
    }
    return false;
  }

 private:
  using Table = SetsOfFour<std::uint64_t>;
  using Ghost = Table::Entry;

  static std::uint32_t Sets(std::uint32_t most) { return std::max<std::uint32_t>(most / 2, 4); }
  bool Lives(const Ghost& ghost) const {
    return ghost.number != 0 && ghost.number + most_ > newest_;
  }

  const std::uint32_t most_;
  Table sets_;
  std::uint64_t newest_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace pagedkv
