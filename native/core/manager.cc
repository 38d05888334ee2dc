// Construction, and sequences: opening, forking, truncating, closing.
#include "manager.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>

#include "manager_state.h"

namespace pagedkv {
namespace {

std::uint64_t Secret() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) ^ device();
}

std::uint32_t NewBlocksPerStep(const Config& config) {
  return config.max_batch_tokens / config.block_size + 2 * config.max_batch_sequences;
}

std::uint32_t SetsPerStep(const Config& config) {
  return NewBlocksPerStep(config) + config.max_step_transfers;
}

std::uint64_t Claims(const Config& config) {
  const std::uint64_t claims =
      2 * std::uint64_t{SetsPerStep(config)} * config.groups.size() * config.max_open_steps;
  // An entry that has no block in a group makes no room there: then all of them may be claimed.
  const GroupConfig& first = config.groups[0];
  const std::uint64_t entries = std::uint64_t{first.device_blocks} + first.host_blocks;
  return std::bit_ceil(config.has_local_groups() ? std::max(claims, entries) : claims);
}

// The first group counts for all, so what it has is given back with the entry. Blocks behind move
// to no host.
bool IsLocalConfig(const Config& config, const GroupConfig& group) {
  return !config.groups[0].is_local() && group.host_blocks == 0 && group.rollback >= 1 &&
         (group.window == 0 || group.chunk == 0);
}

}  // namespace

Status Manager::CheckConfig(const Config& c) {
  const auto within = [](std::uint64_t value, std::uint64_t most) {
    return value >= 1 && value <= most;
  };
  const bool limits =
      within(c.block_size, kMaxBlockSize) && within(c.groups.size(), kMaxGroups) &&
      within(c.max_sequences, kMaxSequences) && within(c.max_sequence_tokens, kMaxSequenceTokens) &&
      within(c.max_batch_sequences, c.max_sequences) && within(c.max_batch_tokens, 1u << 24) &&
      within(c.max_open_steps, kMaxOpenSteps) && c.max_step_transfers <= 2 * kMaxBlocksPerPool &&
      within(c.min_partial_tokens, c.block_size) && c.policy <= PolicyKind::kAdaptive &&
      c.host_mode <= HostMode::kInclusive && c.host_write <= HostWrite::kSecondUse &&
      c.onboard <= OnboardPolicy::kNever && c.low_water <= c.high_water;
  if (!limits) return Status::kInvalidConfig;
  for (const GroupConfig& group : c.groups) {
    if (!within(group.device_blocks, kMaxBlocksPerPool) || group.host_blocks > kMaxBlocksPerPool) {
      return Status::kInvalidConfig;
    }
    // Slots are int32 in the tables.
    if (std::uint64_t{group.device_blocks} * c.block_size > INT32_MAX)
      return Status::kInvalidConfig;
    if (group.is_local() && !IsLocalConfig(c, group)) return Status::kInvalidConfig;
    // A block moves to the host in every group, or in none.
    if ((group.host_blocks == 0) != (c.groups[0].host_blocks == 0)) return Status::kInvalidConfig;
  }
  return Status::kOk;
}

std::uint64_t Manager::MetadataBytes(const Config& config) {
  std::uint64_t bytes = PrefixIndex::MetadataBytes(config);
  const std::uint64_t set = config.groups.size() * sizeof(BlockId);
  for (const GroupConfig& group : config.groups) {
    bytes += (std::uint64_t{group.device_blocks} + group.host_blocks) * BlockPool::BytesPerBlock();
  }
  bytes += (std::uint64_t{config.groups[0].device_blocks} + config.groups[0].host_blocks) *
           Quotas::BytesPerBlock();
  if (config.has_mirrors()) {
    for (const GroupConfig& group : config.groups)
      bytes += std::uint64_t{group.host_blocks} * BlockPool::BytesPerMirror();
    bytes += std::bit_ceil(std::uint64_t{config.groups[0].device_blocks}) * sizeof(BlockId);
  }
  bytes += Claims(config) * (sizeof(Claim) + 2 * set);
  bytes += config.max_open_steps *
           (SetsPerStep(config) * (8 * set + sizeof(Onboard)) +
            config.max_batch_sequences * (sizeof(StepEntry) + sizeof(EntryChange)) +
            config.max_batch_tokens * sizeof(Token));
  bytes += std::uint64_t{config.max_sequences} *
           (sizeof(Sequence) + sizeof(Tail) + set + config.block_size * sizeof(Token) +
            kMaxRetentions * sizeof(Retention));
  return bytes;
}

