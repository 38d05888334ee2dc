// Random extra keys, and what must be said of those that are refused.
#pragma once

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "random_config.h"
#include "simulated_device.h"

namespace pagedkv::test {

// Lists of keys over a small alphabet, more often than not one that was seen before.
class RandomKeys {
 public:
  RandomKeys(Random& random, const Config& config)
      : random_(random), block_size_(config.block_size) {}

  // One in 40 with a range too much.
  KeyList Next() {
    if (random_.OneIn(3)) return {};
    KeyList keys =
        seen_.size() >= 4 || (!seen_.empty() && random_.OneIn(2)) ? random_.Pick(seen_) : New();
    if (random_.OneIn(40)) keys.push_back(Bad(keys));
    return keys;
  }

 private:
  KeyList New() {
    KeyList keys;
    std::uint32_t at = 0;
    for (std::uint32_t left = random_.Between(1, 3); left > 0; --left) {
      const std::uint32_t from = at + random_.Below(block_size_ * 2);
      at = from + random_.Between(1, block_size_ * 2);
      const bool is_endless = left == 1 && random_.OneIn(2);
      keys.push_back({from, is_endless ? kNone : at, random_.OneIn(2) ? "x" : "yy"});
    }
    seen_.push_back(keys);
    return keys;
  }

  Key Bad(const KeyList& keys) {
    const std::uint32_t end = keys.back().to;
    switch (random_.Below(3)) {
      case 0:
        return {end - 1, kNone, "x"};
      case 1:
        return {kNone, kNone, "x"};
      default:
        return {end, end, "x"};
    }
  }

  Random& random_;
  std::uint32_t block_size_;
  std::vector<KeyList> seen_;
};

inline std::string ShowKeys(const KeyList& keys) {
  std::ostringstream out;
  for (const Key& key : keys) {
    out << ' ' << key.bytes << '@' << key.from << '-';
    if (key.to != kNone) out << key.to;
  }
  return out.str();
}

inline std::set<Status> AgainstKeys(const KeyList& keys) {
  std::uint32_t end = 0;
  for (const Key& key : keys) {
    if (key.from < end || key.from >= key.to) return {Status::kInvalidKeys};
    end = key.to;
  }
  return {};
}

}  // namespace pagedkv::test
