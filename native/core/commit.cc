// How plans end: executed, committed, or undone.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "manager_state.h"

namespace pagedkv {

// --- Execution ---

Status Manager::State::BeginExecute(StepHandle handle) {
  std::uint32_t slot;
  if (const Status status = Check(handle, slot); status != Status::kOk) return status;
  if (steps[slot].state != StepState::kPlanned) return Status::kStepExecuted;
  for (const std::uint32_t older : open_steps) {
    if (older == slot) break;
    if (steps[older].state == StepState::kPlanned) return Status::kStepOutOfOrder;
    const bool builds_on = (steps[slot].depends_on >> older & 1u) != 0;
    if (builds_on && steps[older].state == StepState::kFailed) return Status::kStepFailed;
  }
  Begin(slot);
  return Status::kOk;
}

Status Manager::State::EndExecute(StepHandle handle, bool ok) {
  std::uint32_t slot;
  if (const Status status = Check(handle, slot); status != Status::kOk) return status;
  if (steps[slot].state != StepState::kExecuting) return Status::kStepExecuted;
  End(slot, ok);
  return Status::kOk;
}

// From here on the device may overwrite what the step claimed.
void Manager::State::Begin(std::uint32_t slot) {
  steps[slot].state = StepState::kExecuting;
  for (std::uint64_t number = claim_back; number > claim_front; --number) {
    if (ClaimAt(number - 1).step != slot) continue;
    FinalizeClaims(number, slot);
    break;
  }
}

void Manager::State::End(std::uint32_t slot, bool ok) {
  Step& step = steps[slot];
  if (ok) {
    FinishOnboards(slot);
  } else {
    CancelOnboards(slot);
    stats.failed_transfers += step.offloads + step.onboard_hosts.size() / groups;
  }
  FinishArrivals(slot, ok);
  FinishMirrors(slot, ok);
  step.state = ok ? StepState::kExecuted : StepState::kFailed;
}

// What was brought in lives on the device now; its host copy is given back.
void Manager::State::FinishOnboards(std::uint32_t slot) {
  Step& step = steps[slot];
  for (std::size_t i = 0; i < step.onboards.size(); ++i) {
    const Onboard& onboard = step.onboards[i];
    BlockId* set = &step.sets[std::size_t{onboard.set} * groups];
    const BlockId* host = &step.onboard_hosts[i * groups];
    bool redundant = false;
    if (onboard.tail != kNone) {
      for (std::uint32_t group = 0; group < groups; ++group) {
        TailSet(onboard.tail)[group] = set[group] & ~kFromClaim;
      }
      tails[onboard.tail].flags &= static_cast<std::uint8_t>(~kRunOnboarding);
      GiveSet(host);
    } else if (pools[0].state(set[0] & ~kFromClaim) != BlockState::kIndexed) {
      const bool waits = pools[0].state(host[0]) == BlockState::kIndexed &&
                         (index.run(pools[0].run(host[0])).flags & kRunOnboarding) != 0 &&
                         pools[0].copy(host[0]) == (set[0] & ~kFromClaim);
      redundant = !waits;
      if (waits) SettleOnboarded(pools[0].run(host[0]));
    }
    if (redundant) {
      for (std::uint32_t group = 0; group < groups; ++group) {
        step.redundant.push_back({group, set[group] & ~kFromClaim});
      }
      for (const std::uint32_t open : open_steps) steps[open].has_redundant = true;
    } else {
      stats.onboarded_blocks++;
      if (onboard.swapped) stats.swapped_in_blocks++;
    }
    std::fill_n(set, groups, kNone);
  }
  step.onboards.clear();
  step.onboard_hosts.clear();
}

void Manager::State::SettleOnboarded(RunId run) {
  for (std::uint32_t entry = 0; entry < index.run(run).length; ++entry) {
    for (std::uint32_t group = 0; group < groups; ++group) {
      const BlockId host = index.block(run, entry, group);
      const BlockId device = pools[group].copy(host);
      pools[group].set_copy(host, kNone);
      index.SetBlock(run, entry, group, device);
      GiveOrMirror(group, device, host);
    }
  }
  index.run(run).flags &= static_cast<std::uint8_t>(~kRunOnboarding);
  index.SetHost(run, false);
}

void Manager::State::CancelOnboards(std::uint32_t slot) {
  Step& step = steps[slot];
  for (std::size_t i = 0; i < step.onboards.size(); ++i) {
    const BlockId* host = &step.onboard_hosts[i * groups];
    if (step.onboards[i].tail != kNone) {
      tails[step.onboards[i].tail].flags &= static_cast<std::uint8_t>(~kRunOnboarding);
    } else if (pools[0].state(host[0]) == BlockState::kIndexed &&
               pools[0].copy(host[0]) ==
                   (step.sets[std::size_t{step.onboards[i].set} * groups] & ~kFromClaim)) {
      index.run(pools[0].run(host[0])).flags &= static_cast<std::uint8_t>(~kRunOnboarding);
    } else {
      continue;
    }
    for (std::uint32_t group = 0; group < groups; ++group)
      pools[group].set_copy(host[group], kNone);
  }
  step.onboards.clear();
  step.onboard_hosts.clear();
}

void Manager::State::FinishArrivals(std::uint32_t slot, bool ok) {
  Step& step = steps[slot];
  for (std::size_t i = 0; i < step.arrivals.size(); i += groups) {
    const BlockId* host = &step.arrivals[i];
    if (pools[0].state(host[0]) == BlockState::kIndexed) {
      const RunId run = pools[0].run(host[0]);
      if ((index.run(run).flags & kRunArriving) == 0) continue;
      index.run(run).flags &= static_cast<std::uint8_t>(~kRunArriving);
      if (ok || step.offload_sources[i] == kNone) {  // a mirror was there before
        index.SetHidden(run, 0);
        index.Enlist(run, Entrance::kMoved);
        index.TryMerge(run);
        continue;
      }
      index.run(run).flags |= kRunArriving;
      const RunId parent = index.run(run).parent;
      DropSubtree(run);
      LostChild(parent);
    }
    if (pools[0].state(host[0]) == BlockState::kForgotten) GiveSet(host);
  }
  step.arrivals.clear();
  step.offload_sources.clear();
}

// --- Commit ---

Status Manager::State::Commit(StepHandle handle, Tokens ids) {
  std::uint32_t slot;
  if (const Status status = Check(handle, slot); status != Status::kOk) return status;
  Step& step = steps[slot];
  if (open_steps.front() != slot) return Status::kStepOutOfOrder;
  if (step.state == StepState::kFailed) return Status::kStepFailed;
  if (step.state == StepState::kExecuting) return Status::kStepExecuting;
  if (ids.size() != step.missing_ids) return Status::kIdsMissing;
  if (step.state == StepState::kPlanned) {
    // Whoever executes a plan without telling has done so by now.
    Begin(slot);
    End(slot, true);
  }

  open_steps.erase(open_steps.begin());
  reserved_runs -= step.reserved_runs;
  const Token* given = ids.data();
  const auto count = static_cast<std::uint32_t>(step.entries.size());
  for (std::uint32_t number = 0; number < count; ++number) {
    number += CommitInOwnTails(slot, number, given);
    if (number == count) break;
    const StepEntry& entry = step.entries[number];
    const bool is_known = (entry.flags & kEntryKnown) != 0;
    CommitEntry(slot, entry, is_known ? &step.ids[entry.token_offset] : given);
    if (!is_known) given += entry.end - entry.begin;
  }
  stats.committed_tokens += step.queries;
  stats.rejected_tokens += step.rejected;
  stats.steps++;
  CloseStep(slot, false);
  return Status::kOk;
}

// Lets go of the shared block that the step copied.
void Manager::State::LeaveShared(SequenceId id, const StepEntry& entry) {
  Sequence& sequence = sequences[id];
  const std::uint32_t bs = config.block_size;
  if ((entry.flags & kEntryLeftTail) != 0) {
    Tail& tail = tails[sequence.tail];
    if (--tail.leavers == 0) tail.leaver_steps = 0;
    LeaveTail(id);
  } else {
    const std::uint32_t base = (sequence.blocks - 1) * bs;
    const Token* held = index.TokensOf(sequence.run, index.run(sequence.run).length - 1u);
    std::copy_n(held, sequence.length - base, TailTokens(id));
    MoveHold(id, sequence.blocks - 1);
    sequence.diverged = false;
  }
  if (sequence.length % bs != 0) stats.copies_on_write++;
}

// What was planned beside the tokens comes true.
void Manager::State::CommitChange(std::uint32_t slot, const StepEntry& entry) {
  EntryChange& change = steps[slot].ChangeOf(entry);
  ForgetLifted(change);
  if ((entry.flags & kEntryCopied) != 0) LeaveShared(entry.sequence, entry);
  if (change.old_run != kNone) {
    ReleaseHold(change.old_run, HoldKind::kActive);
    RetainFound(entry.sequence, change.old_blocks);
  }
  if ((entry.flags & kEntryOnboarded) != 0) sequences[entry.sequence].resident = true;
  stats.hit_tokens += entry.skipped;
  stats.recomputed_tokens += RecomputedOf(entry);
}

void Manager::State::CommitEntry(std::uint32_t slot, const StepEntry& entry, const Token* ids) {
  const SequenceId id = entry.sequence;
  Sequence& sequence = sequences[id];
  Step& step = steps[slot];
  const std::uint32_t bs = config.block_size;
  sequence.steps &= ~(1u << slot);
  const BlockId* next = nullptr;
  if (entry.change != kNone) {
    CommitChange(slot, entry);
    next = step.sets.data() + std::size_t{step.ChangeOf(entry).first_set} * groups;
    if (entry.begin == entry.end) next = KeepCopy(entry, next);
  }

  std::uint32_t position = entry.begin;
  if (position < sequence.blocks * bs) {
    const std::uint32_t inside = std::min(entry.end, sequence.blocks * bs) - position;
    position += inside;
    ids += inside;
  }
  BlockId set[kMaxGroups];
  while (position < entry.end) {
    const std::uint32_t used = position % bs;
    const std::uint32_t count = std::min(bs - used, entry.end - position);
    if (sequence.tail != kNone) {
      std::copy_n(TailSet(sequence.tail), groups, set);
    } else {
      for (std::uint32_t group = 0; group < groups; ++group) set[group] = *next++ & ~kFromClaim;
    }
    position += count;
    sequence.length = position;
    if (count == bs) {
      PublishBlock(id, set, ids);
    } else {
      std::memcpy(TailTokens(id) + used, ids, count * sizeof(Token));
      if (used + count == bs) {
        PublishBlock(id, set, TailTokens(id));
      } else if (sequence.tail == kNone) {
        sequence.tail = NewTail(set, used + count, 1);
      } else {
        tails[sequence.tail].used = std::max(tails[sequence.tail].used, used + count);
      }
    }
    ids += count;
  }
  if ((entry.flags & kEntryAccepted) != 0 && next != nullptr) GiveRejected(slot, entry, next);
  sequence.length = entry.end;
  sequence.computed = true;
  if (sequence.length == 0 && sequence.steps == 0) BeginAnew(id);  // cleared meanwhile
  if (step.has_redundant) RefreshHeldCells(id);
  if (has_local_groups && entry.begin / bs != entry.end / bs) StripBehind(id);
  shared[layout.sequence_length + id] = sequence.length;
}

// The sequence holds `run`, a child of what it held, instead.
void Manager::State::HoldChild(SequenceId id, RunId run) {
  Sequence& sequence = sequences[id];
  const RunId from = sequence.run;
  index.Acquire(run, HoldKind::kActive);
  index.run(run).stamp = kUsedSince;  // a commit goes back to no place: it may join the run above
  sequence.run = run;
  sequence.blocks++;
  ReleaseHold(from, HoldKind::kActive);
}

// The filled tail is an indexed block now. Whoever else holds it does so through the index.
void Manager::State::AdoptTail(SequenceId id) {
  Sequence& sequence = sequences[id];
  if (sequence.tail == kNone) return;
  const TailId tail_id = sequence.tail;
  Tail& tail = tails[tail_id];
  sequence.tail = kNone;
  tail.holders--;
  tail.active--;
  if (tail.holders > 0) {
    tail.run = sequence.run;
    index.Acquire(tail.run, tail.active > 0 ? HoldKind::kActive : HoldKind::kParked);
    return;
  }
  FreeTail(tail_id);
}

// The run below `parent` that begins with this block. What was cleared shares nothing, so it finds
// none.
RunId Manager::State::FindPublished(RunId parent, Content block) const {
  const bool alone = index.run(parent).child == kNone || index.IsDetached(parent);
  return alone ? kNone : index.FindChild(parent, block);
}

// Makes a filled block known to the index: as the end of the sequence's run, as a run of its own,
// or, where the same block is known already, by switching to that one.
void Manager::State::PublishBlock(SequenceId id, const BlockId* set, const Token* tokens) {
  Sequence& sequence = sequences[id];
  const RunId parent = sequence.run;
  const Content block{tokens, NextExtra(sequence)};
  // What was lifted to be written has lost its mirror by now.
  assert(pools[0].copy(set[0]) == kNone);
  RunId child = FindPublished(parent, block);
  if (child == kNone) {
    const TokenSlot slot = index.NewSlot(block);
    if (index.CanAppend(parent) && IsRetainedAlike(id, parent)) {
      index.Append(parent, slot, set);
      sequence.blocks++;
    } else {
      const RunId added = index.AddChild(parent, slot, set);
      RetainBlock(id, added, sequence.blocks);
      HoldChild(id, added);
    }
    QueueMirror(set[0]);
    AdoptTail(id);
    return;
  }
  const bool hidden = index.Visible(child) == 0;
  if (hidden && (index.run(child).flags & kRunArriving) == 0) DethroneFirstEntry(child);
  child = index.EndAfter(child, 1);
  RetainBlock(id, child, sequence.blocks);
  if (!hidden && !index.IsHost(child)) {
    // Computed twice at once: the first one stays.
    BlockId own[kMaxGroups];
    std::copy_n(set, groups, own);
    const bool yields = has_local_groups && sequence.tail != kNone;
    if (yields) {
      YieldTail(id, child);
    } else if (has_local_groups) {
      FillMissing(child, own);
    }
    BlockId known[kMaxGroups];
    for (std::uint32_t group = 0; group < groups; ++group)
      known[group] = index.block(child, 0, group);
    SetCell(id, sequence.blocks, known);
    HoldChild(id, child);
    stats.duplicates++;
    if (yields) {
      AdoptTail(id);
    } else if (sequence.tail != kNone) {
      LeaveTail(id);
    } else {
      GiveSetLater(own);
    }
    return;
  }
  if (hidden) {
    UnhideFirst(child);
  } else {
    // Known on the host only: the host copy gives way to what was just computed.
    if (index.run(child).list != kNoList) index.Unlist(child);
    const bool is_read = (index.run(child).flags & kRunOnboarding) != 0;
    for (std::uint32_t group = 0; group < groups; ++group) {
      const BlockId host = index.block(child, 0, group);
      pools[group].set_copy(host, kNone);
      if (is_read) {
        GiveLater(group, host);
      } else {
        GiveOrMirror(group, set[group], host);
      }
    }
    index.run(child).flags &= static_cast<std::uint8_t>(~kRunOnboarding);
  }
  for (std::uint32_t group = 0; group < groups; ++group)
    index.SetBlock(child, 0, group, set[group]);
  QueueMirror(set[0]);
  if (index.IsHost(child)) index.SetHost(child, false);
  HoldChild(id, child);
  AdoptTail(id);
}

// A run of one entry that was promised to an open step, or is arriving on the host, gets a block of
// its own again: its old blocks stay with those who claimed them.
void Manager::State::UnhideFirst(RunId run) {
  const bool arriving = (index.run(run).flags & kRunArriving) != 0;
  for (std::uint32_t group = 0; group < groups; ++group) {
    const BlockId block = index.block(run, 0, group);
    pools[group].Unpair(block);
    pools[group].set_state(block, arriving ? BlockState::kForgotten : BlockState::kPrivate);
  }
  index.run(run).flags &= static_cast<std::uint8_t>(~kRunArriving);
  index.SetHidden(run, 0);
}

void Manager::State::RefreshHeldCells(SequenceId id) {
  const Sequence& sequence = sequences[id];
  const std::uint32_t end = sequence.blocks - (sequence.diverged ? 1 : 0);
  BlockId set[kMaxGroups];
  for (RunId run = sequence.run; index.run(run).parent != kNone; run = index.run(run).parent) {
    if (index.IsHost(run)) continue;
    for (std::uint32_t i = 0; i < index.run(run).length; ++i) {
      const std::uint32_t cell = index.run(run).depth + i;
      if (cell >= end) break;
      for (std::uint32_t group = 0; group < groups; ++group)
        set[group] = index.block(run, i, group);
      if (Row(id, 0)[cell] != set[0]) SetCell(id, cell, set);
    }
  }
}

// The last step whose rows may have named them has put these right: now as any block of a row that
// changed.
void Manager::State::PassOnRedundant(Step& step) {
  if (step.redundant.empty()) return;
  const auto marked = std::find_if(open_steps.begin(), open_steps.end(),
                                   [&](std::uint32_t slot) { return steps[slot].has_redundant; });
  for (const Deferred& block : step.redundant) {
    if (marked == open_steps.end()) {
      GiveLater(block.group, block.block);
    } else {
      steps[*marked].redundant.push_back(block);
    }
  }
  step.redundant.clear();
}

void Manager::State::CloseStep(std::uint32_t slot, bool is_undone) {
  Step& step = steps[slot];
  PassOnRedundant(step);
  for (const Deferred& deferred : step.deferred) pools[deferred.group].Give(deferred.block);
  step.deferred.clear();
  step.state = StepState::kFree;
  step.generation++;
  StepWords(slot)[kStepGeneration] = step.generation;
  if (closing_sequences == 0) return;
  for (const StepEntry& entry : step.entries) {
    const Sequence& sequence = sequences[entry.sequence];
    if (sequence.steps != 0 || !sequence.closing) continue;
    closing_sequences--;
    if (is_undone && sequence.prefetches) {
      UndoOpen(entry.sequence);
    } else {
      FinishClose(entry.sequence);
    }
  }
}

}  // namespace pagedkv