Manager::State::State(const Config& c, std::uint32_t* memory)
    : config(c),
      groups(static_cast<std::uint32_t>(c.groups.size())),
      has_local_groups(c.has_local_groups()),
      row_cells(c.max_blocks_per_sequence()),
      layout(SharedLayout::For(c)),
      shared(memory),
      quotas(c.groups[0].device_blocks, c.groups[0].host_blocks),
      pools([&] {
        std::vector<BlockPool> made;
        for (const GroupConfig& group : c.groups)
          made.emplace_back(group.device_blocks, group.host_blocks, c.has_mirrors());
        return made;
      }()),
      keys(c.block_size),
      index(c, pools, keys, Secret()),
      sequences(c.max_sequences),
      tail_tokens(Zeroed<Token>(std::size_t{c.max_sequences} * c.block_size)),
      retentions(std::size_t{c.max_sequences} * kMaxRetentions),
      steps(c.max_open_steps),
      claim_mask(Claims(c) - 1),
      claims(claim_mask + 1),
      claim_sets(claims.size() * groups),
      claim_targets(claims.size() * groups),
      spare_claims(groups),
      mirrors(c.has_mirrors() ? c.groups[0].device_blocks : 0),
      costs(c.onboard) {
  free_sequences.reserve(c.max_sequences);
  for (SequenceId id = c.max_sequences; id-- > 0;) {
    sequences[id].generation = 1;
    free_sequences.push_back(id);
  }
  ReserveTails(c.max_sequences);
  const std::size_t sets = SetsPerStep(c);
  for (Step& step : steps) {
    step.generation = 1;
    step.entries.reserve(c.max_batch_sequences);
    step.changes.reserve(c.max_batch_sequences);
    step.ids.resize(c.max_batch_tokens);
    step.sets.reserve(sets * groups);
    step.onboards.reserve(c.max_step_transfers);
    step.onboard_hosts.reserve(std::size_t{c.max_step_transfers} * groups);
    step.arrivals.reserve(std::size_t{c.max_step_transfers} * groups);
    step.offload_sources.reserve(std::size_t{c.max_step_transfers} * groups);
    step.deferred.reserve(sets * groups);
    if (!c.has_mirrors()) continue;
    step.arrivals.reserve(sets * groups);  // those that take no transfer, too
    step.offload_sources.reserve(sets * groups);
    step.mirror_sources.reserve(std::size_t{c.max_step_transfers} * groups);
    step.mirror_targets.reserve(std::size_t{c.max_step_transfers} * groups);
    step.mirror_claims.reserve(c.max_step_transfers);
  }
  for (auto& spare : spare_claims) spare.reserve(sets * groups);
  open_steps.reserve(c.max_open_steps);
  path.reserve(row_cells);
  missing.reserve(row_cells);
  default_root = MakeRoot("");
}

// --- Handles ---

Status Manager::State::Check(SequenceHandle handle, SequenceId& id) const {
  id = handle.slot;
  return IsOpen(handle) ? Status::kOk : WhyNotOpen(handle);
}

Status Manager::State::WhyNotOpen(SequenceHandle handle) const {
  const bool was_open = handle.nonce == config.nonce && handle.slot < sequences.size() &&
                        handle.generation <= sequences[handle.slot].generation;
  return was_open ? Status::kSequenceClosed : Status::kSequenceForeign;
}

// --- Holds ---

RunId Manager::State::AncestorEnd(RunId run, std::uint32_t blocks) {
  while (index.run(run).parent != kNone && index.run(run).depth >= blocks)
    run = index.run(run).parent;
  if (index.run(run).parent == kNone) return run;
  return index.EndAfter(run, blocks - index.run(run).depth);
}

