// What tests say often, in one word, and what the simulator knows.

#include <algorithm>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

SequenceId SimulatedDevice::Open(const TokenList& tokens, std::string_view name_space,
                                 const KeyList& keys) {
  const Opened opened = TryOpen(tokens, name_space, keys);
  CHECK_EQ(opened.status, Status::kOk);
  return opened.sequence;
}

SequenceId SimulatedDevice::Fork(SequenceId sequence, std::uint32_t at) {
  const Opened opened = TryFork(sequence, at);
  CHECK_EQ(opened.status, Status::kOk);
  return opened.sequence;
}

std::uint32_t SimulatedDevice::Resume(SequenceId sequence, const TokenList& tokens) {
  const Opened opened = TryResume(sequence, tokens);
  CHECK_EQ(opened.status, Status::kOk);
  return opened.cached;
}

void SimulatedDevice::Truncate(SequenceId sequence, std::uint32_t length) {
  CHECK_EQ(TryTruncate(sequence, length), Status::kOk);
}

void SimulatedDevice::Close(SequenceId sequence, std::uint32_t reuse) {
  CHECK_EQ(TryClose(sequence, reuse), Status::kOk);
}

StepId SimulatedDevice::Schedule(const std::vector<Entry>& entries) {
  const Scheduled scheduled = TrySchedule(entries);
  CHECK_EQ(scheduled.status, Status::kOk);
  return scheduled.step;
}

void SimulatedDevice::Execute(StepId step, bool ok) {
  CHECK_EQ(TryExecute(step, ok), Status::kOk);
}

void SimulatedDevice::Accept(StepId step, SequenceId sequence, std::uint32_t count) {
  CHECK_EQ(TryAccept(step, sequence, count), Status::kOk);
}

void SimulatedDevice::Commit(StepId step) {
  CHECK_EQ(TryCommit(step), Status::kOk);
}

void SimulatedDevice::Abort(StepId step) {
  CHECK_EQ(TryAbort(step), Status::kOk);
}

TransferId SimulatedDevice::Preempt(SequenceId sequence, PreemptMode mode) {
  const Preempted preempted = TryPreempt(sequence, mode);
  CHECK_EQ(preempted.status, Status::kOk);
  return preempted.transfer;
}

void SimulatedDevice::FinishTransfer(TransferId transfer, bool ok) {
  BeginTransfer(transfer);
  EndTransfer(transfer, ok);
}

void SimulatedDevice::SetQuota(std::string_view name_space, const Quota& quota) {
  CHECK_EQ(TrySetQuota(name_space, quota), Status::kOk);
}

StepId SimulatedDevice::Append(SequenceId sequence, const TokenList& tokens) {
  const StepId step = Schedule({{sequence, tokens}});
  Execute(step);
  Commit(step);
  return step;
}

SequenceId SimulatedDevice::Chat(const TokenList& tokens, std::string_view name_space,
                                 const KeyList& keys) {
  const SequenceId sequence = Open(tokens, name_space, keys);
  Append(sequence, Tail(tokens, History(sequence).size()));
  return sequence;
}

void SimulatedDevice::Cache(const TokenList& tokens, std::string_view name_space,
                            const KeyList& keys) {
  Close(Chat(tokens, name_space, keys));
}

void SimulatedDevice::SwapOut(SequenceId sequence) {
  const TransferId transfer = Preempt(sequence);
  if (transfer != kNone) FinishTransfer(transfer);
}

void SimulatedDevice::CloseAll() {
  while (!OpenSteps().empty()) Abort(OpenSteps().front());
  for (const TransferId transfer : OpenTransfers()) {
    if (!transfers_[transfer].is_begun) BeginTransfer(transfer);
    EndTransfer(transfer);
  }
  for (const SequenceId sequence : OpenSequences()) Close(sequence);
  CheckNothingHeld();
}

void SimulatedDevice::CheckNothingHeld() {
  const Stats stats = manager_->GetStats();
  CHECK_EQ(stats.sequences, 0);
  CHECK_EQ(stats.device.held, 0);
  CHECK_EQ(stats.device.in_flight, 0);
  CHECK_EQ(stats.host.held, 0);
  CHECK_EQ(stats.host.in_flight, 0);
}

bool SimulatedDevice::IsInStep(SequenceId sequence) const {
  const std::vector<StepId> open = OpenSteps();
  return std::any_of(open.begin(), open.end(),
                     [&](StepId step) { return QueryTokens(step, sequence) != kNone; });
}

