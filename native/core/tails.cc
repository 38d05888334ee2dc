// Tails, which forks share until one of them appends, and the rows of the block tables.
#include <algorithm>
#include <cstring>

#include "manager_state.h"

namespace pagedkv {

void Manager::State::MarkDirty(SequenceId id, std::uint32_t begin, std::uint32_t end) {
  if (begin >= end) return;
  Sequence& sequence = sequences[id];
  if (sequence.dirty_begin == kNone) {
    sequence.dirty_begin = begin;
    sequence.dirty_end = end;
    return;
  }
  sequence.dirty_begin = std::min(sequence.dirty_begin, begin);
  sequence.dirty_end = std::max(sequence.dirty_end, end);
}

void Manager::State::SetCell(SequenceId id, std::uint32_t cell, const BlockId* set) {
  for (std::uint32_t group = 0; group < groups; ++group)
    Row(id, group)[cell] = set[group] == kNone ? kNone : set[group] & ~kFromClaim;
  MarkDirty(id, cell, cell + 1);
}

// Writes the held blocks, and the tail, as they stand: those on their way to the device at their
// target.
void Manager::State::FillRow(SequenceId id) {
  const Sequence& sequence = sequences[id];
  for (RunId run = sequence.run; index.run(run).parent != kNone; run = index.run(run).parent) {
    const Run& at = index.run(run);
    for (std::uint32_t group = 0; group < groups; ++group) {
      std::uint32_t* row = Row(id, group) + at.depth;
      const BlockId* blocks = index.blocks(run, group);
      if ((at.flags & kRunHost) == 0) {
        // A whole run is the usual case, and a copy of fixed length.
        if (at.length == kRunBlocks) {
          std::memcpy(row, blocks, kRunBlocks * sizeof(BlockId));
        } else {
          std::copy_n(blocks, at.length, row);
        }
      } else if ((at.flags & kRunOnboarding) != 0) {
        for (std::uint32_t i = 0; i < at.length; ++i) row[i] = pools[group].copy(blocks[i]);
      }
    }
  }
  MarkDirty(id, 0, sequence.blocks);
  if (sequence.tail == kNone) return;
  BlockId set[kMaxGroups];
  for (std::uint32_t group = 0; group < groups; ++group) {
    set[group] = TailSet(sequence.tail)[group];
    if ((tails[sequence.tail].flags & kRunOnboarding) != 0)
      set[group] = pools[group].copy(set[group]);
  }
  SetCell(id, sequence.blocks, set);
}

// The last held block, read from the index: an open step may have put a copy into the row.
void Manager::State::SetHeldCell(SequenceId id, std::uint32_t cell) {
  const RunId run = sequences[id].run;
  BlockId set[kMaxGroups];
  for (std::uint32_t group = 0; group < groups; ++group) {
    set[group] = index.block(run, cell - index.run(run).depth, group);
  }
  SetCell(id, cell, set);
}

// A sequence has at most one tail, and so has a transfer.
void Manager::State::ReserveTails(std::size_t count) {
  if (count <= tails.size()) return;
  tail_sets.resize(count * groups);
  tails.reserve(count);
  while (tails.size() < count) {
    tails.emplace_back();
    FreeTail(static_cast<TailId>(tails.size() - 1));
  }
}

TailId Manager::State::NewTail(const BlockId* set, std::uint32_t used, std::uint32_t active) {
  const TailId id = free_tail;
  assert(id != kNone);
  free_tail = tails[id].next_free;
  tails[id] = Tail{};
  tails[id].holders = 1;
  tails[id].active = active;
  tails[id].used = used;
  for (std::uint32_t group = 0; group < groups; ++group)
    TailSet(id)[group] = set[group] & ~kFromClaim;
  return id;
}

void Manager::State::ReleaseTail(TailId id, bool active) {
  Tail& tail = tails[id];
  tail.holders--;
  if (active) tail.active--;
  if (tail.run != kNone && active && (tail.active == 0 || tail.holders == 0)) {
    // The tail itself holds the index, as actively as its holders do.
    if (tail.holders > 0) index.Acquire(tail.run, HoldKind::kParked);
    ReleaseHold(tail.run, HoldKind::kActive);
  } else if (tail.run != kNone && tail.holders == 0) {
    ReleaseHold(tail.run, HoldKind::kParked);
  }
  if (tail.holders > 0) return;
  if (tail.run == kNone) GiveSetLater(TailSet(id));
  FreeTail(id);
}

void Manager::State::FreeTail(TailId id) {
  tails[id].next_free = free_tail;
  free_tail = id;
}

void Manager::State::LeaveTail(SequenceId id) {
  Sequence& sequence = sequences[id];
  if (sequence.tail == kNone) return;
  const TailId tail = sequence.tail;
  sequence.tail = kNone;
  ReleaseTail(tail, sequence.state == SequenceState::kActive);
}

void Manager::State::ResolveTail(SequenceId id) {
  Sequence& sequence = sequences[id];
  if (sequence.tail == kNone || tails[sequence.tail].run == kNone) return;
  const RunId from = sequence.run;
  sequence.run = tails[sequence.tail].run;
  sequence.blocks++;
  index.Acquire(sequence.run, KindOf(sequence));
  ReleaseHold(from, KindOf(sequence));
  LeaveTail(id);
}

}  // namespace pagedkv