// Gives a hold back; what was cleared meanwhile, and is held no more, goes at once.
void Manager::State::ReleaseHold(RunId run, HoldKind kind) {
  const Run& held = index.run(run);
  const bool is_root = held.parent == kNone;
  const bool drops = (held.flags & kRunDetached) != 0 && held.active + held.parked == 1;
  index.Release(run, kind);
  if (drops) {
    while (index.run(run).parent != kNone && !index.IsHeld(run)) {
      const RunId parent = index.run(run).parent;
      DropSubtree(run);
      run = parent;
    }
    LostChild(run);
  } else if (is_root) {
    MaybeForgetRoot(run);
  }
}

void Manager::State::MoveHold(SequenceId id, std::uint32_t blocks) {
  Sequence& sequence = sequences[id];
  const RunId to = AncestorEnd(sequence.run, blocks);
  const RunId from = sequence.run;
  index.Acquire(to, KindOf(sequence));
  sequence.run = to;
  sequence.blocks = blocks;
  ReleaseHold(from, KindOf(sequence));
}

void Manager::State::TellSequence(SequenceId id) {
  const Sequence& sequence = sequences[id];
  const bool open = sequence.state != SequenceState::kClosed && !sequence.closing;
  shared[layout.sequence_generation + id] = sequence.generation;
  shared[layout.sequence_length + id] = sequence.length;
  shared[layout.sequence_cached + id] = sequence.cached;
  shared[layout.sequence_state + id] =
      static_cast<std::uint32_t>(open ? sequence.state : SequenceState::kClosed);
}

// --- Open, fork, truncate, close ---

void Manager::State::Attach(SequenceId id, const PrefixIndex::Match& match, std::uint32_t before,
                            std::uint32_t total) {
  Sequence& sequence = sequences[id];
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  const std::uint32_t found = before + match.tokens + part;
  const std::uint32_t usable = UsableOf(match, before, total);
  const std::uint32_t span = found == total ? total : usable;
  const std::uint32_t blocks = (span + config.block_size - 1) / config.block_size;
  RunId deepest = match.run;
  if (part > 0) {
    deepest = index.EndAfter(match.part_run, match.part_index + 1);
  } else if (index.run(deepest).parent != kNone) {
    deepest = index.EndAfter(deepest, match.count);
  }
  index.Acquire(deepest, HoldKind::kActive);
  sequence.run = deepest;
  sequence.blocks = blocks;
  sequence.length = sequence.planned = usable;
  sequence.truncated = false;
}

Manager::OpenResult Manager::State::Open(Tokens tokens, std::string_view name, KeyRanges ranges) {
  SequenceId id;
  const Status status = NewSequence(tokens, name, ranges, Opening::kTurn, id);
  return status == Status::kOk ? FinishOpen(id, tokens) : OpenResult{status, {}, 0};
}

Manager::OpenResult Manager::State::Pin(Tokens tokens, std::string_view name, KeyRanges ranges) {
  SequenceId id;
  const Status status = NewSequence(tokens, name, ranges, Opening::kPin, id);
  return status == Status::kOk ? FinishOpen(id, tokens) : OpenResult{status, {}, 0};
}

Manager::OpenResult Manager::State::FinishOpen(SequenceId id, Tokens tokens) {
  CountPrompt(id, tokens);
  stats.opens++;
  return {Status::kOk, HandleOf(id), sequences[id].cached};
}

Status Manager::State::NewSequence(Tokens tokens, std::string_view name, KeyRanges ranges,
                                   Opening opening, SequenceId& id) {
  if (tokens.empty()) return Status::kEmptyTokens;
  if (tokens.size() > config.max_sequence_tokens) return Status::kSequenceTooLong;
  if (!ExtraKeys::AreValid(ranges)) return Status::kInvalidKeys;
  if (free_sequences.empty()) return Status::kTooManySequences;
  NewKeyList list(keys, ranges);
  if (!EnsureRuns(3)) return Status::kIndexFull;
  const RunId root = MakeRoot(name);
  if (root == kNone) return Status::kIndexFull;
  id = free_sequences.back();
  free_sequences.pop_back();
  Sequence& sequence = sequences[id];
  const std::uint32_t generation = sequence.generation;
  sequence = Sequence{};
  sequence.generation = generation;
  sequence.state = SequenceState::kActive;
  sequence.keys = list.Take();
  sequence.turn.is_told = opening != Opening::kPrefetch;
  MatchPrompt(id, root, tokens, opening == Opening::kTurn);
  QueueFound(sequence.run);
  stats.sequences++;
  return Status::kOk;
}

