// Executing plans on memory of numbers, and reading back what every sequence should find there.

#include <algorithm>
#include <numeric>
#include <sstream>
#include <utility>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {
namespace {

// The same token has another key in another group of layers.
Value InGroup(Value value, std::uint32_t group) {
  return value + group * 0x5851F42D4C957F2Dull;
}

const Move* FindTarget(const std::vector<Move>& moves, std::uint32_t group, std::uint32_t block) {
  for (const Move& move : moves) {
    if (move.group == group && move.to == block) return &move;
  }
  return nullptr;
}

std::uint32_t Cells(std::size_t tokens, std::uint32_t block_size) {
  return static_cast<std::uint32_t>((tokens + block_size - 1) / block_size);
}

}  // namespace

void SimulatedDevice::WriteBatch(const std::vector<Entry>& entries) {
  const std::uint32_t limit = config_.max_batch_sequences;
  std::uint64_t cursor = layout_.batch_tokens;
  const std::uint64_t end = layout_.batch_tokens + config_.max_batch_tokens;
  for (std::uint32_t i = 0; i < entries.size() && i < limit; ++i) {
    const Entry& entry = entries[i];
    const SequenceHandle handle = sequences_[entry.sequence].handle;
    std::uint32_t* record = &words_[layout_.batch_entries + i * kBatchEntryWords];
    record[0] = handle.slot;
    record[1] = handle.generation;
    record[2] = handle.nonce;
    record[3] = static_cast<std::uint32_t>(entry.tokens.size()) | (entry.is_guess ? kGuesses : 0);
    if (entry.is_count_only) {
      record[3] |= kCountOnly;
      continue;
    }
    for (const Token token : entry.tokens) {
      if (cursor < end) words_[cursor++] = token;
    }
  }
}

// What the plan says must agree with what was asked for.
void SimulatedDevice::ReadPlan(Step& step) {
  const auto batch = static_cast<std::uint32_t>(step.entries.size());
  CHECK(step.handle.slot < config_.max_open_steps);
  CHECK_EQ(StepWordAt(step, kStepGeneration), step.handle.generation);
  CHECK_EQ(StepWordAt(step, kStepBatch), batch);
  CHECK_EQ(StepWordAt(step, layout_.step_cumulative), 0);
  std::uint32_t query = 0;
  for (std::uint32_t i = 0; i < batch; ++i) {
    StepEntry& entry = step.entries[i];
    const std::uint32_t slot = sequences_[entry.given.sequence].handle.slot;
    entry.skipped = StepWordAt(step, layout_.step_skipped + i);
    CHECK(entry.skipped < std::max<std::size_t>(entry.given.tokens.size(), 1));
    if (entry.given.is_count_only || entry.given.is_guess) CHECK_EQ(entry.skipped, 0);
    CHECK_EQ(StepWordAt(step, layout_.step_rows + i), slot);
    CHECK_EQ(StepWordAt(step, layout_.step_past + i), entry.base + entry.skipped);
    query += static_cast<std::uint32_t>(entry.given.tokens.size()) - entry.skipped;
    CHECK_EQ(StepWordAt(step, layout_.step_cumulative + i + 1), query);
    const std::uint32_t cells = Cells(entry.values.size(), config_.block_size);
    for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
      const std::uint32_t* row = &words_[layout_.block_tables + RowOffset(g, slot)];
      entry.rows.emplace_back(row, row + cells);
    }
  }
  CHECK_EQ(StepWordAt(step, kStepTokens), query);
  CHECK(StepWordAt(step, kStepUpdates) <= config_.max_batch_sequences);
}

// Remembers which blocks the step shares with others, and which sequences it brings from the host.
void SimulatedDevice::NoteBlocks(Step& step) {
  for (const Move& move : Moves(step, kStepOnboards, layout_.step_onboards, 3)) {
    step.onboarded.emplace(move.group, move.to);
  }
  step.shared = step.onboarded;
  for (const Move& move : Moves(step, kStepCopies, layout_.step_copies, 4)) {
    step.shared.emplace(move.group, move.from);
  }
  step.used = step.shared;
  std::set<GroupBlock> arriving = step.onboarded;
  for (const StepId id : OpenSteps()) {
    arriving.insert(steps_[id].onboarded.begin(), steps_[id].onboarded.end());
  }
  for (StepEntry& entry : step.entries) {
    for (std::uint32_t g = 0; g < entry.rows.size(); ++g) {
      for (const BlockId block : entry.rows[g]) step.used.emplace(g, block);
    }
  }
  // Which sequence needs which of these cannot be seen where one copies a part and lets the block
  // go.
  const bool may_share =
      std::any_of(arriving.begin(), arriving.end(),
                  [&](const GroupBlock& block) { return step.used.contains(block); });
  for (StepEntry& entry : step.entries) {
    if (!may_share) break;
    entry.had_row = false;
    sequences_[entry.given.sequence].was_on_host = true;
  }
}

