// Sequences: opening, forking, truncating, closing; and what a prompt would find.
#include "manager.h"

#include <algorithm>
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

std::uint64_t ClaimsPerStep(const Config& config) {
  return 2 * std::uint64_t{SetsPerStep(config)} * config.groups.size();
}

std::unique_ptr<Token[], void (*)(Token*)> ZeroedTokens(std::size_t count) {
  void* memory = std::calloc(std::max<std::size_t>(count, 1), sizeof(Token));
  if (memory == nullptr) throw std::bad_alloc();
  return {static_cast<Token*>(memory), [](Token* pointer) { std::free(pointer); }};
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
      within(c.min_partial_tokens, c.block_size);
  if (!limits) return Status::kInvalidConfig;
  for (const GroupConfig& group : c.groups) {
    if (!within(group.device_blocks, kMaxBlocksPerPool) || group.host_blocks > kMaxBlocksPerPool) {
      return Status::kInvalidConfig;
    }
    // Slots are int32 in the tables.
    if (std::uint64_t{group.device_blocks} * c.block_size > INT32_MAX)
      return Status::kInvalidConfig;
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
  bytes += config.max_open_steps * (ClaimsPerStep(config) * (sizeof(Claim) + 2 * set) +
                                    SetsPerStep(config) * (6 * set + sizeof(Onboard)) +
                                    config.max_batch_sequences * sizeof(StepEntry) +
                                    config.max_batch_tokens * sizeof(Token));
  bytes += std::uint64_t{config.max_sequences} *
           (sizeof(Sequence) + sizeof(Tail) + set + config.block_size * sizeof(Token));
  return bytes;
}

Manager::State::State(const Config& c, std::uint32_t* memory)
    : config(c),
      groups(static_cast<std::uint32_t>(c.groups.size())),
      row_cells(c.max_blocks_per_sequence()),
      layout(SharedLayout::For(c)),
      shared(memory),
      pools([&] {
        std::vector<BlockPool> made;
        for (const GroupConfig& group : c.groups)
          made.emplace_back(group.device_blocks, group.host_blocks);
        return made;
      }()),
      index(c, pools, Secret()),
      sequences(c.max_sequences),
      tail_tokens(ZeroedTokens(std::size_t{c.max_sequences} * c.block_size)),
      steps(c.max_open_steps),
      claims(ClaimsPerStep(c) * c.max_open_steps),
      claim_sets(claims.size() * groups),
      claim_targets(claims.size() * groups),
      spare_claims(groups) {
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
    step.ids.resize(c.max_batch_tokens);
    step.sets.reserve(sets * groups);
    step.onboards.reserve(c.max_step_transfers);
    step.onboard_hosts.reserve(std::size_t{c.max_step_transfers} * groups);
    step.arrivals.reserve(std::size_t{c.max_step_transfers} * groups);
    step.offload_sources.reserve(std::size_t{c.max_step_transfers} * groups);
    step.deferred.reserve(sets * groups);
  }
  for (auto& spare : spare_claims) spare.reserve(sets * groups);
  open_steps.reserve(c.max_open_steps);
  path.reserve(row_cells);
  default_root = MakeRoot("");
}

// --- Handles and namespaces ---

Status Manager::State::Check(SequenceHandle handle, SequenceId& id) const {
  if (handle.nonce != config.nonce || handle.slot >= sequences.size())
    return Status::kSequenceForeign;
  const Sequence& sequence = sequences[handle.slot];
  if (handle.generation > sequence.generation) return Status::kSequenceForeign;
  if (handle.generation != sequence.generation || sequence.state == SequenceState::kClosed ||
      sequence.closing) {
    return Status::kSequenceClosed;
  }
  id = handle.slot;
  return Status::kOk;
}

RunId Manager::State::FindRoot(std::string_view name) const {
  if (name.empty()) return default_root;
  const auto found = roots.find(name);
  return found == roots.end() ? kNone : found->second;
}