// As if it had not been opened: what it found stands where it stood.
void Manager::State::UndoOpen(SequenceId id) {
  Sequence& sequence = sequences[id];
  const RunId run = sequence.run;
  const std::uint32_t generation = sequence.generation;
  keys.ReleaseList(sequence.keys);
  sequence = Sequence{};
  sequence.generation = generation;
  if (index.run(run).parent == kNone || index.IsDetached(run)) {
    ReleaseHold(run, HoldKind::kActive);
  } else {
    index.UndoAcquire(run, HoldKind::kActive);
  }
  free_sequences.push_back(id);
  stats.sequences--;
  TellSequence(id);
}

void Manager::State::CountPrompt(SequenceId id, Tokens tokens) {
  const Sequence& sequence = sequences[id];
  stats.prompt_tokens += tokens.size();
  stats.hit_tokens += sequence.length;
  for (RunId run = sequence.run; run != kNone && index.IsHost(run); run = index.run(run).parent) {
    stats.host_hit_tokens += std::min(index.run(run).length * config.block_size,
                                      sequence.length - index.run(run).depth * config.block_size);
  }
}

void Manager::State::MatchPrompt(SequenceId id, RunId root, Tokens tokens, bool weighs) {
  Sequence& sequence = sequences[id];
  const auto total = static_cast<std::uint32_t>(tokens.size());
  const RunId from = sequence.run;
  PrefixIndex::Match match = index.Find(root, {}, tokens, keys.CursorOf(sequence.keys));
  if (sequence.turn.is_told && index.policy().remembers()) TellOpened(id, match, tokens);
  CutToServed(match, 0, total);
  if (weighs) WeighPrompt(id, match, total);
  Attach(id, match, 0, total);
  if (from != kNone) ReleaseHold(from, HoldKind::kActive);
  sequence.cached = sequence.length;
  sequence.resident = !index.IsHost(sequence.run);
  if (sequence.resident) FillRow(id);
  TellSequence(id);
}

Manager::OpenResult Manager::State::Resume(SequenceHandle handle, Tokens tokens,
                                           std::optional<KeyRanges> ranges) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return {status, {}, 0};
  Sequence& sequence = sequences[id];
  if (sequence.state != SequenceState::kDropped) return {Status::kSequenceNotDropped, {}, 0};
  if (tokens.empty()) return {Status::kEmptyTokens, {}, 0};
  if (tokens.size() > config.max_sequence_tokens) return {Status::kSequenceTooLong, {}, 0};
  if (ranges && !ExtraKeys::AreValid(*ranges)) return {Status::kInvalidKeys, {}, 0};
  NewKeyList list(keys, ranges.value_or(KeyRanges()));
  if (!EnsureRuns(3)) return {Status::kIndexFull, {}, 0};
  if (ranges) {
    keys.ReleaseList(sequence.keys);
    sequence.keys = list.Take();
  }
  sequence.state = SequenceState::kActive;
  sequence.computed = false;
  MatchPrompt(id, RootOf(sequence.run), tokens, true);
  CountPrompt(id, tokens);
  return {Status::kOk, handle, sequence.cached};
}

