// Cache groups whose attention reads only what is near: a sliding window, the query's chunk, the
// first tokens. What lies behind is given back at commit, and such an entry stays in the index
// without a block in the group. So a prompt finds no more than every group still serves: to go on
// from a position, all that the next query reads must be there.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

// Of the first `blocks` blocks up to the end of `run`, as many as serve going on: from `position`,
// or from the end of fewer. O(blocks).
std::uint32_t Manager::State::ServedBlocks(RunId run, std::uint32_t blocks,
                                           std::uint32_t position) const {
  const std::uint32_t bs = config.block_size;
  std::uint32_t needed_from[kMaxGroups];
  const auto ask = [&](std::uint32_t at) {
    for (std::uint32_t group = 0; group < groups; ++group)
      needed_from[group] = config.groups[group].NeededFrom(at) / bs;
  };
  ask(position);
  for (; index.run(run).parent != kNone; run = index.run(run).parent) {
    const std::uint32_t depth = index.run(run).depth;
    for (std::uint32_t cell = std::min(blocks, depth + index.run(run).length); cell-- > depth;) {
      for (std::uint32_t group = 0; group < groups; ++group) {
        const GroupConfig& kind = config.groups[group];
        const bool is_read = cell >= needed_from[group] || std::uint64_t{cell} * bs < kind.sinks;
        if (!is_read || index.block(run, cell - depth, group) != kNone) continue;
        blocks = cell;
        ask(cell * bs);
        break;
      }
    }
  }
  return blocks;
}

// The most of a sequence's first `length` tokens that it can go on from.
std::uint32_t Manager::State::ServedLength(const Sequence& sequence, std::uint32_t length) const {
  if (!has_local_groups) return length;
  const std::uint32_t bs = config.block_size;
  const std::uint32_t blocks = std::min(sequence.blocks, (length + bs - 1) / bs);
  const std::uint32_t served = ServedBlocks(sequence.run, blocks, length);
  return served == blocks ? length : served * bs;
}

// Leaves of a match what can be gone on from. The last of `total` tokens is computed in any case.
void Manager::State::CutToServed(PrefixIndex::Match& match, std::uint32_t before,
                                 std::uint32_t total) const {
  if (!has_local_groups) return;
  const std::uint32_t bs = config.block_size;
  const bool has_part = match.part >= config.min_partial_tokens;
  if (has_part) {
    const std::uint32_t end = index.run(match.part_run).depth + match.part_index + 1;
    if (ServedBlocks(match.part_run, end, UsableOf(match, before, total)) == end) return;
  }
  match.part = 0;
  const std::uint32_t end = index.run(match.run).depth + match.count;
  const std::uint32_t served = ServedBlocks(match.run, end, UsableOf(match, before, total));
  if (served == end) return;
  const std::uint32_t least = (before + bs - 1) / bs;
  match = CutAfter(match, std::max(served, least), before);
}

// A sequence has come so far that some of its blocks lie behind: those that only it holds are given
// back. What others hold too serves those who begin alike. O(blocks that are still read).
void Manager::State::StripBehind(SequenceId id) {
  const Sequence& sequence = sequences[id];
  const std::uint32_t bs = config.block_size;
  for (std::uint32_t group = 0; group < groups; ++group) {
    const GroupConfig& kind = config.groups[group];
    if (!kind.is_local()) continue;
    const std::uint32_t from = sequence.length - std::min(sequence.length, kind.rollback);
    const std::uint32_t end = kind.NeededFrom(from) / bs;
    const std::uint32_t begin = (kind.sinks + bs - 1) / bs;
    for (RunId run = sequence.run; index.run(run).parent != kNone; run = index.run(run).parent) {
      const Run& at = index.run(run);
      const std::uint32_t stop = std::min(end, at.depth + at.length);
      if (at.active + at.parked > 1 || stop <= begin) break;
      const std::uint32_t first = std::max(begin, at.depth);
      if (stop <= first) continue;
      if (index.block(run, stop - 1 - at.depth, group) == kNone) break;  // so is all before it
      for (std::uint32_t cell = stop; cell-- > first;) {
        const BlockId block = index.block(run, cell - at.depth, group);
        if (block == kNone) break;
        index.SetBlock(run, cell - at.depth, group, kNone);
        GiveLater(group, block);
      }
    }
  }
}

// An entry gets the blocks that it lacks from a set that was computed anew: these are its own then.
void Manager::State::FillMissing(RunId run, BlockId* set) {
  for (std::uint32_t group = 0; group < groups; ++group) {
    if (index.block(run, 0, group) != kNone) continue;
    index.SetBlock(run, 0, group, set[group]);
    set[group] = kNone;
  }
}

// A tail was filled that is known already, as the one entry of `run`. Who else holds the tail reads
// what is known from now on; what the entry lacks it takes from the tail.
void Manager::State::YieldTail(SequenceId id, RunId run) {
  const TailId tail = sequences[id].tail;
  FillMissing(run, TailSet(tail));
  GiveSetLater(TailSet(tail));
  for (std::uint32_t group = 0; group < groups; ++group)
    TailSet(tail)[group] = index.block(run, 0, group);
  for (SequenceId other = 0; other < sequences.size(); ++other) {
    if (other != id && sequences[other].tail == tail)
      SetCell(other, sequences[other].blocks, TailSet(tail));
  }
}

}  // namespace pagedkv
