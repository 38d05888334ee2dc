// What most sequences of most steps need: one more token, in a block that nobody else holds. It
// allocates nothing, changes no cell and leaves nothing to undo but a length. So such entries are
// planned and committed as long as one follows the other.
#include <algorithm>
#include <cassert>

#include "manager_state.h"

namespace pagedkv {

// Plans the entries from `number` on, as long as they are such, and returns how many.
std::uint32_t Manager::State::PlanInOwnTails(std::uint32_t slot, std::uint32_t number,
                                             std::uint32_t count, std::uint32_t& token_offset) {
  Step& step = steps[slot];
  const std::uint32_t bs = config.block_size;
  const std::uint32_t bit = 1u << slot;
  const std::uint32_t* given = shared + layout.batch_entries + number * kBatchEntryWords;
  std::uint32_t* slots = StepWords(slot) + layout.step_slots + step.queries;
  const std::uint32_t first = number;
  std::uint32_t depends_on = 0;
  std::uint32_t known = 0;
  for (; number < count; ++number, given += kBatchEntryWords, ++slots) {
    Sequence& sequence = sequences[given[0]];
    const std::uint32_t position = sequence.planned;
    const std::uint32_t used = position - sequence.blocks * bs;
    const bool is_one = (given[3] & ~kCountOnly) == 1;  // no guess, which stands in its flags
    if (!is_one || used >= bs || !IsAloneInTail(sequence)) break;

    StepEntry& entry = step.entries.emplace_back();
    entry.sequence = given[0];
    entry.begin = position;
    entry.end = position + 1;
    entry.token_offset = token_offset + known;
    entry.old_writable = sequence.writable;
    entry.old_diverged = sequence.diverged;
    if ((given[3] & kCountOnly) == 0) {
      entry.flags = kEntryKnown;
      known++;
    }
    depends_on |= sequence.steps;
    sequence.planned = position + 1;
    sequence.writable = true;
    sequence.steps |= bit;
    const BlockId* set = TailSet(sequence.tail);
    std::uint32_t* out = slots;
    for (std::uint32_t group = 0; group < groups; ++group, out += config.max_batch_tokens)
      *out = set[group] * bs + used;
  }
  std::copy_n(shared + layout.batch_tokens + token_offset, known, &step.ids[token_offset]);
  token_offset += known;
  step.queries += number - first;
  step.missing_ids += number - first - known;
  step.depends_on |= depends_on;
  return number - first;
}

// Whether its next token falls into a block that nobody else holds, and its row is told as it
// stands.
bool Manager::State::IsAloneInTail(const Sequence& sequence) const {
  if (sequence.tail == kNone || !sequence.resident || sequence.dirty_begin != kNone) return false;
  if (sequence.state != SequenceState::kActive) return false;
  if (sequence.recomputed_end > sequence.planned) return false;  // those are counted
  const Tail& tail = tails[sequence.tail];
  return tail.holders == 1 && tail.leavers == 0 && tail.run == kNone;
}

// Commits the entries from `number` on, as long as they were planned so and leave room in their
// tails, and returns how many. `awaited`: the ids that come with the commit, those used taken off.
std::uint32_t Manager::State::CommitInOwnTails(std::uint32_t slot, std::uint32_t number,
                                               const Token*& awaited) {
  const Step& step = steps[slot];
  const std::uint32_t bs = config.block_size;
  const std::uint32_t others = ~(1u << slot);
  const std::uint32_t first = number;
  const auto count = static_cast<std::uint32_t>(step.entries.size());
  for (; number < count; ++number) {
    const StepEntry& entry = step.entries[number];
    if (entry.change != kNone) break;
    Sequence& sequence = sequences[entry.sequence];
    const std::uint32_t used = entry.begin - sequence.blocks * bs;
    assert(sequence.tail != kNone && used < bs);
    if (used + 1 == bs || entry.begin == entry.end) break;
    const bool is_known = (entry.flags & kEntryKnown) != 0;
    TailTokens(entry.sequence)[used] = is_known ? step.ids[entry.token_offset] : *awaited++;
    Tail& tail = tails[sequence.tail];
    tail.used = std::max(tail.used, used + 1);
    sequence.steps &= others;
    sequence.length = entry.end;
    sequence.computed = true;
    shared[layout.sequence_length + entry.sequence] = entry.end;
  }
  return number - first;
}

}  // namespace pagedkv
