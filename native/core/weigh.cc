// Swap or recompute: what of a prompt's part on the host is brought back, and whom preempting costs
// least. The cost model answers; here is what it is asked.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

// What a match found on the host below `held`, which comes back whatever is chosen. What is on its
// way to the device costs nothing any more. `usable`: tokens up to the end of what is found.
Manager::State::HostPart Manager::State::HostPartOf(const PrefixIndex::Match& match, RunId held,
                                                    std::uint32_t usable) const {
  const bool has_part = match.part >= config.min_partial_tokens;
  RunId run = has_part ? match.part_run : match.run;
  const std::uint32_t end = index.run(run).depth + (has_part ? match.part_index + 1 : match.count);
  std::uint32_t begin = end;
  for (; run != held && index.IsHost(run); run = index.run(run).parent) {
    if ((index.run(run).flags & kRunOnboarding) != 0) break;
    begin = index.run(run).depth;
  }
  const std::uint32_t past = begin * config.block_size;
  return {begin, {end - begin, usable - std::min(usable, past), past}};
}

// A match of no more than so many blocks from the start of the prompt, whose first `before` tokens
// were not looked for.
PrefixIndex::Match Manager::State::CutAfter(const PrefixIndex::Match& match, std::uint32_t blocks,
                                            std::uint32_t before) const {
  PrefixIndex::Match cut;
  cut.run = match.run;
  while (index.run(cut.run).parent != kNone && index.run(cut.run).depth >= blocks)
    cut.run = index.run(cut.run).parent;
  cut.count = blocks - index.run(cut.run).depth;
  cut.tokens = blocks * config.block_size - before;
  return cut;
}

// When a sequence is opened: what of a match it is to hold.
void Manager::State::WeighPrompt(SequenceId id, PrefixIndex::Match& match, std::uint32_t total) {
  Sequence& sequence = sequences[id];
  sequence.recomputed_end = 0;
  const std::uint32_t usable = UsableOf(match, 0, total);
  const HostPart part = HostPartOf(match, kNone, usable);
  if (part.hit.blocks == 0) return;
  const CostModel::Choice choice = costs.Choose(part.hit);
  const bool brings = choice.blocks == part.hit.blocks;
  (choice.explores ? stats.explorations
   : brings        ? stats.onboard_choices
                   : stats.recompute_choices)++;
  if (brings) return;
  sequence.recomputed_end = usable;
  match = CutAfter(match, part.held_blocks + choice.blocks, 0);
}

// When more is found as it is scheduled. What was chosen when it was opened stands.
void Manager::State::WeighAgain(SequenceId id, PrefixIndex::Match& match, RunId held,
                                std::uint32_t before, std::uint32_t total) {
  Sequence& sequence = sequences[id];
  const std::uint32_t usable = UsableOf(match, before, total);
  const HostPart part = HostPartOf(match, held, usable);
  if (part.hit.blocks == 0) return;
  if (sequence.recomputed_end == 0) {
    if (costs.IsWorth(part.hit)) return;
    sequence.recomputed_end = usable;
  }
  match = CutAfter(match, part.held_blocks, before);
}

// --- Preemption ---

// Entries that leave the device unmoved.
std::uint32_t Manager::State::MirroredOf(RunId run) const {
  std::uint32_t entries = 0;
  for (std::uint32_t entry = 0; entry < index.run(run).length; ++entry) {
    bool has_mirrors = true;
    for (std::uint32_t group = 0; group < groups; ++group)
      has_mirrors = has_mirrors && pools[group].HasMirror(index.block(run, entry, group));
    entries += has_mirrors ? 1 : 0;
  }
  return entries;
}

// Of a sequence on the device, what only it holds there.
Manager::State::Own Manager::State::OwnOf(SequenceId id) const {
  const Sequence& sequence = sequences[id];
  Own own;
  std::uint32_t kept = sequence.blocks;
  for (RunId run = sequence.run; index.run(run).parent != kNone; run = index.run(run).parent) {
    if (index.run(run).active > 1) break;
    kept = index.run(run).depth;
    if (index.IsHost(run)) continue;
    own.blocks += index.run(run).length;
    own.mirrored += MirroredOf(run);
  }
  const bool has_tail = sequence.tail != kNone && tails[sequence.tail].active == 1 &&
                        !pools[0].IsHost(TailSet(sequence.tail)[0]);
  own.blocks += has_tail ? 1 : 0;
  own.past = std::min(sequence.length, kept * config.block_size);
  own.tokens = sequence.length - own.past;
  return own;
}

Manager::PreemptCost Manager::State::CostOf(SequenceId id) const {
  const Own own = OwnOf(id);
  const double swap = costs.OffloadTime(own.blocks - own.mirrored) + costs.OnboardTime(own.blocks);
  const double drop = costs.PrefillTime(own.tokens, own.past);
  const bool fits = own.blocks == 0 || own.blocks <= HostRoomOfSets(PartitionOf(sequences[id].run));
  if (fits && swap <= drop) return {own.blocks, PreemptMode::kSwap, swap};
  return {own.blocks, PreemptMode::kDrop, drop};
}

// Whether a sequence that is swapped out comes back sooner than it is computed again.
bool Manager::State::IsBackSooner(SequenceId id) const {
  const Sequence& sequence = sequences[id];
  std::uint32_t blocks = 0;
  std::uint32_t begin = sequence.blocks;
  for (RunId run = sequence.run; index.IsHost(run); run = index.run(run).parent) {
    if (index.run(run).active > 0) break;
    blocks += index.run(run).length;
    begin = index.run(run).depth;
  }
  if (sequence.tail != kNone && pools[0].IsHost(TailSet(sequence.tail)[0])) blocks++;
  const std::uint32_t past = std::min(sequence.length, begin * config.block_size);
  return costs.OnboardTime(blocks) <= costs.PrefillTime(sequence.length - past, past);
}

// The cheaper of two that free enough; one that does before one that does not; else the cheaper for
// each block. Of equals, the one that is named later.
static bool IsBetterVictim(const Manager::PreemptCost& cost, const Manager::PreemptCost& than,
                           std::uint32_t blocks) {
  const bool is_enough = cost.blocks >= blocks;
  if (is_enough != (than.blocks >= blocks)) return is_enough;
  if (is_enough) return cost.milliseconds <= than.milliseconds;
  return cost.milliseconds * than.blocks <= than.milliseconds * cost.blocks;
}

PreemptMode Manager::State::CheaperMode(SequenceId id) const {
  if (sequences[id].state == SequenceState::kActive) return CostOf(id).mode;
  return IsBackSooner(id) ? PreemptMode::kSwap : PreemptMode::kDrop;
}

Manager::VictimResult Manager::State::Victim(std::span<const SequenceHandle> handles,
                                             std::uint32_t blocks) const {
  VictimResult best;
  for (std::uint32_t number = 0; number < handles.size(); ++number) {
    SequenceId id;
    if (Check(handles[number], id) != Status::kOk) continue;
    const Sequence& sequence = sequences[id];
    if (sequence.state != SequenceState::kActive || sequence.steps != 0) continue;
    const PreemptCost cost = CostOf(id);
    if (cost.blocks == 0) continue;
    if (best.index == kNone || IsBetterVictim(cost, best.cost, blocks)) best = {number, cost};
  }
  return best;
}

}  // namespace pagedkv