bool SimulatedDevice::IsInTransfer(SequenceId sequence) const {
  return std::any_of(transfers_.begin(), transfers_.end(), [&](const Transfer& transfer) {
    return transfer.sequence == sequence && !transfer.is_ended;
  });
}

std::uint32_t SimulatedDevice::PendingTokens(SequenceId sequence) const {
  std::size_t tokens = 0;
  for (const StepId id : OpenSteps()) {
    for (const StepEntry& entry : steps_[id].entries) {
      if (entry.given.sequence == sequence) tokens += entry.given.tokens.size() - entry.skipped;
    }
  }
  return static_cast<std::uint32_t>(tokens);
}

bool SimulatedDevice::IsHostEmpty() const {
  const TierStats host = manager_->GetStats().host;
  return host.free + host.mirrors == host.total;
}

std::vector<SequenceId> SimulatedDevice::OpenSequences() const {
  std::vector<SequenceId> open;
  for (SequenceId id = 0; id < sequences_.size(); ++id) {
    if (!sequences_[id].is_closed) open.push_back(id);
  }
  return open;
}

std::vector<StepId> SimulatedDevice::OpenSteps() const {
  std::vector<StepId> open;
  for (StepId id = 0; id < steps_.size(); ++id) {
    if (steps_[id].stage != Stage::kClosed) open.push_back(id);
  }
  return open;
}

std::vector<TransferId> SimulatedDevice::OpenTransfers() const {
  std::vector<TransferId> open;
  for (TransferId id = 0; id < transfers_.size(); ++id) {
    if (!transfers_[id].is_ended) open.push_back(id);
  }
  return open;
}

std::uint64_t SimulatedDevice::RowOffset(std::uint32_t group, std::uint32_t slot) const {
  return (std::uint64_t{group} * config_.max_sequences + slot) * config_.max_blocks_per_sequence();
}

std::uint32_t SimulatedDevice::StepWordAt(const Step& step, std::uint64_t offset) const {
  return words_[layout_.steps + step.handle.slot * layout_.step_words + offset];
}

std::uint32_t* SimulatedDevice::StepArray(StepId id, std::uint64_t offset) {
  return &words_[layout_.steps + steps_[id].handle.slot * layout_.step_words + offset];
}

std::uint32_t SimulatedDevice::Past(StepId step, std::uint32_t entry) {
  return StepArray(step, layout_.step_past)[entry];
}

std::uint32_t SimulatedDevice::Skipped(StepId step, std::uint32_t entry) {
  return StepArray(step, layout_.step_skipped)[entry];
}

std::uint32_t SimulatedDevice::QueryTokens(StepId step) {
  return StepArray(step, 0)[kStepTokens];
}

std::vector<std::uint32_t> SimulatedDevice::Slots(StepId step, std::uint32_t group) {
  const std::uint32_t* first =
      StepArray(step, layout_.step_slots + group * config_.max_batch_tokens);
  return {first, first + QueryTokens(step)};
}

std::vector<Move> SimulatedDevice::Moves(const Step& step, StepWord count, std::uint64_t offset,
                                         std::uint32_t words) const {
  std::vector<Move> moves(StepWordAt(step, count));
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const std::uint64_t at = offset + i * words;
    const std::uint32_t tokens = words == 4 ? StepWordAt(step, at + 3) : config_.block_size;
    moves[i] = {StepWordAt(step, at), StepWordAt(step, at + 1), StepWordAt(step, at + 2), tokens};
  }
  return moves;
}

std::vector<Move> SimulatedDevice::Copies(StepId step) const {
  return Moves(steps_[step], kStepCopies, layout_.step_copies, 4);
}

std::vector<Move> SimulatedDevice::Offloads(StepId step) const {
  return Moves(steps_[step], kStepOffloads, layout_.step_offloads, 3);
}

std::vector<Move> SimulatedDevice::Onboards(StepId step) const {
  return Moves(steps_[step], kStepOnboards, layout_.step_onboards, 3);
}

std::vector<BlockId> SimulatedDevice::Row(SequenceId id, std::uint32_t group) const {
  const Sequence& sequence = sequences_[id];
  const std::size_t cells = (sequence.tokens.size() + config_.block_size - 1) / config_.block_size;
  const std::uint32_t* first =
      &words_[layout_.block_tables + RowOffset(group, sequence.handle.slot)];
  return {first, first + cells};
}

SequenceState SimulatedDevice::State(SequenceId sequence) const {
  const std::uint32_t slot = sequences_[sequence].handle.slot;
  return static_cast<SequenceState>(words_[layout_.sequence_state + slot]);
}

}  // namespace pagedkv::test