RunId Manager::State::MakeRoot(std::string_view name) {
  const RunId known = FindRoot(name);
  if (known != kNone) return known;
  if (!EnsureRuns(1)) return kNone;
  const auto place = roots.emplace(std::string(name), kNone).first;
  const RunId root = index.AddRoot();
  try {
    root_names.emplace(root, place->first);
  } catch (...) {
    roots.erase(place);
    index.RemoveRoot(root);
    throw;
  }
  place->second = root;
  if (name.empty()) default_root = root;
  return root;
}

void Manager::State::MaybeForgetRoot(RunId root) {
  const Run& run = index.run(root);
  if (run.parent != kNone || run.length > 0 || root == default_root || run.children > 0 ||
      index.IsHeld(root)) {
    return;
  }
  const auto named = root_names.find(root);
  if (!index.IsDetached(root)) roots.erase(named->second);
  root_names.erase(named);
  index.RemoveRoot(root);
}

RunId Manager::State::RootOf(RunId run) const {
  while (index.run(run).parent != kNone) run = index.run(run).parent;
  return run;
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

// --- Rows ---

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
    Row(id, group)[cell] = set[group] & ~kFromClaim;
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

// --- Tails ---

// A sequence has at most one tail, and so has a transfer.
void Manager::State::ReserveTails(std::size_t count) {
  if (count <= tails.size()) return;
  tail_sets.resize(count * groups);
  tails.reserve(count);
  while (tails.size() < count) {
    tails.emplace_back().next_free = free_tail;
    free_tail = static_cast<TailId>(tails.size() - 1);
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
  tail.next_free = free_tail;
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

// --- Open, fork, truncate, close ---

void Manager::State::Attach(SequenceId id, const PrefixIndex::Match& match, std::uint32_t before,
                            std::uint32_t total) {
  Sequence& sequence = sequences[id];
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  const std::uint32_t found = before + match.tokens + part;
  const std::uint32_t usable = std::min(found, total - 1);
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

Manager::OpenResult Manager::State::Open(Tokens tokens, std::string_view name) {
  if (tokens.empty()) return {Status::kEmptyTokens, {}, 0};
  if (tokens.size() > config.max_sequence_tokens) return {Status::kSequenceTooLong, {}, 0};
  if (free_sequences.empty()) return {Status::kTooManySequences, {}, 0};
  if (!EnsureRuns(3)) return {Status::kIndexFull, {}, 0};
  const RunId root = MakeRoot(name);
  if (root == kNone) return {Status::kIndexFull, {}, 0};
  const SequenceId id = free_sequences.back();
  free_sequences.pop_back();
  Sequence& sequence = sequences[id];
  const std::uint32_t generation = sequence.generation;
  sequence = Sequence{};
  sequence.generation = generation;
  sequence.state = SequenceState::kActive;
  MatchPrompt(id, root, tokens);
  stats.opens++;
  stats.sequences++;
  return {Status::kOk, HandleOf(id), sequence.cached};
}

void Manager::State::MatchPrompt(SequenceId id, RunId root, Tokens tokens) {
  Sequence& sequence = sequences[id];
  const auto total = static_cast<std::uint32_t>(tokens.size());
  const RunId from = sequence.run;
  Attach(id, index.Find(root, {}, tokens), 0, total);
  if (from != kNone) ReleaseHold(from, HoldKind::kActive);
  sequence.cached = sequence.length;
  stats.prompt_tokens += total;
  stats.hit_tokens += sequence.length;
  sequence.resident = true;
  for (RunId run = sequence.run; run != kNone; run = index.run(run).parent) {
    if (!index.IsHost(run)) break;
    sequence.resident = false;
    stats.host_hit_tokens += std::min(index.run(run).length * config.block_size,
                                      sequence.length - index.run(run).depth * config.block_size);
  }
  if (sequence.resident) FillRow(id);
  TellSequence(id);
}

Manager::OpenResult Manager::State::Resume(SequenceHandle handle, Tokens tokens) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return {status, {}, 0};
  Sequence& sequence = sequences[id];
  if (sequence.state != SequenceState::kDropped) return {Status::kSequenceNotDropped, {}, 0};
  if (tokens.empty()) return {Status::kEmptyTokens, {}, 0};
  if (tokens.size() > config.max_sequence_tokens) return {Status::kSequenceTooLong, {}, 0};
  if (!EnsureRuns(3)) return {Status::kIndexFull, {}, 0};
  sequence.state = SequenceState::kActive;
  sequence.computed = false;
  MatchPrompt(id, RootOf(sequence.run), tokens);
  return {Status::kOk, handle, sequence.cached};
}

Manager::OpenResult Manager::State::Fork(SequenceHandle handle, std::uint32_t at) {
  SequenceId parent_id;
  if (const Status status = Check(handle, parent_id); status != Status::kOk) return {status, {}, 0};
  if (sequences[parent_id].state == SequenceState::kDropped)
    return {Status::kSequenceDropped, {}, 0};
  if (at > sequences[parent_id].length) return {Status::kBeyondEnd, {}, 0};
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
  if (child.resident && child.state == SequenceState::kActive) {
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

// The last held block, read from the index: an open step may have put a copy into the row.
void Manager::State::SetHeldCell(SequenceId id, std::uint32_t cell) {
  const RunId run = sequences[id].run;
  BlockId set[kMaxGroups];
  for (std::uint32_t group = 0; group < groups; ++group) {
    set[group] = index.block(run, cell - index.run(run).depth, group);
  }
  SetCell(id, cell, set);
}

Status Manager::State::Truncate(SequenceHandle handle, std::uint32_t length) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return status;
  Sequence& sequence = sequences[id];
  if (sequence.state == SequenceState::kDropped) return Status::kSequenceDropped;
  if (sequence.steps != 0) return Status::kSequenceInStep;
  if (length > sequence.length) return Status::kBeyondEnd;
  if (length == sequence.length) return Status::kOk;
  if (!EnsureRuns(2)) return Status::kIndexFull;
  ResolveTail(id);
  const std::uint32_t bs = config.block_size;
  sequence.length = sequence.planned = length;
  sequence.cached = std::min(sequence.cached, length);
  if (length <= sequence.blocks * bs) {
    LeaveTail(id);
    sequence.truncated = true;
    const std::uint32_t blocks = (length + bs - 1) / bs;
    if (blocks < sequence.blocks) MoveHold(id, blocks);
  } else if (tails[sequence.tail].holders == 1) {
    tails[sequence.tail].used = length - sequence.blocks * bs;
  }
  TellSequence(id);
  return Status::kOk;
}

void Manager::State::LetGo(SequenceId id) {
  ResolveTail(id);
  LeaveTail(id);
  MoveHold(id, 0);
}

Status Manager::State::Close(SequenceHandle handle) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return status;
  if (sequences[id].steps != 0) {
    sequences[id].closing = true;
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
  sequence = Sequence{};
  ReleaseHold(run, kind);
  // A slot whose generations are used up is retired: no stale handle ever meets a new sequence.
  sequence.generation = generation == kNone ? kNone : generation + 1;
  if (sequence.generation != kNone) free_sequences.push_back(id);
  stats.sequences--;
  TellSequence(id);
}

// --- What a prompt would find ---

Manager::LookupResult Manager::State::Lookup(Tokens tokens, std::string_view name) const {
  LookupResult result;
  const RunId root = FindRoot(name);
  if (root == kNone || tokens.empty()) return result;
  const PrefixIndex::Match match = index.Find(root, {}, tokens);
  const auto total = static_cast<std::uint32_t>(tokens.size());
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  const std::uint32_t found = std::min(match.tokens + part, total - 1);
  // Host runs stand below device runs, so the device part comes first.
  RunId run = part > 0 ? match.part_run : match.run;
  std::uint32_t device = found;
  while (index.run(run).parent != kNone && index.IsHost(run)) {
    device = std::min(device, index.run(run).depth * config.block_size);
    run = index.run(run).parent;
  }
  result.device_tokens = device;
  result.host_tokens = found - device;
  if (match.count == index.run(match.run).length) {
    const std::uint32_t most = total - 1 - found;
    const std::uint32_t ahead = Computing(match.run, tokens.subspan(match.tokens));
    result.computing_tokens = std::min(most, ahead - std::min(ahead, found - match.tokens));
  }
  return result;
}

// How many of `tokens`, which continue at the end of `run`, open steps are computing or hold
// unindexed.
std::uint32_t Manager::State::Computing(RunId run, Tokens tokens) const {
  std::uint32_t best = 0;
  for (const std::uint32_t slot : open_steps) {
    for (const StepEntry& entry : steps[slot].entries) {
      const Sequence& sequence = sequences[entry.sequence];
      if (sequence.run != run || sequence.diverged || sequence.planned != entry.end) continue;
      const std::uint32_t base = sequence.blocks * config.block_size;
      std::uint32_t agreed = 0;
      const std::uint32_t limit = static_cast<std::uint32_t>(tokens.size());
      const auto extend = [&](const Token* ids, std::uint32_t from, std::uint32_t end) {
        if (base + agreed != from) return;
        while (base + agreed < end && agreed < limit && ids[base + agreed - from] == tokens[agreed])
          agreed++;
      };
      if (sequence.tail != kNone) extend(TailTokens(entry.sequence), base, sequence.length);
      const std::uint32_t held = agreed;
      for (const std::uint32_t earlier : open_steps) {
        for (const StepEntry& other : steps[earlier].entries) {
          if (other.sequence != entry.sequence || (other.flags & kEntryKnown) == 0) continue;
          extend(&steps[earlier].ids[other.token_offset], other.begin, other.end);
        }
      }
      if (agreed > held) best = std::max(best, agreed);
    }
  }
  return best;
}

Manager::AdmissionResult Manager::State::Admission(Tokens tokens, std::string_view name) const {
  PrefixIndex::Match match;
  const RunId root = FindRoot(name);
  if (root != kNone) match = index.Find(root, {}, tokens);
  const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
  // A hit that nobody holds is evictable now and will not be once it is held: count it once.
  std::uint32_t unheld = 0;
  std::uint32_t onboards = 0;
  RunId run = part > 0 ? match.part_run : match.run;
  std::uint32_t count = part > 0 ? match.part_index + 1 : match.count;
  while (run != kNone && index.run(run).parent != kNone) {
    if (index.IsHost(run)) {
      onboards += count;
    } else if (index.run(run).list == kCachedDevice) {
      unheld += count;
    }
    run = index.run(run).parent;
    count = index.run(run).length;
  }
  std::uint64_t now = kNone;
  std::uint64_t after = kNone;
  for (const BlockPool& pool : pools) {
    const std::uint64_t free = pool.device_free();
    const std::uint64_t all = free + index.ListedBlocks(kCachedDevice) - unheld;
    now = std::min(now, free - std::min<std::uint64_t>(free, onboards));
    after = std::min(after, all - std::min<std::uint64_t>(all, onboards));
  }
  const auto in_tokens = [&](std::uint64_t blocks) {
    return blocks == 0 ? 0 : blocks * config.block_size - part;
  };
  return {in_tokens(now), in_tokens(after)};
}

// Drops what nobody holds below `root`, and marks the rest so that it goes with its last holder.
void Manager::State::Detach(RunId root) {
  // All that can fail comes first. Parents stand before their children.
  std::vector<RunId> runs{root};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunId at = runs[i];
    index.ForEachChild(at, [&](RunId child) { runs.push_back(child); });
  }
  for (std::size_t i = runs.size(); i-- > 0;) {
    if (index.IsHeld(runs[i])) {
      index.run(runs[i]).flags |= kRunDetached;
    } else {
      DropLeaf(runs[i]);
    }
  }
}

void Manager::State::ClearRoot(RunId root) {
  if (!index.IsHeld(root)) {
    DropChildren(root);
    MaybeForgetRoot(root);
    return;
  }
  // Those who hold it keep their blocks, and what they compute from now on stays theirs: it stands
  // on what was cleared. Those who have nothing yet begin anew.
  Detach(root);
  roots.erase(root_names.at(root));
  if (root == default_root) {
    default_root = kNone;
    MakeRoot("");
  }
  for (SequenceId id = 0; id < sequences.size(); ++id) {
    const Sequence& sequence = sequences[id];
    if (sequence.state == SequenceState::kClosed || sequence.planned > 0) continue;
    if (RootOf(sequence.run) != root) continue;
    BeginAnew(id);
    if (!root_names.contains(root)) return;
  }
}

// A sequence that holds nothing of a cleared namespace belongs to the one that is open under its
// name now.
void Manager::State::BeginAnew(SequenceId id) {
  Sequence& sequence = sequences[id];
  if (!index.IsDetached(sequence.run)) return;
  if (sequence.blocks > 0) MoveHold(id, 0);  // the source of a match that it has no token of
  const RunId cleared = sequence.run;
  const RunId root = MakeRoot(root_names.at(cleared));
  if (root == kNone) return;
  index.Acquire(root, KindOf(sequence));
  sequence.run = root;
  ReleaseHold(cleared, KindOf(sequence));
}

void Manager::State::Clear(std::optional<std::string_view> name) {
  if (name) {
    const RunId root = FindRoot(*name);
    if (root != kNone) ClearRoot(root);
    return;
  }
  std::vector<RunId> all;
  for (const auto& [_, root] : roots) all.push_back(root);
  for (const RunId root : all) ClearRoot(root);
}

// --- The public face ---

Manager::Manager(const Config& config, std::uint32_t* shared)
    : state_(std::make_unique<State>(config, shared)) {}
Manager::~Manager() = default;
const Config& Manager::config() const {
  return state_->config;
}
const SharedLayout& Manager::layout() const {
  return state_->layout;
}
Manager::OpenResult Manager::Open(Tokens tokens, std::string_view name) {
  return state_->Open(tokens, name);
}
Manager::LookupResult Manager::Lookup(Tokens tokens, std::string_view name) const {
  return state_->Lookup(tokens, name);
}
Manager::AdmissionResult Manager::Admission(Tokens tokens, std::string_view name) const {
  return state_->Admission(tokens, name);
}
Manager::OpenResult Manager::Fork(SequenceHandle sequence, std::uint32_t at) {
  return state_->Fork(sequence, at);
}
Status Manager::Truncate(SequenceHandle sequence, std::uint32_t length) {
  return state_->Truncate(sequence, length);
}
Manager::OpenResult Manager::Resume(SequenceHandle sequence, Tokens tokens) {
  return state_->Resume(sequence, tokens);
}
Status Manager::Close(SequenceHandle sequence) {
  return state_->Close(sequence);
}
Manager::ScheduleResult Manager::Schedule(std::uint32_t entries) {
  return state_->Schedule(entries);
}
Status Manager::BeginExecute(StepHandle step) {
  return state_->BeginExecute(step);
}
Status Manager::EndExecute(StepHandle step, bool ok) {
  return state_->EndExecute(step, ok);
}
Status Manager::Commit(StepHandle step, Tokens ids) {
  return state_->Commit(step, ids);
}
Status Manager::Abort(StepHandle step) {
  return state_->Abort(step);
}
Manager::PreemptResult Manager::Preempt(SequenceHandle sequence, PreemptMode mode) {
  return state_->Preempt(sequence, mode);
}
Status Manager::BeginTransfer(std::uint32_t ticket) {
  return state_->BeginTransfer(ticket);
}
Status Manager::EndTransfer(std::uint32_t ticket, bool ok) {
  return state_->EndTransfer(ticket, ok);
}
void Manager::Clear(std::optional<std::string_view> name) {
  state_->Clear(name);
}
Stats Manager::GetStats() const {
  return state_->GetStats();
}
Manager::Validation Manager::Validate() const {
  return state_->Validate();
}

}  // namespace pagedkv