Manager::OpenResult Manager::State::Fork(SequenceHandle handle, std::uint32_t at) {
  SequenceId parent_id;
  if (const Status status = Check(handle, parent_id); status != Status::kOk) return {status, {}, 0};
  if (sequences[parent_id].state == SequenceState::kDropped)
    return {Status::kSequenceDropped, {}, 0};
  if (at > sequences[parent_id].length) return {Status::kBeyondEnd, {}, 0};
  at = ServedLength(sequences[parent_id], at);
  if (free_sequences.empty()) return {Status::kTooManySequences, {}, 0};
  if (!EnsureRuns(3)) return {Status::kIndexFull, {}, 0};
  if (sequences[parent_id].steps == 0) ResolveTail(parent_id);
  const SequenceId id = free_sequences.back();
  free_sequences.pop_back();
  const Sequence& parent = sequences[parent_id];
  Sequence& child = sequences[id];
  const std::uint32_t generation = child.generation;
  child = Sequence{};
  child.generation = generation;
  child.state = parent.state;
  child.length = child.planned = child.cached = at;
  child.resident = parent.resident;
  child.turn = parent.turn;
  child.retentions = parent.retentions;
  std::copy_n(Retentions(parent_id), parent.retentions, Retentions(id));
  child.keys = parent.keys;
  keys.HoldList(child.keys);
  const std::uint32_t bs = config.block_size;
  child.blocks = std::min(parent.blocks, (at + bs - 1) / bs);
  child.run = AncestorEnd(parent.run, child.blocks);
  index.Acquire(child.run, KindOf(child));
  if (at > parent.blocks * bs) {
    child.tail = parent.tail;
    tails[child.tail].holders++;
    if (child.state == SequenceState::kActive) tails[child.tail].active++;
    std::memcpy(TailTokens(id), TailTokens(parent_id), (at - parent.blocks * bs) * sizeof(Token));
  }
  const bool has_row = child.resident && child.state == SequenceState::kActive;
  if (has_row && has_local_groups) {
    FillRow(id);
  } else if (has_row) {
    for (std::uint32_t group = 0; group < groups; ++group) {
      std::memcpy(Row(id, group), Row(parent_id, group), child.blocks * sizeof(BlockId));
    }
    MarkDirty(id, 0, child.blocks);
    // The parent's own cells at its end may belong to an open step already.
    if (child.tail != kNone) SetCell(id, child.blocks, TailSet(child.tail));
    if (child.blocks == parent.blocks && child.blocks > 0) SetHeldCell(id, child.blocks - 1);
  }
  stats.forks++;
  stats.sequences++;
  TellSequence(id);
  return {Status::kOk, HandleOf(id), at};
}

Status Manager::State::Truncate(SequenceHandle handle, std::uint32_t length) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return status;
  Sequence& sequence = sequences[id];
  if (sequence.state == SequenceState::kDropped) return Status::kSequenceDropped;
  if (sequence.steps != 0) return Status::kSequenceInStep;
  if (length > sequence.length) return Status::kBeyondEnd;
  if (length == sequence.length) return Status::kOk;
  length = ServedLength(sequence, length);
  if (!EnsureRuns(2)) return Status::kIndexFull;
  ResolveTail(id);
  const std::uint32_t bs = config.block_size;
  sequence.length = sequence.planned = length;
  sequence.cached = std::min(sequence.cached, length);
  sequence.recomputed_end = std::min(sequence.recomputed_end, length);
  if (length <= sequence.blocks * bs) {
    LeaveTail(id);
    sequence.truncated = true;
    const std::uint32_t blocks = (length + bs - 1) / bs;
    if (blocks < sequence.blocks) MoveHold(id, blocks);
  } else if (tails[sequence.tail].holders == 1) {
    tails[sequence.tail].used = length - sequence.blocks * bs;
  }
  // Others may have brought back what this row has no block for.
  if (has_local_groups && sequence.resident) FillRow(id);
  TellSequence(id);
  return Status::kOk;
}

void Manager::State::LetGo(SequenceId id) {
  ResolveTail(id);
  LeaveTail(id);
  MoveHold(id, 0);
}

Status Manager::State::Close(SequenceHandle handle, std::uint32_t reuse) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return status;
  sequences[id].reuse = reuse;
  if (sequences[id].steps != 0) {
    sequences[id].closing = true;
    closing_sequences++;
    TellSequence(id);
    return Status::kOk;
  }
  FinishClose(id);
  return Status::kOk;
}

void Manager::State::FinishClose(SequenceId id) {
  Sequence& sequence = sequences[id];
  LeaveTail(id);
  const RunId run = sequence.run;
  const HoldKind kind = KindOf(sequence);
  const std::uint32_t generation = sequence.generation;
  const bool is_over = sequence.reuse == kReuseNever && IsEnd(run);
  keys.ReleaseList(sequence.keys);
  if (sequence.turn.is_told) TellClosing(sequence);
  sequence = Sequence{};
  ReleaseHold(run, kind);
  index.policy().EndTurn();
  index.lists().EndTurn();
  if (is_over) ForgetEnd(run);
  // A slot whose generations are used up is retired: no stale handle ever meets a new sequence.
  sequence.generation = generation == kNone ? kNone : generation + 1;
  if (sequence.generation != kNone) free_sequences.push_back(id);
  stats.sequences--;
  TellSequence(id);
}

}  // namespace pagedkv