void SimulatedDevice::PoisonBlock(std::vector<Value>& memory, std::uint32_t block) {
  CHECK((std::size_t{block} + 1) * config_.block_size <= memory.size());
  const auto first =
      memory.begin() + static_cast<std::ptrdiff_t>(std::size_t{block} * config_.block_size);
  std::fill_n(first, config_.block_size, kPoison);
}

void SimulatedDevice::ApplyMoves(const Step& step) {
  const auto copy = [&](const std::vector<Value>& from, std::uint32_t from_block,
                        std::vector<Value>& to, const Move& move) {
    PoisonBlock(to, move.to);
    CHECK((std::size_t{from_block} + 1) * config_.block_size <= from.size());
    CHECK(move.tokens <= config_.block_size);
    for (std::size_t i = 0; i < move.tokens; ++i) {
      to[std::size_t{move.to} * config_.block_size + i] =
          from[std::size_t{from_block} * config_.block_size + i];
    }
  };
  const auto offloads = Moves(step, kStepOffloads, layout_.step_offloads, 3);
  for (const Move& move : offloads) {
    copy(device_[move.group], move.from, host_[move.group], move);
  }
  for (const Move& move : Moves(step, kStepOnboards, layout_.step_onboards, 3)) {
    // Else a device that stages both directions at once could not execute the plan.
    CHECK(FindTarget(offloads, move.group, move.from) == nullptr);
    copy(host_[move.group], move.from, device_[move.group], move);
  }
  PoisonFreshBlocks(step);
  for (const Move& move : Moves(step, kStepCopies, layout_.step_copies, 4)) {
    CHECK(move.tokens > 0);
    CHECK(move.from != move.to);
    copy(device_[move.group], move.from, device_[move.group], move);
  }
}

// A block whose first slot will be written was just taken: nothing in it may matter.
void SimulatedDevice::PoisonFreshBlocks(const Step& step) {
  const std::uint32_t size = config_.block_size;
  for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
    std::uint64_t query = layout_.step_slots + g * config_.max_batch_tokens;
    for (const StepEntry& entry : step.entries) {
      const std::uint32_t past = entry.base + entry.skipped;
      for (std::size_t at = past; at < entry.values.size(); ++at) {
        const std::uint32_t slot = StepWordAt(step, query++);
        if (slot != kNone && at % size == 0) PoisonBlock(device_[g], slot / size);
      }
    }
  }
}

// A failed execution may have done any part of what it was to do.
void SimulatedDevice::SpoilTargets(const Step& step) {
  for (const Move& move : Moves(step, kStepOffloads, layout_.step_offloads, 3)) {
    PoisonBlock(host_[move.group], move.to);
  }
  for (const Move& move : Moves(step, kStepOnboards, layout_.step_onboards, 3)) {
    PoisonBlock(device_[move.group], move.to);
  }
  PoisonFreshBlocks(step);
  for (const Move& move : Moves(step, kStepCopies, layout_.step_copies, 4)) {
    PoisonBlock(device_[move.group], move.to);
  }
}

void SimulatedDevice::UploadTables(const Step& step) {
  const std::uint32_t updates = StepWordAt(step, kStepUpdates);
  for (std::uint32_t i = 0; i < updates; ++i) {
    const std::uint64_t at = layout_.step_updates + i * 3;
    const std::uint32_t row = StepWordAt(step, at);
    const std::uint32_t first = StepWordAt(step, at + 1);
    const std::uint32_t cells = StepWordAt(step, at + 2);
    CHECK(row < config_.max_sequences);
    CHECK(std::uint64_t{first} + cells <= config_.max_blocks_per_sequence());
    for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
      const std::uint64_t from = RowOffset(g, row) + first;
      std::copy_n(&words_[layout_.block_tables + from], cells,
                  uploaded_.begin() + static_cast<std::ptrdiff_t>(from));
    }
  }
}

void SimulatedDevice::Perform(Step& step) {
  ApplyMoves(step);
  UploadTables(step);
  Forward(step);
}

void SimulatedDevice::Forward(Step& step) {
  CheckPast(step);
  WriteQuery(step);
  CheckPast(step);
}

