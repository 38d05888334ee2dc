// Small configurations in which everything meets soon.
#pragma once

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "../core/types.h"
#include "random.h"

namespace pagedkv::test {

// Mostly so short that something lies behind soon.
inline void MakeLocal(Random& random, GroupConfig& group) {
  (random.OneIn(3) ? group.chunk : group.window) = random.Between(1, 20);
  if (random.OneIn(3)) group.sinks = random.Between(1, 10);
  if (random.OneIn(2)) group.rollback = random.Between(1, 12);
}

inline Config RandomConfig(Random& random) {
  Config config;
  config.block_size = random.Between(1, 8);
  const bool has_host = !random.OneIn(3);
  const std::uint32_t most = random.OneIn(2) ? 6 : 16;
  for (std::uint32_t g = random.Between(1, 2); g > 0; --g) {
    config.groups.push_back({random.Between(2, most), has_host ? random.Between(1, most) : 0});
  }
  if (!has_host && config.groups.size() > 1 && random.OneIn(2)) MakeLocal(random, config.groups[1]);
  config.max_sequences = random.Between(2, 8);
  config.max_sequence_tokens = random.Between(config.block_size, config.block_size * 9);
  config.max_batch_sequences = random.Between(1, std::min(4u, config.max_sequences));
  config.max_batch_tokens = random.Between(config.block_size, 64);
  config.max_open_steps = random.Between(1, 3);
  config.max_step_transfers = random.OneIn(4) ? config.max_blocks_per_sequence() : 64;
  config.min_partial_tokens = random.OneIn(2) ? 1 : random.Between(1, config.block_size);
  config.always_writes = random.OneIn(4);
  config.events = random.OneIn(2);
  config.host_mode = static_cast<HostMode>(random.Below(2));
  config.host_write = static_cast<HostWrite>(random.Below(3));
  config.policy = static_cast<PolicyKind>(random.Below(3));
  if (random.OneIn(3)) config.onboard = static_cast<OnboardPolicy>(random.Below(3));
  config.low_water = random.Below(3);
  config.high_water = config.low_water + random.Below(3);
  if (random.OneIn(2)) config.fingerprint_mask = 0xF;
  config.nonce = random.Between(1, 1000);
  return config;
}

inline std::string Describe(const Config& config) {
  std::ostringstream out;
  out << "block_size " << config.block_size << ", groups";
  for (const GroupConfig& group : config.groups) {
    out << ' ' << group.device_blocks << '+' << group.host_blocks;
    if (!group.is_local()) continue;
    out << " (window " << group.window << ", chunk " << group.chunk << ", sinks " << group.sinks
        << ", rollback " << group.rollback << ')';
  }
  out << ", max: sequences " << config.max_sequences << ", sequence_tokens "
      << config.max_sequence_tokens << ", batch " << config.max_batch_sequences << " x "
      << config.max_batch_tokens << ", open_steps " << config.max_open_steps << ", step_transfers "
      << config.max_step_transfers << "; min_partial_tokens " << config.min_partial_tokens
      << ", fingerprints " << std::hex << config.fingerprint_mask << std::dec << ", policy "
      << static_cast<std::uint32_t>(config.policy) << ", host mode "
      << static_cast<std::uint32_t>(config.host_mode) << ", host write "
      << static_cast<std::uint32_t>(config.host_write) << ", onboard "
      << static_cast<std::uint32_t>(config.onboard)
      << (config.always_writes ? ", always_writes" : "") << (config.events ? ", events" : "");
  return out.str();
}

// Prompts over a small alphabet that start like something that was seen before, more often than
// not.
class RandomPrompts {
 public:
  RandomPrompts(Random& random, const Config& config)
      : random_(random),
        alphabet_(random.Between(1, 3)),
        block_size_(config.block_size),
        longest_(config.max_sequence_tokens) {}

  std::vector<Token> Tokens(std::uint32_t count) {
    std::vector<Token> tokens(count);
    for (Token& token : tokens) token = random_.Below(alphabet_);
    return tokens;
  }

  // Seldom one token longer than a sequence may be.
  std::vector<Token> Next() {
    std::vector<Token> prompt;
    if (!seen_.empty() && !random_.OneIn(4)) {
      prompt = random_.Pick(seen_);
      prompt.resize(random_.Below(prompt.size() + 1));
    }
    const std::vector<Token> more = Tokens(1 + random_.Below(block_size_ * 3));
    prompt.insert(prompt.end(), more.begin(), more.end());
    const std::size_t longest = longest_ + (random_.OneIn(20) ? 1 : 0);
    if (prompt.size() > longest) prompt.resize(longest);
    if (seen_.size() < 8) {
      seen_.push_back(prompt);
    } else {
      seen_[random_.Below(8)] = prompt;
    }
    return prompt;
  }

 private:
  Random& random_;
  std::uint32_t alphabet_;
  std::uint32_t block_size_;
  std::uint32_t longest_;
  std::vector<std::vector<Token>> seen_;
};

}  // namespace pagedkv::test
