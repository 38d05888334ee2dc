// What a prompt would find, and what would still fit. Nothing here changes anything: keys that are
// asked for are interned, and given back.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

// What of a prompt is in the index; a match of no run where there is no such namespace.
PrefixIndex::Match Manager::State::FindPrompt(std::string_view name, Tokens tokens,
                                              KeyRanges ranges) {
  const RunId root = FindRoot(name);
  if (root == kNone || !ExtraKeys::AreValid(ranges)) return {};
  const NewKeyList list(keys, ranges);  // for as long as this looks
  return index.Find(root, {}, tokens, keys.CursorOf(list.id()));
}

Manager::LookupResult Manager::State::Lookup(Tokens tokens, std::string_view name,
                                             KeyRanges ranges) {
  LookupResult result;
  if (!ExtraKeys::AreValid(ranges)) return {Status::kInvalidKeys, 0, 0, 0, 0};
  const RunId root = FindRoot(name);
  if (root == kNone || tokens.empty()) return result;
  const NewKeyList list(keys, ranges);  // for as long as this looks
  PrefixIndex::Match match = index.Find(root, {}, tokens, keys.CursorOf(list.id()));
  const auto total = static_cast<std::uint32_t>(tokens.size());
  CutToServed(match, 0, total);
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  const std::uint32_t found = std::min(match.tokens + part, total - 1);
  // Host runs stand below device runs, so the device part comes first.
  RunId run = part > 0 ? match.part_run : match.run;
  std::uint32_t device = found;
  while (index.run(run).parent != kNone && index.IsHost(run)) {
    device = std::min(device, index.run(run).depth * config.block_size);
    run = index.run(run).parent;
  }
  result.device_tokens = device;
  result.host_tokens = found - device;
  const HostPart part_on_host = HostPartOf(match, kNone, found);
  const bool is_worth = costs.IsWorth(part_on_host.hit);
  result.worth_tokens = result.host_tokens - (is_worth ? 0 : part_on_host.hit.tokens);
  if (match.count == index.run(match.run).length) {
    const std::uint32_t most = total - 1 - found;
    const std::uint32_t ahead = Computing(match.run, tokens.subspan(match.tokens), list.id());
    result.computing_tokens = std::min(most, ahead - std::min(ahead, found - match.tokens));
  }
  return result;
}

// How many of the positions from `from` on, `limit` at most, stand under the same keys in two
// lists. `from` begins a block.
std::uint32_t Manager::State::CommonKeys(KeyListId a, KeyListId b, std::uint32_t from,
                                         std::uint32_t limit) const {
  if (a == b) return limit;
  const std::uint32_t bs = config.block_size;
  ExtraCursor left = keys.CursorOf(a);
  ExtraCursor right = keys.CursorOf(b);
  std::uint32_t common = 0;
  while (common < limit) {
    const std::uint32_t block = (from + common) / bs;
    const std::uint32_t in_block = keys.Common(left.At(block), right.At(block));
    common += in_block;
    if (in_block < bs) break;
  }
  return std::min(common, limit);
}

// How many of `tokens`, which continue at the end of `run` under the keys of `list`, open steps are
// computing or hold unindexed.
std::uint32_t Manager::State::Computing(RunId run, Tokens tokens, KeyListId list) const {
  std::uint32_t best = 0;
  for (const std::uint32_t slot : open_steps) {
    for (const StepEntry& entry : steps[slot].entries) {
      const Sequence& sequence = sequences[entry.sequence];
      if (sequence.run != run || sequence.diverged || sequence.planned != entry.end) continue;
      const std::uint32_t base = sequence.blocks * config.block_size;
      std::uint32_t agreed = 0;
      const std::uint32_t limit =
          CommonKeys(list, sequence.keys, base, static_cast<std::uint32_t>(tokens.size()));
      const auto extend = [&](const Token* ids, std::uint32_t from, std::uint32_t end) {
        if (base + agreed != from) return;
        while (base + agreed < end && agreed < limit && ids[base + agreed - from] == tokens[agreed])
          agreed++;
      };
      if (sequence.tail != kNone) extend(TailTokens(entry.sequence), base, sequence.length);
      const std::uint32_t held = agreed;
      for (const std::uint32_t earlier : open_steps) {
        for (const StepEntry& other : steps[earlier].entries) {
          if (other.sequence != entry.sequence) continue;
          if ((other.flags & (kEntryKnown | kEntryGuessed)) != kEntryKnown) continue;
          extend(&steps[earlier].ids[other.token_offset], other.begin, other.end);
        }
      }
      if (agreed > held) best = std::max(best, agreed);
    }
  }
  return best;
}

// Whether taking so many blocks leaves as much of the device as a watermark asks for: the high one
// from when it was full until as much can be had again. Who finds it idle may take what there is.
bool Manager::State::LeavesWater(std::uint64_t blocks) {
  const std::uint64_t all = pools[0].device_total();
  const std::uint64_t room = pools[0].device_free() + index.lists().CachedBlocks(Tier::kDevice);
  if (room >= config.high_water) is_pressed = false;
  if (room == all) return blocks <= room;
  return blocks + (is_pressed ? config.high_water : config.low_water) <= room;
}

Manager::AdmissionResult Manager::State::Admission(Tokens tokens, std::string_view name,
                                                   KeyRanges ranges) {
  if (!ExtraKeys::AreValid(ranges)) return {Status::kInvalidKeys, 0, 0, false};
  PrefixIndex::Match match = FindPrompt(name, tokens, ranges);
  if (match.run != kNone) CutToServed(match, 0, static_cast<std::uint32_t>(tokens.size()));
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  // A hit that nobody holds is evictable now and will not be once it is held: count it once.
  std::uint32_t unheld = 0;
  std::uint32_t onboards = 0;
  RunId run = part > 0 ? match.part_run : match.run;
  std::uint32_t count = part > 0 ? match.part_index + 1 : match.count;
  while (run != kNone && index.run(run).parent != kNone) {
    if (index.IsHost(run)) {
      onboards += count;
    } else if (RunLists::IsQueue(index.run(run).list)) {
      unheld += count;
    }
    run = index.run(run).parent;
    count = index.run(run).length;
  }
  std::uint64_t now = kNone;
  std::uint64_t after = kNone;
  const PartitionId whom = quotas.Find(name);
  for (const BlockPool& pool : pools) {
    const std::uint64_t all = RoomFor(whom, Tier::kDevice, pool.device_free(), unheld);
    const std::uint64_t free = std::min(pool.device_free(), quotas.Headroom(Tier::kDevice, whom));
    now = std::min(now, free - std::min<std::uint64_t>(free, onboards));
    after = std::min(after, all - std::min<std::uint64_t>(all, onboards));
  }
  const auto in_tokens = [&](std::uint64_t blocks) {
    return blocks == 0 ? 0 : blocks * config.block_size - part;
  };
  const std::uint64_t more =
      tokens.size() - std::min(tokens.size(), std::size_t{match.tokens} + part);
  const std::uint64_t blocks = (more + part + config.block_size - 1) / config.block_size;
  const bool admits = blocks <= after && LeavesWater(blocks + onboards + unheld);
  return {Status::kOk, in_tokens(now), in_tokens(after), admits};
}

}  // namespace pagedkv
