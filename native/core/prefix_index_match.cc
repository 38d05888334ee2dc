// What a prompt finds: the way down the tree, and the fingerprints of prefixes that policies ask
// for.
#include <algorithm>
#include <cstring>

#include "prefix_index.h"

namespace pagedkv {

RunId PrefixIndex::FindChild(RunId parent, Content block) const {
  RunId node = runs_[parent].child;
  while (node != kNone) {
    const int order = slots_.Compare(block, SlotOf(node, 0));
    if (order == 0) return node;
    node = order < 0 ? runs_[node].left : runs_[node].right;
  }
  return kNone;
}

void PrefixIndex::Prefetch(RunId id) const {
  __builtin_prefetch(&runs_[id]);
  for (std::uint32_t lane = 0; lane < lane_count_; ++lane) __builtin_prefetch(Lane(id, lane));
}

// A run is likely to be compared next, and its child then.
void PrefixIndex::PrefetchPath(RunId id) const {
  const TokenSlot* slots = Lane(id, 0);
  for (std::uint32_t entry = 0; entry < kRunBlocks; ++entry) {
    __builtin_prefetch(slots_.TokensOf(slots[entry]));
  }
  if (runs_[id].child != kNone) Prefetch(runs_[id].child);
}

// The child whose first block is `query`, of which the first `limit` offsets are known. Where there
// is none, its neighbours share the longest part with it: notes the longer one.
RunId PrefixIndex::FindBelow(RunId parent, Content query, std::uint32_t limit, Match& match) const {
  RunId node = runs_[parent].child;
  if (node != kNone) __builtin_prefetch(TokensOf(node, 0));
  RunId neighbours[2] = {kNone, kNone};
  std::uint32_t shared[2] = {0, 0};
  while (node != kNone) {
    const TokenSlots::Order order = slots_.OrderOf(query, limit, SlotOf(node, 0));
    if (order.common == block_size_) return node;
    const int side = order.is_after ? 0 : 1;
    neighbours[side] = node;
    shared[side] = order.common;
    node = order.is_after ? runs_[node].right : runs_[node].left;
  }
  for (const int side : {0, 1}) {
    if (shared[side] <= match.part || Visible(neighbours[side]) == 0) continue;
    match.part = shared[side];
    match.part_run = neighbours[side];
    match.part_index = 0;
  }
  return kNone;
}

PrefixIndex::Match PrefixIndex::Find(RunId from, Tokens head, Tokens tail,
                                     ExtraCursor extras) const {
  Match match;
  match.run = from;
  match.count = runs_[from].length;
  // The first block of the search may straddle the two spans: it is compared from a buffer.
  Token first[kMaxBlockSize];
  std::size_t position = 0;
  const std::size_t total = head.size() + tail.size();
  assert(head.size() <= block_size_);
  if (!head.empty()) {
    std::copy(head.begin(), head.end(), first);
    const std::size_t rest = std::min(std::size_t{block_size_} - head.size(), tail.size());
    std::copy_n(tail.begin(), rest, first + head.size());
  }
  const Token* query = head.empty() ? tail.data() : first;
  std::uint32_t block = blocks_above_end(from);
  const std::uint32_t end = block + static_cast<std::uint32_t>(total / block_size_);
  const auto left = [&] {
    return static_cast<std::uint32_t>(std::min<std::size_t>(block_size_, total - position));
  };

  while (position < total) {
    const Content content{query, extras.At(block)};
    // Most often there is one child, which goes on as the prompt does.
    RunId exact = runs_[match.run].child;
    const bool is_usual = exact != kNone && block < end && slots_.Same(content, SlotOf(exact, 0));
    if (!is_usual) exact = FindBelow(match.run, content, left(), match);
    if (exact == kNone || Visible(exact) == 0) break;

    const Run& run = runs_[exact];
    const std::uint32_t visible = Visible(exact);
    if (run.child != kNone) PrefetchPath(run.child);
    match.run = exact;
    match.part = 0;
    match.part_run = kNone;
    const TokenSlot* slots = Lane(exact, 0);
    query = tail.data() + (position + block_size_ - head.size());
    const std::uint32_t same = 1 + slots_.CountSame(query, extras, block + 1, slots + 1,
                                                    std::min(visible, end - block) - 1);
    match.count = same;
    block += same;
    position += std::size_t{same} * block_size_;
    query = tail.data() + (position - head.size());
    if (same < visible && position < total) {
      match.part = slots_.OrderOf({query, extras.At(block)}, left(), slots[same]).common;
      if (match.part > 0) {
        match.part_run = exact;
        match.part_index = same;
      }
    }
    if (same < run.length) break;
  }
  match.tokens = static_cast<std::uint32_t>(position);
  return match;
}

// --- Fingerprints ---

// Eight bytes a step, two at a time: a block of 16 tokens takes some 10 ns.
std::uint32_t PrefixIndex::Fingerprint(std::uint32_t prefix, Content block) const {
  std::uint64_t a = secret_ ^ prefix;
  if (block.extra != kNoExtra) a ^= std::uint64_t{keys_.FingerprintOf(block.extra)} << 32;
  const Token* tokens = block.tokens;
  std::uint64_t b = 0x9E3779B97F4A7C15ull;
  std::uint32_t i = 0;
  for (; i + 4 <= block_size_; i += 4) {
    std::uint64_t words[2];
    std::memcpy(words, tokens + i, sizeof(words));
    a = (a ^ words[0]) * 0xBF58476D1CE4E5B9ull;
    b = (b ^ words[1]) * 0x94D049BB133111EBull;
    a ^= a >> 32;
    b ^= b >> 32;
  }
  for (; i < block_size_; ++i) a = (a ^ tokens[i]) * 0xBF58476D1CE4E5B9ull;
  const std::uint64_t mixed = (a ^ b ^ b << 23) * 0x9E3779B97F4A7C15ull;
  return static_cast<std::uint32_t>(mixed >> 32) & fingerprint_mask_;
}

std::uint32_t PrefixIndex::FingerprintAfter(RunId run, std::uint32_t count) const {
  std::uint32_t prefix = uses_[run].fingerprint;
  for (std::uint32_t entry = 0; entry < count; ++entry) {
    prefix = Fingerprint(prefix, slots_.ContentOf(SlotOf(run, entry)));
  }
  return prefix;
}

}  // namespace pagedkv
