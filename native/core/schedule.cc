// The step planner: what a batch needs, reserved as a whole or not at all.
#include <algorithm>
#include <cstring>

#include "manager_state.h"

namespace pagedkv {
namespace {

SequenceHandle HandleIn(const std::uint32_t* entry) {
  return {entry[0], entry[1], entry[2]};
}

}  // namespace

Status Manager::State::Check(StepHandle handle, std::uint32_t& slot) const {
  if (handle.nonce != config.nonce || handle.slot >= steps.size()) return Status::kStepForeign;
  const Step& step = steps[handle.slot];
  if (handle.generation > step.generation) return Status::kStepForeign;
  if (handle.generation != step.generation || step.state == StepState::kFree)
    return Status::kStepClosed;
  slot = handle.slot;
  return Status::kOk;
}

Status Manager::State::CheckBatch(std::uint32_t count, BatchTotals& totals) {
  if (count == 0) return Status::kEmptyBatch;
  if (count > config.max_batch_sequences) return Status::kBatchTooLarge;
  if (open_steps.size() == steps.size()) return Status::kTooManyOpenSteps;
  if (next_mark > kNone - count) {
    for (Sequence& sequence : sequences) sequence.batch_mark = 0;
    next_mark = 1;
  }
  totals.first_mark = next_mark;
  next_mark += count;
  const std::uint32_t* entry = shared + layout.batch_entries;
  for (std::uint32_t i = 0; i < count; ++i, entry += kBatchEntryWords) {
    if (!IsOpen(HandleIn(entry))) return WhyNotOpen(HandleIn(entry));
    Sequence& sequence = sequences[entry[0]];
    if (sequence.state == SequenceState::kDropped) return Status::kSequenceDropped;
    if (sequence.batch_mark >= totals.first_mark) return Status::kDuplicateInBatch;
    sequence.batch_mark = totals.first_mark + i;
    const std::uint32_t more = entry[3] & kCountMask;
    if (more == 0) return Status::kEmptyTokens;
    if (more > config.max_sequence_tokens - sequence.planned) return Status::kSequenceTooLong;
    totals.tokens += more;
    totals.retentions += sequence.retentions;
  }
  return totals.tokens <= config.max_batch_tokens ? Status::kOk : Status::kBatchTooLarge;
}

void Manager::State::ResetStep(std::uint32_t slot) {
  Step& step = steps[slot];
  step.depends_on = 0;
  step.copies = 0;
  step.offloads = 0;
  step.host_hits = 0;
  step.queries = 0;
  step.rejected = 0;
  step.missing_ids = 0;
  step.has_redundant = false;
  step.entries.clear();
  step.changes.clear();
  step.sets.clear();
  step.onboards.clear();
  step.onboard_hosts.clear();
  step.arrivals.clear();
  step.offload_sources.clear();
  for (auto& spare : spare_claims) spare.clear();
  if (claim_front == claim_back) claim_front = claim_back = 0;  // where the ring is in the caches
}

Manager::ScheduleResult Manager::State::Schedule(std::uint32_t count) {
  BatchTotals totals;
  const Status status = CheckBatch(count, totals);
  return status == Status::kOk ? Plan(count, totals) : ScheduleResult{status, {}, {}};
}

// The sequence that holds the prompt meanwhile closes with the step.
Manager::ScheduleResult Manager::State::Prefetch(Tokens tokens, std::string_view name,
                                                 KeyRanges ranges) {
  if (open_steps.size() == steps.size()) return {Status::kTooManyOpenSteps, {}, {}};
  SequenceId id;
  const Status status = NewSequence(tokens, name, ranges, Opening::kPrefetch, id);
  if (status != Status::kOk) return {status, {}, {}};
  // The place of the batch's first entry is borrowed: a batch may stand there.
  std::uint32_t* entry = shared + layout.batch_entries;
  std::uint32_t borrowed[kBatchEntryWords];
  std::copy_n(entry, kBatchEntryWords, borrowed);
  entry[0] = id;
  entry[3] = 0;
  const ScheduleResult result = Plan(1, {});
  std::copy_n(borrowed, kBatchEntryWords, entry);
  if (result.status == Status::kOk) {
    sequences[id].closing = sequences[id].prefetches = true;
    closing_sequences++;
    TellSequence(id);
  } else {
    UndoOpen(id);
  }
  return result;
}

// Requires a batch that was checked.
Manager::ScheduleResult Manager::State::Plan(std::uint32_t count, const BatchTotals& totals) {
  std::uint32_t slot = 0;
  while (steps[slot].state != StepState::kFree) slot++;
  Step& step = steps[slot];
  ResetStep(slot);
  plan_status = Status::kOutOfBlocks;

  // Committing must not fail for want of a run.
  const auto runs = 4 * count + 3 * totals.retentions +
                    static_cast<std::uint32_t>(totals.tokens / config.block_size / kRunBlocks) + 8;
  if (!EnsureRuns(runs)) return {Status::kIndexFull, {}, {}};
  step.state = StepState::kPlanned;
  step.first_mark = totals.first_mark;
  step.reserved_runs = runs;
  reserved_runs += runs;

  std::uint32_t token_offset = 0;
  for (std::uint32_t number = 0; number < count; ++number) {
    number += PlanInOwnTails(slot, number, count, token_offset);
    if (number == count) break;
    const std::uint32_t given = shared[layout.batch_entries + number * kBatchEntryWords + 3];
    if (!PlanEntry(slot, number, token_offset)) {
      UndoStep(slot, false);
      reserved_runs -= runs;
      step.state = StepState::kFree;
      if (plan_status != Status::kOutOfBlocks) return {plan_status, {}, {}};
      stats.out_of_blocks++;
      is_pressed = true;
      const SequenceId short_one = shared[layout.batch_entries + number * kBatchEntryWords];
      return {Status::kOutOfBlocks, {}, ShortageOf(count, PartitionOf(sequences[short_one].run))};
    }
    if ((given & kCountOnly) == 0) token_offset += given & kCountMask;
  }
  PlanMirrors(slot);
  open_steps.push_back(slot);
  TellStep(slot);
  return {Status::kOk, {slot, step.generation, config.nonce}, {}};
}

bool Manager::State::PlanEntry(std::uint32_t slot, std::uint32_t number,
                               std::uint32_t token_offset) {
  Step& step = steps[slot];
  const std::uint32_t* given = shared + layout.batch_entries + number * kBatchEntryWords;
  const std::uint32_t count = given[3] & kCountMask;
  const bool known = (given[3] & kCountOnly) == 0;
  const bool guessed = (given[3] & kGuesses) != 0;
  Sequence& sequence = sequences[given[0]];
  if (sequence.steps == 0) ResolveTail(given[0]);
  StepEntry& entry = step.entries.emplace_back();
  entry.sequence = given[0];
  entry.token_offset = token_offset;
  entry.change = static_cast<std::uint32_t>(step.changes.size());
  entry.old_writable = sequence.writable;
  entry.old_diverged = sequence.diverged;
  EntryChange& change = step.changes.emplace_back();
  change.sequence = given[0];
  change.first_set = static_cast<std::uint32_t>(step.sets.size() / groups);
  change.old_length = sequence.length;
  change.old_planned = sequence.planned;
  change.old_blocks = sequence.blocks;
  change.old_cached = sequence.cached;
  change.old_recomputed_end = sequence.recomputed_end;
  change.old_resident = sequence.resident;
  const std::uint32_t end = sequence.planned + count;
  step.depends_on |= sequence.steps;

  if (guessed) entry.flags |= kEntryGuessed;
  if (known) {
    entry.flags |= kEntryKnown;
    std::memcpy(&step.ids[token_offset], shared + layout.batch_tokens + token_offset,
                count * sizeof(Token));
  } else {
    step.missing_ids += count;
  }
  const std::size_t onboards = step.onboards.size();
  if (sequence.steps == 0) {
    if (sequence.state == SequenceState::kSwapped) Activate(entry);
    if (known && !guessed && count > 0 && !sequence.computed)
      MatchAgain(change, {&step.ids[token_offset], count});
    if (!sequence.resident && !BringBack(slot, entry)) return false;
  }
  entry.skipped = sequence.planned - change.old_planned;
  entry.token_offset += entry.skipped;
  entry.begin = sequence.planned;
  entry.end = end;
  TellHostHit(slot, entry, static_cast<std::uint32_t>(step.onboards.size() - onboards));
  if (!PlanWrites(slot, entry, end)) return false;
  sequence.steps |= 1u << slot;
  return true;
}

// Of an entry's tokens, those that the host has too.
std::uint32_t Manager::State::RecomputedOf(const StepEntry& entry) const {
  const std::uint32_t end = std::min(entry.end, sequences[entry.sequence].recomputed_end);
  return end - std::min(end, entry.begin);
}

void Manager::State::TellHostHit(std::uint32_t slot, const StepEntry& entry,
                                 std::uint32_t onboards) {
  const std::uint32_t recomputed = RecomputedOf(entry);
  if (onboards == 0 && recomputed == 0) return;
  Step& step = steps[slot];
  std::uint32_t* record =
      StepWords(slot) + layout.step_host_hits + std::uint64_t{step.host_hits++} * 3;
  record[0] = static_cast<std::uint32_t>(step.entries.size() - 1);
  record[1] = onboards;
  record[2] = recomputed;
}

// --- Where the tokens go ---

// Takes block sets for so many cells of the entry's row. Where a quota ends before, each set is a
// question of its own.
bool Manager::State::AddSets(std::uint32_t slot, EntryChange& change, std::uint32_t cell,
                             std::uint32_t count) {
  const PartitionId whom = PartitionOf(sequences[change.sequence].run);
  const bool is_limited = quotas.any() && quotas.Headroom(Tier::kDevice, whom) < count;
  if (!is_limited && !EnsureSets(slot, whom, 0, count)) return false;
  std::vector<BlockId>& sets = steps[slot].sets;
  if (change.sets == 0) change.first_set = static_cast<std::uint32_t>(sets.size() / groups);
  MarkDirty(change.sequence, cell, cell + count);
  BlockId set[kMaxGroups];
  for (const std::uint32_t end = cell + count; cell < end; ++cell) {
    if (is_limited && !TakeSet(slot, whom, set)) return false;
    for (std::uint32_t group = 0; group < groups; ++group) {
      if (!is_limited) set[group] = TakeBlock(group, whom);
      Row(change.sequence, group)[cell] = set[group] & ~kFromClaim;
      sets.push_back(set[group]);
    }
    change.sets++;
  }
  return true;
}

bool Manager::State::PlanCopy(std::uint32_t slot, StepEntry& entry, std::uint32_t cell,
                              const BlockId* source, std::uint32_t used) {
  if (!AddSets(slot, steps[slot].ChangeOf(entry), cell, 1)) return false;
  entry.flags |= kEntryCopied;
  if (used == 0) return true;
  Step& step = steps[slot];
  std::uint32_t* words = StepWords(slot) + layout.step_copies;
  for (std::uint32_t group = 0; group < groups; ++group) {
    std::uint32_t* record = words + std::uint64_t{step.copies++} * 4;
    record[0] = group;
    record[1] = OnDevice(group, source[group]);
    record[2] = step.sets[step.sets.size() - groups + group] & ~kFromClaim;
    record[3] = used;
  }
  return true;
}

// A truncated sequence may write on in its own block where nobody else holds it and nothing
// descends from it. A block that was found in the cache stays there for others.
bool Manager::State::CanTakeOver(const Sequence& sequence) const {
  const Run& run = index.run(sequence.run);
  return sequence.truncated && PrefixIndex::IsSoleEnd(run);
}

// The indexed block at the end, which nobody else needs, becomes a private tail.
void Manager::State::TakeOver(EntryChange& change, std::uint32_t position) {
  Sequence& sequence = sequences[change.sequence];
  const RunId run = sequence.run;
  const std::uint32_t last = index.run(run).length - 1u;
  BlockId set[kMaxGroups];
  for (std::uint32_t group = 0; group < groups; ++group) {
    set[group] = index.block(run, last, group);
    pools[group].set_state(set[group], BlockState::kPrivate);
  }
  change.old_priority = index.use(run).priority;
  change.old_life = index.LifeOf(run);
  std::memcpy(TailTokens(change.sequence), index.TokensOf(run, last),
              config.block_size * sizeof(Token));
  if (last > 0) {
    change.lifted = index.LiftTail(run);
  } else {
    sequence.run = index.run(run).parent;
    change.old_stamp = index.run(run).stamp;
    index.Exchange(run, HoldKind::kActive, sequence.run, HoldKind::kActive);
    change.lifted = index.LiftRun(run);
  }
  sequence.blocks--;
  sequence.tail = NewTail(set, position - sequence.blocks * config.block_size, 1);
}

// Plans the tokens that fall into the held indexed block, from `position` on.
bool Manager::State::PlanInIndexed(std::uint32_t slot, StepEntry& entry, std::uint32_t& position,
                                   std::uint32_t end) {
  Sequence& sequence = sequences[entry.sequence];
  const std::uint32_t bs = config.block_size;
  const std::uint32_t stop = std::min(end, sequence.blocks * bs);
  const std::uint32_t base = (sequence.blocks - 1) * bs;
  const std::uint32_t last = index.run(sequence.run).length - 1u;
  if ((entry.flags & kEntryKnown) != 0 && !config.always_writes) {
    const Token* held = index.TokensOf(sequence.run, last);
    const Token* ids = &steps[slot].ids[entry.token_offset];
    const std::uint32_t alike = keys.Common(index.ExtraOf(sequence.run, last),
                                            keys.ExtraOf(sequence.keys, sequence.blocks - 1));
    if (base + alike >= stop &&
        std::equal(ids, ids + (stop - position), held + (position - base))) {
      position = stop;  // their keys and values are there already: nothing to write
      return true;
    }
  }
  if (position > base && CanTakeOver(sequence)) {
    TakeOver(steps[slot].ChangeOf(entry), position);
    return true;
  }
  // The copy takes the place of a cell that an open step of this sequence still reads: not before
  // it ends.
  if (sequence.steps != 0) return false;
  BlockId source[kMaxGroups];
  for (std::uint32_t group = 0; group < groups; ++group) {
    source[group] = index.block(sequence.run, last, group);
  }
  if (!PlanCopy(slot, entry, sequence.blocks - 1, source, position - base)) return false;
  sequence.diverged = true;
  return true;
}

// Plans an append to a partly filled private block: in place for its only user, else in a copy.
bool Manager::State::PlanInTail(std::uint32_t slot, StepEntry& entry, std::uint32_t position) {
  Sequence& sequence = sequences[entry.sequence];
  if (sequence.steps != 0 && sequence.writable) return true;
  Tail& tail = tails[sequence.tail];
  const std::uint32_t used = position - sequence.blocks * config.block_size;
  // Those who leave may come back if their step is aborted: what they need is not overwritten.
  const bool sole = tail.holders - tail.leavers == 1;
  if (sole && (tail.leavers == 0 || used >= tail.used)) {
    steps[slot].depends_on |= tail.leaver_steps & ~(1u << slot);
    return true;
  }
  if (!PlanCopy(slot, entry, sequence.blocks, TailSet(sequence.tail), used)) return false;
  entry.flags |= kEntryLeftTail;
  tail.leavers++;
  tail.leaver_steps |= 1u << slot;
  return true;
}

bool Manager::State::PlanWrites(std::uint32_t slot, StepEntry& entry, std::uint32_t end) {
  Sequence& sequence = sequences[entry.sequence];
  const std::uint32_t bs = config.block_size;
  std::uint32_t position = sequence.planned;
  const bool in_indexed = !sequence.diverged && position < sequence.blocks * bs;
  if (position == end) {
    WriteSlots(slot, entry, position);  // no token: what the sequence holds was brought back
    return true;
  }
  if (in_indexed) {
    if (!PlanInIndexed(slot, entry, position, end)) return false;
  } else if (position % bs != 0) {
    if (!PlanInTail(slot, entry, position)) return false;
  }
  std::uint32_t cell = (position + bs - 1) / bs;
  EntryChange& change = steps[slot].ChangeOf(entry);
  if (change.sets > 0 && position % bs == 0) cell++;  // a copy of no token took this cell
  const std::uint32_t cells = (end + bs - 1) / bs;
  if (cell < cells && !AddSets(slot, change, cell, cells - cell)) return false;
  sequence.writable = end > sequence.blocks * bs || sequence.diverged;
  sequence.planned = end;
  WriteSlots(slot, entry, position);
  return true;
}

void Manager::State::WriteSlots(std::uint32_t slot, const StepEntry& entry,
                                std::uint32_t first_written) {
  Step& step = steps[slot];
  const std::uint32_t bs = config.block_size;
  for (std::uint32_t group = 0; group < groups; ++group) {
    std::uint32_t* slots = StepWords(slot) + layout.step_slots +
                           std::uint64_t{group} * config.max_batch_tokens + step.queries;
    const std::uint32_t* row = Row(entry.sequence, group);
    std::uint32_t position = entry.begin;
    while (position < first_written) *slots++ = kNone, position++;
    while (position < entry.end) {
      const std::uint32_t stop = std::min(entry.end, position - position % bs + bs);
      std::uint32_t out = row[position / bs] * bs + position % bs;
      for (; position < stop; ++position) *slots++ = out++;
    }
  }
  step.queries += entry.end - entry.begin;
}

// Writes where each sequence's tokens stand.
void Manager::State::TellEntries(std::uint32_t slot) {
  const Step& step = steps[slot];
  std::uint32_t* const words = StepWords(slot);
  std::uint32_t* rows = words + layout.step_rows;
  std::uint32_t* past = words + layout.step_past;
  std::uint32_t* skipped = words + layout.step_skipped;
  std::uint32_t* cumulative = words + layout.step_cumulative;
  std::uint32_t query = 0;
  for (const StepEntry& entry : step.entries) {
    *rows++ = entry.sequence;
    *past++ = entry.begin;
    *skipped++ = entry.skipped;
    *cumulative++ = query;
    query += entry.end - entry.begin;
  }
  *cumulative = query;
}

// Writes the entries, the moves, the changed cells and the header.
void Manager::State::TellStep(std::uint32_t slot) {
  Step& step = steps[slot];
  std::uint32_t* words = StepWords(slot);
  TellEntries(slot);
  step_serial++;
  std::uint32_t updates = 0;
  for (EntryChange& change : step.changes) {
    Sequence& sequence = sequences[change.sequence];
    if (sequence.dirty_begin == kNone) continue;
    std::uint32_t* record = words + layout.step_updates + std::uint64_t{updates++} * 3;
    record[0] = change.sequence;
    record[1] = change.update_begin = sequence.dirty_begin;
    record[2] = sequence.dirty_end - sequence.dirty_begin;
    change.update_end = sequence.dirty_end;
    sequence.dirty_begin = kNone;
    shared[layout.row_serials + change.sequence] = step_serial;
  }
  std::uint32_t* record = words + layout.step_offloads;
  const auto tell_offloads = [&](const std::vector<BlockId>& from, const std::vector<BlockId>& to) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (from[i] == kNone) continue;
      const auto group = static_cast<std::uint32_t>(i % groups);
      record[0] = group;
      record[1] = from[i];
      record[2] = pools[group].HostNumber(to[i]);
      record += 3;
    }
  };
  tell_offloads(step.offload_sources, step.arrivals);
  tell_offloads(step.mirror_sources, step.mirror_targets);
  record = words + layout.step_onboards;
  for (std::size_t i = 0; i < step.onboard_hosts.size(); ++i, record += 3) {
    const auto group = static_cast<std::uint32_t>(i % groups);
    record[0] = group;
    record[1] = pools[group].HostNumber(step.onboard_hosts[i]);
    record[2] =
        step.sets[std::size_t{step.onboards[i / groups].set} * groups + group] & ~kFromClaim;
  }
  words[kStepGeneration] = step.generation;
  words[kStepBatch] = static_cast<std::uint32_t>(step.entries.size());
  words[kStepTokens] = step.queries;
  words[kStepOffloads] = step.offloads * groups;
  words[kStepOnboards] = static_cast<std::uint32_t>(step.onboard_hosts.size());
  words[kStepCopies] = step.copies;
  words[kStepUpdates] = updates;
  words[kStepHostHits] = step.host_hits;
  words[kStepSerial] = step_serial;
}

