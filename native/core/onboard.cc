// Coming back: what a sequence that is not wholly on the device needs before it can go on.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

void Manager::State::Activate(StepEntry& entry) {
  Sequence& sequence = sequences[entry.sequence];
  entry.flags |= kEntryActivated;
  index.Exchange(sequence.run, HoldKind::kParked, sequence.run, HoldKind::kActive);
  if (sequence.tail != kNone) tails[sequence.tail].active++;
  sequence.state = SequenceState::kActive;
  sequence.resident = false;
  TellSequence(entry.sequence);
}

// Others may have computed more of the prompt since it was opened: the pass then leaves that out.
void Manager::State::MatchAgain(EntryChange& change, Tokens tokens) {
  Sequence& sequence = sequences[change.sequence];
  if (sequence.tail != kNone || index.IsDetached(sequence.run) || !EnsureRuns(2)) return;
  const std::uint32_t bs = config.block_size;
  const auto count = static_cast<std::uint32_t>(tokens.size());
  const std::uint32_t held_end = sequence.blocks * bs;
  const ExtraCursor extras = keys.CursorOf(sequence.keys);
  PrefixIndex::Match match;
  RunId from = sequence.run;
  std::uint32_t before = sequence.length;
  if (sequence.length == held_end) {
    match = index.Find(sequence.run, {}, tokens, extras);
  } else {
    // Inside an indexed block: either it goes on as the prompt does, or a sibling may.
    const Run& run = index.run(sequence.run);
    const std::uint32_t rest = held_end - sequence.length;
    const Token* held = index.TokensOf(sequence.run, run.length - 1u);
    const bool same_keys = index.ExtraOf(sequence.run, run.length - 1u) ==
                           keys.ExtraOf(sequence.keys, sequence.blocks - 1);
    if (count >= rest && same_keys && std::equal(held + bs - rest, held + bs, tokens.begin())) {
      match = index.Find(sequence.run, {}, tokens.subspan(rest), extras);
      before = held_end;
    } else if (run.length == 1) {
      from = run.parent;
      match = index.Find(from, {held, bs - rest}, tokens, extras);
      before = held_end - bs;
    } else {
      return;
    }
  }
  const std::uint32_t total = sequence.length + count;
  CutToServed(match, before, total);
  WeighAgain(change.sequence, match, from, before, total);
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  // A whole block of one token saves no token, but a block.
  const bool saves_block = before == sequence.length && match.tokens == count;
  const bool saves_tokens = std::min(before + match.tokens + part, total - 1) > sequence.length;
  if (!saves_tokens && !saves_block) return;
  change.old_run = sequence.run;  // held until the step ends, so that an abort can go back to it
  Attach(change.sequence, match, before, total);
  sequence.cached += sequence.length - change.old_length;
  if (index.IsHost(sequence.run)) sequence.resident = false;
  if (sequence.resident) FillRow(change.sequence);
  QueueFound(sequence.run);
  TellSequence(change.sequence);
}

bool Manager::State::BringBack(std::uint32_t slot, StepEntry& entry) {
  Sequence& sequence = sequences[entry.sequence];
  Step& step = steps[slot];
  entry.flags |= kEntryOnboarded;
  const bool swapped = (entry.flags & kEntryActivated) != 0;
  bool waits = false;
  path.clear();
  for (RunId run = sequence.run; index.IsHost(run); run = index.run(run).parent)
    path.push_back(run);
  BlockId host[kMaxGroups];
  for (; !path.empty(); path.pop_back()) {
    const RunId run = path.back();
    if ((index.run(run).flags & kRunOnboarding) != 0) {
      waits = true;
      continue;
    }
    index.run(run).flags |= kRunOnboarding;
    for (std::uint32_t i = 0; i < index.run(run).length; ++i) {
      for (std::uint32_t group = 0; group < groups; ++group)
        host[group] = index.block(run, i, group);
      if (!OnboardSet(slot, host, kNone, swapped)) {
        // What was planned of this run is known by its records; the rest was not planned.
        index.run(run).flags &= static_cast<std::uint8_t>(~kRunOnboarding);
        return false;
      }
    }
  }
  if (sequence.tail != kNone && pools[0].IsHost(TailSet(sequence.tail)[0])) {
    Tail& tail = tails[sequence.tail];
    if ((tail.flags & kRunOnboarding) != 0) {
      waits = true;
    } else {
      if (!OnboardSet(slot, TailSet(sequence.tail), sequence.tail, swapped)) return false;
      tail.flags |= kRunOnboarding;
    }
  }
  if (waits) {
    for (const std::uint32_t other : open_steps) {
      if (!steps[other].onboards.empty()) step.depends_on |= 1u << other;
    }
  }
  FillRow(entry.sequence);
  return true;
}

bool Manager::State::OnboardSet(std::uint32_t slot, const BlockId* host, TailId tail,
                                bool swapped) {
  Step& step = steps[slot];
  if (step.onboards.size() == config.max_step_transfers) {
    plan_status = Status::kTooManyTransfers;
    return false;
  }
  BlockId set[kMaxGroups];
  if (!TakeSet(slot, quotas.owner(host[0]), set)) return false;
  step.onboards.push_back({static_cast<std::uint32_t>(step.sets.size() / groups), tail, swapped});
  for (std::uint32_t group = 0; group < groups; ++group) {
    step.sets.push_back(set[group]);
    step.onboard_hosts.push_back(host[group]);
    pools[group].set_copy(host[group], set[group] & ~kFromClaim);
  }
  return true;
}

}  // namespace pagedkv
