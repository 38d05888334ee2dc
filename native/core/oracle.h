// What the rooms of the oracle share.
#pragma once

#include <cstdint>

namespace pagedkv {

class Digest {
 public:
  void Add(std::uint64_t value) {
    hash_ ^= value + 0x9E3779B97F4A7C15ull + (hash_ << 6) + (hash_ >> 2);
    hash_ *= 0xBF58476D1CE4E5B9ull;
    hash_ ^= hash_ >> 29;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0x243F6A8885A308D3ull;
};

struct Broken {
  const char* what;
};

inline void Require(bool holds, const char* what) {
  if (!holds) throw Broken{what};
}

}  // namespace pagedkv
