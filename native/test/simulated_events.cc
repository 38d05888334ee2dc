// Following events beside the operations: what they tell must be what prompts find.

#include <algorithm>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

const Key* KeyAt(const KeyList& keys, std::size_t position) {
  for (const Key& key : keys) {
    if (position >= key.from && position < key.to) return &key;
  }
  return nullptr;
}

std::vector<KeyRange> Ranges(const KeyList& keys) {
  std::vector<KeyRange> ranges;
  for (const Key& key : keys) ranges.push_back({key.from, key.to, key.bytes});
  return ranges;
}

const EventMirror& SimulatedDevice::Events() {
  mirror_.Follow(*manager_);
  return mirror_;
}

// Now and then, and seldom to the last.
void SimulatedDevice::FollowEvents() {
  if (!follows_events_) return;
  switch (++coin_ % 16) {
    case 3:
      return mirror_.Follow(*manager_);
    case 7:
    case 11:
      return mirror_.Follow(*manager_, false);
    case 13:
      mirror_.Follow(*manager_);
      mirror_.Compare(*manager_);
      return;
    default:
      return;
  }
}

// What is found was told; and what was told is found, but for what open steps were promised.
void SimulatedDevice::CheckKnown(const TokenList& tokens, std::string_view name_space,
                                 const KeyList& keys, std::size_t found) {
  std::vector<ToldBlock> path;
  const std::uint32_t size = config_.block_size;
  for (std::size_t end = size; end <= tokens.size(); end += size) {
    ToldBlock block;
    block.tokens = Head(Tail(tokens, end - size), size);
    for (std::uint32_t i = 0; i < size; ++i) {
      const Key* key = KeyAt(keys, end - size + i);
      if (key == nullptr) continue;
      const bool goes_on =
          !block.keys.empty() && block.keys.back().to == i && block.keys.back().key == key->bytes;
      if (!goes_on) block.keys.push_back({i, i, key->bytes});
      block.keys.back().to = i + 1;
    }
    path.push_back(std::move(block));
  }
  const std::size_t known = Events().Known(name_space, path);
  CHECK(known >= found / size);
  // A group that has given back what lies behind may serve less of it.
  if (OpenSteps().empty() && !config_.has_local_groups())
    CHECK(found >= std::min(known * size, tokens.size() - 1));
}

}  // namespace pagedkv::test