// Whether a query at a position, or a later one, reads a cell of a group's block table.
bool SimulatedDevice::IsRead(std::uint32_t group, std::uint32_t position,
                             std::uint32_t cell) const {
  const GroupConfig& kind = config_.groups[group];
  const std::uint32_t first = cell * config_.block_size;
  return first + config_.block_size > kind.NeededFrom(position) || first < kind.sinks;
}

// The uploaded tables must name what the core meant, and every past token must be there.
void SimulatedDevice::CheckPast(const Step& step) const {
  for (const StepEntry& entry : step.entries) {
    const std::uint32_t slot = sequences_[entry.given.sequence].handle.slot;
    const std::uint32_t past = entry.base + entry.skipped;
    for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
      const std::uint64_t offset = RowOffset(g, slot);
      for (std::size_t cell = 0; cell < entry.rows[g].size(); ++cell) {
        if (!IsRead(g, past, static_cast<std::uint32_t>(cell))) continue;
        const BlockId block = uploaded_[offset + cell];
        CHECK(block < config_.groups[g].device_blocks);
        // A duplicate may have ended since, by the commit of an older step.
        const BlockId live = words_[layout_.block_tables + offset + cell];
        if (block != live) CHECK_EQ(block, entry.rows[g][cell]);
      }
      for (std::uint32_t at = 0; at < past; ++at) {
        if (!IsRead(g, past, at / config_.block_size)) continue;
        const BlockId block = uploaded_[offset + at / config_.block_size];
        const Value value = ValueAt(g, {false, block}, at % config_.block_size);
        CHECK_EQ(value, InGroup(entry.values[at], g));
      }
    }
  }
}

void SimulatedDevice::WriteQuery(Step& step) {
  const std::uint32_t size = config_.block_size;
  step.written.resize(config_.groups.size());
  for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
    std::uint64_t query = layout_.step_slots + g * config_.max_batch_tokens;
    for (const StepEntry& entry : step.entries) {
      const std::uint64_t offset = RowOffset(g, sequences_[entry.given.sequence].handle.slot);
      for (std::size_t at = entry.base + entry.skipped; at < entry.values.size(); ++at) {
        const std::uint32_t slot = StepWordAt(step, query++);
        const auto offset_in_block = static_cast<std::uint32_t>(at % size);
        const std::uint32_t expected = uploaded_[offset + at / size] * size + offset_in_block;
        if (slot == kNone) {
          CHECK(!config_.always_writes);
          CHECK_EQ(device_[g][expected], InGroup(entry.values[at], g));
          continue;
        }
        CHECK_EQ(slot, expected);
        CHECK(std::find(step.written[g].begin(), step.written[g].end(), slot) ==
              step.written[g].end());
        device_[g][slot] = InGroup(entry.values[at], g);
        step.written[g].push_back(slot);
      }
    }
  }
}

// Nobody but the aborted step may have seen what it wrote.
void SimulatedDevice::ForgetWritten(Step& step) {
  for (std::uint32_t g = 0; g < step.written.size(); ++g) {
    for (const std::uint32_t slot : step.written[g]) device_[g][slot] = kPoison;
    step.written[g].clear();
  }
}

void SimulatedDevice::CopyMoves(const std::vector<Move>& moves) {
  for (const Move& move : moves) {
    PoisonBlock(host_[move.group], move.to);
    for (std::uint32_t i = 0; i < config_.block_size; ++i) {
      host_[move.group][move.to * config_.block_size + i] =
          ValueAt(move.group, {false, move.from}, i);
    }
  }
}

void SimulatedDevice::BeginTransfer(TransferId id) {
  Transfer& transfer = transfers_[id];
  CHECK_EQ(manager_->BeginTransfer(transfer.ticket), Status::kOk);
  ++changes_;
  transfer.is_begun = true;
  transfer.is_early = ++coin_ % 2 == 0;
  if (transfer.is_early) CopyMoves(transfer.moves);
  Check();
}

void SimulatedDevice::EndTransfer(TransferId id, bool ok) {
  Transfer& transfer = transfers_[id];
  if (!ok) {
    for (const Move& move : transfer.moves) PoisonBlock(host_[move.group], move.to);
  } else if (!transfer.is_early) {
    CopyMoves(transfer.moves);
  }
  CHECK_EQ(manager_->EndTransfer(transfer.ticket, ok), Status::kOk);
  ++changes_;
  transfer.is_ended = true;
  Check();
}

