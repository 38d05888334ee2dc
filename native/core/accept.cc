// Accepting a part of a step: of an entry's tokens, only the first are committed. The rest was
// never there: an entry ends where it was accepted, for whoever looks at it from then on.
//
// Invariant: what an entry ends at is what its sequence has planned, or where a later step begins.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

Status Manager::State::Accept(StepHandle handle, SequenceHandle sequence, std::uint32_t count) {
  std::uint32_t slot;
  if (const Status status = Check(handle, slot); status != Status::kOk) return status;
  StepEntry* entry = nullptr;
  if (const Status status = FindEntry(slot, sequence, entry); status != Status::kOk) return status;
  if (const Status status = CheckAcceptable(slot, *entry); status != Status::kOk) return status;
  if (count > entry->end - entry->begin) return Status::kInvalidPath;
  const bool is_rejecting = count < entry->end - entry->begin;
  if (is_rejecting && IsBuiltUpon(slot, entry->sequence)) return Status::kBuiltUpon;
  if (steps[slot].state == StepState::kPlanned) {
    // As a commit: whoever executes a plan without telling has done so by now.
    if (const Status status = BeginExecute(handle); status != Status::kOk) return status;
    End(slot, true);
  }
  entry->flags = static_cast<std::uint8_t>((entry->flags | kEntryAccepted) & ~kEntryGuessed);
  if (is_rejecting) Reject(slot, *entry, entry->begin + count);
  return Status::kOk;
}

// The entry of a sequence, which may have been closed meanwhile. Its mark tells the place, unless
// another batch has marked it since.
Status Manager::State::FindEntry(std::uint32_t slot, SequenceHandle handle, StepEntry*& entry) {
  if (handle.nonce != config.nonce || handle.slot >= sequences.size())
    return Status::kSequenceForeign;
  if (handle.generation != sequences[handle.slot].generation) return WhyNotOpen(handle);
  std::vector<StepEntry>& entries = steps[slot].entries;
  const std::uint32_t place = sequences[handle.slot].batch_mark - steps[slot].first_mark;
  const auto is_its = [&](const StepEntry& each) { return each.sequence == handle.slot; };
  const bool is_known = place < entries.size() && is_its(entries[place]);
  const auto found =
      is_known ? entries.begin() + place : std::find_if(entries.begin(), entries.end(), is_its);
  if (found == entries.end()) return Status::kNotInStep;
  entry = &*found;
  return Status::kOk;
}

Status Manager::State::CheckAcceptable(std::uint32_t slot, const StepEntry& entry) const {
  if (steps[slot].state == StepState::kExecuting) return Status::kStepExecuting;
  if (steps[slot].state == StepState::kFailed) return Status::kStepFailed;
  return (entry.flags & kEntryAccepted) != 0 ? Status::kAcceptedTwice : Status::kOk;
}

// Whether a step after this one holds the sequence, if without a token.
bool Manager::State::IsBuiltUpon(std::uint32_t slot, SequenceId id) const {
  const auto first = std::find(open_steps.begin(), open_steps.end(), slot) + 1;
  return std::any_of(first, open_steps.end(),
                     [&](std::uint32_t later) { return (sequences[id].steps >> later & 1u) != 0; });
}

// The blocks behind stay reserved until the commit, so that an abort gives back what was taken.
void Manager::State::Reject(std::uint32_t slot, StepEntry& entry, std::uint32_t from) {
  Sequence& sequence = sequences[entry.sequence];
  const std::uint32_t rejected = entry.end - from;
  entry.end = sequence.planned = from;
  sequence.writable = from > sequence.blocks * config.block_size || sequence.diverged;
  steps[slot].queries -= rejected;
  if ((entry.flags & kEntryKnown) == 0) steps[slot].missing_ids -= rejected;
  steps[slot].rejected += rejected;
}

// --- At the commit ---

// A part of a block was copied, and none of the tokens that were to follow it was accepted. Returns
// the set after the copy.
const BlockId* Manager::State::KeepCopy(const StepEntry& entry, const BlockId* set) {
  Sequence& sequence = sequences[entry.sequence];
  const std::uint32_t used = entry.begin % config.block_size;
  if ((entry.flags & kEntryCopied) == 0 || used == 0) return set;
  sequence.tail = NewTail(set, used, 1);
  return set + groups;
}

// Gives back the entry's block sets from one on: no accepted token stands there.
void Manager::State::GiveRejected(std::uint32_t slot, const StepEntry& entry, const BlockId* from) {
  Step& step = steps[slot];
  const EntryChange& change = step.ChangeOf(entry);
  const std::size_t end = (std::size_t{change.first_set} + change.sets) * groups;
  const auto begin = static_cast<std::size_t>(from - step.sets.data());
  for (std::size_t i = end; i-- > begin;) {
    pools[i % groups].Give(step.sets[i] & ~kFromClaim);
  }
}

}  // namespace pagedkv
