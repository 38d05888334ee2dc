// How plans are undone: as if they had never been, or, once executed, as well as can be.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

Status Manager::State::Abort(StepHandle handle) {
  std::uint32_t slot;
  if (const Status status = Check(handle, slot); status != Status::kOk) return status;
  std::uint32_t doomed = 1u << slot;
  const auto first = std::find(open_steps.begin(), open_steps.end(), slot);
  for (auto later = first + 1; later != open_steps.end(); ++later) {
    if ((steps[*later].depends_on & doomed) != 0) doomed |= 1u << *later;
  }
  for (const std::uint32_t step : open_steps) {
    const bool executing = steps[step].state == StepState::kExecuting;
    if (executing && (doomed >> step & 1u) != 0) return Status::kStepExecuting;
  }
  const std::vector<std::uint32_t> order(open_steps.rbegin(), open_steps.rend());
  for (const std::uint32_t step : order) {
    if ((doomed >> step & 1u) != 0) AbortStep(step);
  }
  return Status::kOk;
}

void Manager::State::AbortStep(std::uint32_t slot) {
  Step& step = steps[slot];
  const bool executed = step.state != StepState::kPlanned;
  reserved_runs -= step.reserved_runs;
  UndoStep(slot, executed);
  stats.aborts++;
  const auto place = std::find(open_steps.begin(), open_steps.end(), slot);
  // Its deferred blocks may be named by older steps that are open still.
  if (place != open_steps.begin()) {
    std::vector<Deferred>& older = steps[*(place - 1)].deferred;
    older.insert(older.end(), step.deferred.begin(), step.deferred.end());
    step.deferred.clear();
  }
  open_steps.erase(place);
  CloseStep(slot, !executed);
}

void Manager::State::UndoStep(std::uint32_t slot, bool executed) {
  Step& step = steps[slot];
  if (!executed) UndoMirrors(slot);
  for (std::size_t i = step.entries.size(); i-- > 0;) UndoEntry(slot, step.entries[i], executed);
  if (!executed) CancelOnboards(slot);
  for (std::size_t i = step.sets.size(); i-- > 0;) {
    const BlockId block = step.sets[i];
    if (block == kNone) continue;
    // What a claim gave goes back with the claim, while its entry is still there.
    if (executed || (block & kFromClaim) == 0) pools[i % groups].Give(block & ~kFromClaim);
  }
  if (!executed) AbandonClaims(slot);
}

void Manager::State::UndoEntry(std::uint32_t slot, const StepEntry& entry, bool executed) {
  Sequence& sequence = sequences[entry.sequence];
  sequence.steps &= ~(1u << slot);
  sequence.writable = entry.old_writable;
  // An older step that had left the block may have been committed since.
  sequence.diverged = sequence.diverged && entry.old_diverged;
  if (entry.change == kNone) {
    sequence.planned = entry.begin;
  } else {
    UndoChange(entry, steps[slot].ChangeOf(entry), executed);
  }
  TellSequence(entry.sequence);
}

void Manager::State::UndoChange(const StepEntry& entry, EntryChange& change, bool executed) {
  const SequenceId id = entry.sequence;
  Sequence& sequence = sequences[id];
  if ((entry.flags & kEntryLeftTail) != 0) {
    Tail& tail = tails[sequence.tail];
    if (--tail.leavers == 0) tail.leaver_steps = 0;
  }
  if (change.lifted != kNone && !executed) Reindex(change);
  ForgetLifted(change);
  sequence.planned = change.old_planned;
  sequence.recomputed_end = change.old_recomputed_end;
  if (change.old_run != kNone) {
    LeaveTail(id);
    const RunId from = sequence.run;
    sequence.run = change.old_run;
    sequence.blocks = change.old_blocks;
    sequence.length = change.old_length;
    sequence.cached = change.old_cached;
    if (executed || index.IsDetached(from)) {
      ReleaseHold(from, HoldKind::kActive);
    } else {
      index.UndoAcquire(from, HoldKind::kActive);
    }
  }
  if ((entry.flags & kEntryOnboarded) != 0) sequence.resident = change.old_resident;
  if ((entry.flags & kEntryActivated) != 0) Deactivate(id, executed);
  if (change.update_begin != kNone) MarkDirty(id, change.update_begin, change.update_end);
  const bool rewritten = (entry.flags & kEntryCopied) != 0 || change.old_run != kNone;
  if (rewritten && sequence.resident) FillRow(id);
  if (sequence.planned == 0 && sequence.steps == 0) BeginAnew(id);  // cleared meanwhile
}

// Swapped out again, as if it had not been scheduled.
void Manager::State::Deactivate(SequenceId id, bool executed) {
  Sequence& sequence = sequences[id];
  ResolveTail(id);
  sequence.state = SequenceState::kSwapped;
  if (sequence.tail != kNone) tails[sequence.tail].active--;
  index.Acquire(sequence.run, HoldKind::kParked);
  if (executed) {
    index.Release(sequence.run, HoldKind::kActive);
  } else {
    index.UndoAcquire(sequence.run, HoldKind::kActive);
  }
}

// Puts the block that the sequence took out of the index back, unless others have moved on
// meanwhile.
void Manager::State::Reindex(EntryChange& change) {
  Sequence& sequence = sequences[change.sequence];
  const TailId tail = sequence.tail;
  const std::uint64_t stamp = change.old_stamp;
  const Content block = index.slots().ContentOf(change.lifted);
  if (tails[tail].holders != 1 || FindPublished(sequence.run, block) != kNone || !EnsureRuns(1))
    return;
  BlockId set[kMaxGroups];
  std::copy_n(TailSet(tail), groups, set);
  // A run of its own comes back as one: the two stood in different places of their list.
  const bool is_alike = index.IsRetained(sequence.run, change.old_priority, change.old_life);
  if (stamp == kNoStamp && is_alike && index.CanAppend(sequence.run)) {
    index.Append(sequence.run, change.lifted, set);
  } else {
    const RunId run = index.AddChild(sequence.run, change.lifted, set);
    index.Retain(run, change.old_priority, change.old_life);
    index.run(run).stamp = stamp == kNoStamp ? kUsedSince : stamp;
    index.Exchange(sequence.run, HoldKind::kActive, run, HoldKind::kActive);
    sequence.run = run;
  }
  sequence.blocks++;
  sequence.tail = kNone;
  FreeTail(tail);
  change.lifted = kNone;
}

// What a sequence took out of the index does not go back there.
void Manager::State::ForgetLifted(EntryChange& change) {
  if (change.lifted == kNone) return;
  const TailId tail = sequences[change.sequence].tail;
  for (std::uint32_t group = 0; group < groups; ++group) pools[group].Unpair(TailSet(tail)[group]);
  index.Forget(change.lifted);
  change.lifted = kNone;
}

}  // namespace pagedkv