// What a batch is short of, of which a sequence of `whom` did not fit. Where its quota is narrower
// than the pool, only what is of that partition counts.
Shortage Manager::State::ShortageOf(std::uint32_t count, PartitionId whom) const {
  Shortage shortage;
  std::uint32_t in_pool = kNone;
  shortage.free = kNone;
  for (const BlockPool& pool : pools) {
    const std::uint32_t free = pool.device_free();
    in_pool = std::min(in_pool, free + EvictableFor(whom, Tier::kDevice));
    shortage.free = std::min(shortage.free, RoomFor(whom, Tier::kDevice, free, 0));
  }
  const bool by_quota = shortage.free < in_pool;
  for (std::uint32_t number = 0; number < count; ++number) {
    const std::uint32_t* given = shared + layout.batch_entries + number * kBatchEntryWords;
    if (by_quota && PartitionOf(sequences[given[0]].run) != whom) continue;
    shortage.needed += BlocksFor(given[0], given[3] & kCountMask);
  }
  // What a prompt finds in the cache is evictable only until it holds it: the plan knew, this count
  // does not.
  shortage.needed = std::max(shortage.needed, shortage.free + 1);
  shortage.in_flight = by_quota ? InFlightOf(whom) : InFlightDevice();
  return shortage;
}

// What so many tokens more of a sequence need.
std::uint32_t Manager::State::BlocksFor(SequenceId id, std::uint32_t tokens) const {
  const Sequence& sequence = sequences[id];
  const std::uint32_t bs = config.block_size;
  const std::uint32_t end = sequence.planned + tokens;
  std::uint32_t blocks = (end + bs - 1) / bs - (sequence.planned + bs - 1) / bs;
  const bool inside = !sequence.diverged && sequence.planned < sequence.blocks * bs;
  const bool shared_tail = sequence.tail != kNone && tails[sequence.tail].holders > 1;
  if (inside || (shared_tail && sequence.steps == 0)) blocks++;
  for (RunId run = sequence.run; index.IsHost(run); run = index.run(run).parent) {
    if ((index.run(run).flags & kRunOnboarding) == 0) blocks += index.run(run).length;
  }
  if (sequence.tail != kNone && pools[0].IsHost(TailSet(sequence.tail)[0])) blocks++;
  return blocks;
}

std::uint32_t Manager::State::InFlightDevice() const {
  std::size_t blocks = 0;
  for (const Transfer& transfer : transfers) blocks += transfer.device_sets.size() / groups;
  for (const std::uint32_t slot : open_steps) {
    blocks += steps[slot].deferred.size() / groups;
    blocks += steps[slot].entries.size();  // at most a copy each
  }
  return static_cast<std::uint32_t>(blocks);
}

}  // namespace pagedkv