Value SimulatedDevice::ValueAt(std::uint32_t group, Place place, std::uint32_t offset) const {
  const std::vector<Value>& memory = place.is_on_host ? host_[group] : device_[group];
  const std::size_t at = std::size_t{place.block} * config_.block_size + offset;
  CHECK(at < memory.size());
  return memory[at];
}

// Where the content lies now that `place` will have once the first `steps` pending steps were
// executed.
SimulatedDevice::Place SimulatedDevice::Resolve(std::uint32_t group, Place place,
                                                std::size_t steps) const {
  if (steps == 0 && !place.is_on_host) return place;
  if (steps > 0 && !place.is_on_host) {
    const Move* copy = FindTarget(pending_[steps - 1].copies, group, place.block);
    if (copy) place.block = copy->from;
  }
  return ResolveBeforeCopies(group, place, steps);
}

SimulatedDevice::Place SimulatedDevice::ResolveBeforeCopies(std::uint32_t group, Place place,
                                                            std::size_t steps) const {
  if (!place.is_on_host) {
    if (steps == 0) return place;
    const Move* onboard = FindTarget(pending_[steps - 1].onboards, group, place.block);
    if (onboard) return ResolveBeforeCopies(group, {true, onboard->from}, steps);
    return Resolve(group, place, steps - 1);
  }
  if (steps > 0) {
    const Move* offload = FindTarget(pending_[steps - 1].offloads, group, place.block);
    if (offload) return Resolve(group, {false, offload->from}, steps - 1);
    return Resolve(group, place, steps - 1);
  }
  for (const Transfer& transfer : transfers_) {
    if (transfer.is_ended) continue;
    const Move* move = FindTarget(transfer.moves, group, place.block);
    if (move) return {false, move->from};
  }
  return place;
}

void SimulatedDevice::ReadBack(SequenceId id) const {
  const Sequence& sequence = sequences_[id];
  const std::uint32_t slot = sequence.handle.slot;
  CHECK_EQ(words_[layout_.sequence_generation + slot], sequence.handle.generation);
  CHECK_EQ(words_[layout_.sequence_length + slot], sequence.tokens.size());
  CHECK(State(id) != SequenceState::kClosed);
  if (!sequence.has_row) return;
  for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
    const std::vector<BlockId> row = Row(id, g);
    for (std::uint32_t cell = 0; cell < row.size(); ++cell) {
      if (!IsRead(g, static_cast<std::uint32_t>(sequence.values.size()), cell)) continue;
      const std::uint32_t device_blocks = config_.groups[g].device_blocks;
      CHECK(row[cell] < device_blocks + config_.groups[g].host_blocks);
      Place place{row[cell] >= device_blocks, row[cell]};
      if (place.is_on_host) place.block -= device_blocks;
      place = Resolve(g, place, pending_.size());
      const std::size_t first = std::size_t{cell} * config_.block_size;
      for (std::uint32_t i = 0; i < config_.block_size; ++i) {
        if (first + i >= sequence.values.size()) break;
        CHECK_EQ(ValueAt(g, place, i), InGroup(sequence.values[first + i], g));
      }
    }
  }
}

void SimulatedDevice::CheckTier(const TierStats& tier, std::uint32_t total) const {
  CHECK_EQ(tier.total, total);
  const auto parts = {tier.free, tier.mirrors, tier.cached, tier.held, tier.in_flight};
  const bool adds_up = std::accumulate(parts.begin(), parts.end(), std::uint64_t{0}) == total;
  if (adds_up && std::max(parts) <= total) return;
  std::ostringstream what;
  what << "of " << total << " blocks, " << tier.free << " are free, " << tier.mirrors
       << " mirrors, " << tier.cached << " cached, " << tier.held << " held, " << tier.in_flight
       << " in flight";
  Fail(__FILE__, __LINE__, what.str());
}

void SimulatedDevice::Check() {
  const Manager::Validation validation = manager_->Validate();
  CHECK_EQ(std::string(validation.broken ? validation.broken : ""), "");
  const Stats stats = manager_->GetStats();
  CheckTier(stats.device, config_.groups[0].device_blocks);
  CheckTier(stats.host, config_.groups[0].host_blocks);
  watch_.Check(*manager_, std::exchange(acting_, std::nullopt));
  FollowEvents();
  pending_.clear();
  for (const StepId id : OpenSteps()) {
    if (steps_[id].stage == Stage::kFailed) return;  // its targets hold nothing until it is aborted
    if (steps_[id].stage != Stage::kScheduled) continue;
    pending_.push_back({Offloads(id), Onboards(id), Copies(id)});
  }
  for (const SequenceId id : OpenSequences()) ReadBack(id);
}

}  // namespace pagedkv::test
