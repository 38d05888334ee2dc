// The operations: each calls the core once, keeps the true tokens, and checks everything after.

#include "simulated_device.h"

#include <algorithm>
#include <array>

#include "test.h"

namespace pagedkv {

std::ostream& operator<<(std::ostream& out, Status status) {
  static constexpr std::array<const char*, 35> kNames = {"kOk",
                                                         "kOutOfBlocks",
                                                         "kInvalidConfig",
                                                         "kSequenceClosed",
                                                         "kSequenceForeign",
                                                         "kSequenceDropped",
                                                         "kSequenceNotDropped",
                                                         "kSequenceInStep",
                                                         "kTooManySequences",
                                                         "kTooManyOpenSteps",
                                                         "kTooManyNamespaces",
                                                         "kBeyondEnd",
                                                         "kEmptyBatch",
                                                         "kEmptyTokens",
                                                         "kBatchTooLarge",
                                                         "kSequenceTooLong",
                                                         "kDuplicateInBatch",
                                                         "kStepClosed",
                                                         "kStepForeign",
                                                         "kStepOutOfOrder",
                                                         "kStepExecuted",
                                                         "kIdsMissing",
                                                         "kTransferClosed",
                                                         "kTransferOpen",
                                                         "kTooManyTransfers",
                                                         "kStepFailed",
                                                         "kIndexFull",
                                                         "kStepExecuting",
                                                         "kTooManyRetentions",
                                                         "kInvalidKeys",
                                                         "kEventsOff",
                                                         "kNotInStep",
                                                         "kAcceptedTwice",
                                                         "kInvalidPath",
                                                         "kBuiltUpon"};
  const auto code = static_cast<std::uint32_t>(status);
  return code < kNames.size() ? out << kNames[code] : out << "status " << code;
}

namespace test {
namespace {

Value Mix(Value value) {
  value ^= value >> 30;
  value *= 0xBF58476D1CE4E5B9ull;
  value ^= value >> 27;
  value *= 0x94D049BB133111EBull;
  return value ^ (value >> 31);
}

Value Chain(Value before, Token token) {
  return Mix(before * 31 + token + 0x9E3779B97F4A7C15ull);
}

Value Chain(Value before, Token token, const KeyList& keys, std::size_t position) {
  Value value = Chain(before, token);
  const Key* key = KeyAt(keys, position);
  if (key == nullptr) return value;
  for (const char c : key->bytes) value = Chain(value, 1000u + static_cast<unsigned char>(c));
  return Mix(value);
}

}  // namespace

TokenList Text(std::uint32_t text, std::uint32_t count, std::uint32_t first) {
  TokenList tokens(count);
  for (std::uint32_t i = 0; i < count; ++i) tokens[i] = text * 100000 + first + i;
  return tokens;
}

TokenList Join(TokenList head, const TokenList& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

TokenList Head(const TokenList& tokens, std::size_t count) {
  return {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)};
}

TokenList Tail(const TokenList& tokens, std::size_t from) {
  return {tokens.begin() + static_cast<std::ptrdiff_t>(from), tokens.end()};
}

SimulatedDevice::SimulatedDevice(const Config& config)
    : config_(config),
      layout_(SharedLayout::For(config)),
      words_(layout_.words, 0),
      follows_events_(config.events) {
  CHECK_EQ(Manager::CheckConfig(config), Status::kOk);
  manager_ = std::make_unique<Manager>(config, words_.data());
  for (const GroupConfig& group : config.groups) {
    device_.emplace_back(std::size_t{group.device_blocks} * config.block_size, kPoison);
    host_.emplace_back(std::size_t{group.host_blocks} * config.block_size, kPoison);
  }
  uploaded_.assign(config.groups.size() * config.max_sequences * config.max_blocks_per_sequence(),
                   kNone);
  Check();
}

Value SimulatedDevice::Seed(std::string_view name_space) const {
  const auto found = epochs_.find(name_space);
  Value value = Mix(all_epochs_ + (found == epochs_.end() ? 0 : found->second));
  for (const char c : name_space) value = Chain(value, static_cast<unsigned char>(c));
  return value;
}

// What stands before a sequence's first token. In a step, it is as it was when that was scheduled.
Value SimulatedDevice::SeedFor(SequenceId id) const {
  for (const StepId step : OpenSteps()) {
    for (const StepEntry& open : steps_[step].entries) {
      if (open.given.sequence == id) return open.seed;
    }
  }
  return Seed(sequences_[id].name_space);
}

std::vector<Value> SimulatedDevice::ValuesFor(const Entry& entry) const {
  std::vector<Value> values = sequences_[entry.sequence].values;
  for (const StepId id : OpenSteps()) {
    for (const StepEntry& open : steps_[id].entries) {
      if (open.given.sequence == entry.sequence) values = open.values;
    }
  }
  const Sequence& sequence = sequences_[entry.sequence];
  for (const Token token : entry.tokens) {
    const Value before = values.empty() ? SeedFor(entry.sequence) : values.back();
    values.push_back(Chain(before, token, sequence.keys, values.size()));
  }
  return values;
}

Status SimulatedDevice::Failed(Status status, std::uint64_t digest_before) const {
  CHECK(status != Status::kOk);
  const Manager::Validation now = manager_->Validate();
  CHECK_EQ(std::string(now.broken ? now.broken : ""), "");
  if (now.digest != digest_before) {
    std::ostringstream what;
    what << "a call that answered " << status << " changed the digest";
    Fail(__FILE__, __LINE__, what.str());
  }
  return status;
}

SimulatedDevice::Opened SimulatedDevice::Adopt(const Manager::OpenResult& result,
                                               std::uint64_t digest_before) {
  if (result.status != Status::kOk) {
    return {.status = Failed(result.status, digest_before)};
  }
  ++changes_;
  sequences_.emplace_back();
  sequences_.back().handle = result.handle;
  return {Status::kOk, static_cast<SequenceId>(sequences_.size() - 1), result.cached_tokens};
}

void SimulatedDevice::ActFor(const Step& step) {
  acting_.emplace();
  for (const StepEntry& entry : step.entries)
    acting_->insert(sequences_[entry.given.sequence].name_space);
}

SimulatedDevice::Opened SimulatedDevice::TryOpen(const TokenList& tokens,
                                                 std::string_view name_space, const KeyList& keys) {
  const Manager::LookupResult hit = Lookup(tokens, name_space, keys);
  const bool is_on_device = IsHostEmpty();
  const std::uint64_t before = Digest();
  const Stats stats = manager_->GetStats();
  const Opened opened = Adopt(manager_->Open(tokens, name_space, Ranges(keys)), before);
  if (opened.status != Status::kOk) return opened;
  CheckFound(hit, tokens, opened.cached, stats);
  Sequence& sequence = sequences_.back();
  sequence.name_space = name_space;
  sequence.keys = keys;
  sequence.values = ValuesFor({opened.sequence, Head(tokens, opened.cached)});
  sequence.tokens = Head(tokens, opened.cached);
  sequence.has_row = is_on_device;
  sequence.was_on_host = !is_on_device;
  ActFor(opened.sequence);
  Check();
  return opened;
}

SimulatedDevice::Opened SimulatedDevice::TryFork(SequenceId parent, std::uint32_t at) {
  const std::uint64_t before = Digest();
  const Opened opened = Adopt(manager_->Fork(sequences_[parent].handle, at), before);
  if (opened.status != Status::kOk) return opened;
  const Sequence& from = sequences_[parent];
  CHECK(!from.is_closed);
  CHECK(at <= from.tokens.size());
  Sequence& sequence = sequences_.back();
  sequence.name_space = from.name_space;
  sequence.keys = from.keys;
  at = LengthToldOf(sequence, at);
  sequence.tokens = Head(from.tokens, at);
  sequence.values = {from.values.begin(), from.values.begin() + at};
  sequence.has_row = HadRow(parent) && State(parent) == SequenceState::kActive;
  sequence.was_on_host = from.was_on_host;
  ActFor(opened.sequence);
  Check();
  return opened;
}

// Where something lies behind, less may be left than was asked for: the core tells how much.
std::uint32_t SimulatedDevice::LengthToldOf(const Sequence& sequence, std::uint32_t asked) const {
  const std::uint32_t told = words_[layout_.sequence_length + sequence.handle.slot];
  CHECK(told <= asked);
  if (!config_.has_local_groups()) CHECK_EQ(told, asked);
  return told;
}

// Whether its row would tell where its blocks are, if no step were open.
bool SimulatedDevice::HadRow(SequenceId id) const {
  for (const StepId step : OpenSteps()) {
    for (const StepEntry& entry : steps_[step].entries) {
      if (entry.given.sequence != id) continue;
      // What schedule found on the host is on the device only once the step was executed.
      return entry.had_row && (entry.skipped == 0 || Onboards(step).empty());
    }
  }
  return sequences_[id].has_row;
}

SimulatedDevice::Opened SimulatedDevice::TryResume(SequenceId id, const TokenList& tokens,
                                                   const std::optional<KeyList>& keys) {
  const std::uint64_t before = Digest();
  const bool is_on_device = IsHostEmpty();
  std::vector<KeyRange> ranges;
  if (keys) ranges = Ranges(*keys);
  const Manager::OpenResult result = manager_->Resume(
      sequences_[id].handle, tokens, keys ? std::optional<KeyRanges>(ranges) : std::nullopt);
  if (result.status != Status::kOk) return {.status = Failed(result.status, before)};
  ++changes_;
  CHECK(result.cached_tokens < tokens.size());
  Sequence& sequence = sequences_[id];
  CHECK_EQ(result.handle.slot, sequence.handle.slot);
  CHECK_EQ(result.handle.generation, sequence.handle.generation);
  if (keys) sequence.keys = *keys;
  sequence.values = ValuesFor({id, Head(tokens, result.cached_tokens)});
  sequence.tokens = Head(tokens, result.cached_tokens);
  sequence.has_row = is_on_device;
  sequence.was_on_host = !is_on_device;
  Check();
  return {Status::kOk, id, result.cached_tokens};
}

Status SimulatedDevice::TryTruncate(SequenceId id, std::uint32_t length) {
  const std::uint64_t before = Digest();
  Sequence& sequence = sequences_[id];
  const Status status = manager_->Truncate(sequence.handle, length);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  CHECK(!sequence.is_closed);
  CHECK(length <= sequence.tokens.size());
  length = LengthToldOf(sequence, length);
  sequence.tokens.resize(length);
  sequence.values.resize(length);
  ActFor(id);
  Check();
  return status;
}

Status SimulatedDevice::TryClose(SequenceId id, std::uint32_t reuse) {
  const std::uint64_t before = Digest();
  Sequence& sequence = sequences_[id];
  const Status status = manager_->Close(sequence.handle, reuse);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  CHECK(!sequence.is_closed);
  sequence.is_closed = true;
  ActFor(id);
  Check();
  return status;
}

SimulatedDevice::Scheduled SimulatedDevice::TrySchedule(const std::vector<Entry>& entries) {
  WriteBatch(entries);
  const std::uint64_t before = Digest();
  const std::uint64_t events = follows_events_ ? Events().events() : 0;
  const Manager::ScheduleResult result =
      manager_->Schedule(static_cast<std::uint32_t>(entries.size()));
  if (result.status != Status::kOk) {
    return {Failed(result.status, before), kNone, result.shortage};
  }
  Step step;
  step.handle = result.step;
  step.digest_before = before;
  step.events_before = events;
  step.changes_after = ++changes_;
  for (const Entry& entry : entries) {
    StepEntry planned;
    planned.given = entry;
    planned.values = ValuesFor(entry);
    planned.seed = SeedFor(entry.sequence);
    planned.had_row = sequences_[entry.sequence].has_row;
    sequences_[entry.sequence].has_row = true;
    planned.base = static_cast<std::uint32_t>(planned.values.size() - entry.tokens.size());
    step.entries.push_back(std::move(planned));
  }
  ReadPlan(step);
  // What schedule found is the sequence's at once, until an abort takes it back.
  for (const StepEntry& entry : step.entries) {
    if (entry.skipped > 0) SetHistory(entry, entry.base + entry.skipped);
  }
  NoteBlocks(step);
  ActFor(step);
  steps_.push_back(std::move(step));
  Check();
  return {Status::kOk, static_cast<StepId>(steps_.size() - 1), {}};
}

Status SimulatedDevice::TryExecute(StepId id, bool ok) {
  Step& step = steps_[id];
  const std::uint64_t before = Digest();
  const Status status = manager_->BeginExecute(step.handle);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  CHECK(step.stage == Stage::kScheduled);
  if (ok) {
    ApplyMoves(step);
    UploadTables(step);
  } else {
    SpoilTargets(step);
    if (++coin_ % 2 == 0) UploadTables(step);
  }
  CHECK_EQ(manager_->EndExecute(step.handle, ok), Status::kOk);
  step.stage = ok ? Stage::kExecuted : Stage::kFailed;
  if (ok) {
    Forward(step);
    ActFor(step);  // what could not be copied is lost, whosever it is
  }
  Check();
  return status;
}

// A batch whose ids are wrong in number is for the caller of the core to send: see step_test.cc.
Status SimulatedDevice::TryCommit(StepId id) {
  Step& step = steps_[id];
  const bool is_oldest = !OpenSteps().empty() && OpenSteps().front() == id;
  if (step.stage == Stage::kScheduled && is_oldest) Perform(step);
  TokenList ids;
  for (const StepEntry& entry : step.entries) {
    if (!entry.given.is_count_only) continue;
    ids = Join(std::move(ids), Tail(entry.given.tokens, entry.skipped));
  }
  const std::uint64_t before = Digest();
  const Status status = manager_->Commit(step.handle, ids);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  CHECK(is_oldest);
  CHECK(step.stage == Stage::kScheduled || step.stage == Stage::kExecuted);
  AppendHistory(step);
  step.stage = Stage::kClosed;
  ActFor(step);
  Check();
  return status;
}

void SimulatedDevice::AppendHistory(Step& step) {
  for (const StepEntry& entry : step.entries) {
    for (std::size_t i = entry.base; i < entry.values.size(); ++i) {
      committed_.insert(entry.values[i]);
    }
    Sequence& sequence = sequences_[entry.given.sequence];
    if (sequence.is_closed) continue;
    CHECK_EQ(sequence.tokens.size(), entry.base + entry.skipped);
    SetHistory(entry, entry.values.size());
  }
}

SimulatedDevice::Preempted SimulatedDevice::TryPreempt(SequenceId id, PreemptMode mode) {
  const std::uint64_t before = Digest();
  const Manager::PreemptResult result = manager_->Preempt(sequences_[id].handle, mode);
  const Preempted preempted = AdoptTransfer(result, id, before);
  if (result.status != Status::kOk) return preempted;
  const bool is_dropped = State(id) == SequenceState::kDropped;
  if (mode != PreemptMode::kAuto) CHECK_EQ(is_dropped, mode == PreemptMode::kDrop);
  if (is_dropped) {
    CHECK_EQ(result.ticket, kNone);
    sequences_[id].tokens.clear();
    sequences_[id].values.clear();
  } else {
    sequences_[id].has_row = false;
    sequences_[id].was_on_host = true;
  }
  ActFor(id);
  Check();
  return preempted;
}

SimulatedDevice::Preempted SimulatedDevice::AdoptTransfer(const Manager::PreemptResult& result,
                                                          SequenceId id,
                                                          std::uint64_t digest_before) {
  if (result.status != Status::kOk) {
    return {Failed(result.status, digest_before), kNone, result.moves, result.shortage};
  }
  ++changes_;
  if (result.ticket == kNone) CHECK_EQ(result.moves, 0);
  Preempted preempted{Status::kOk, kNone, result.moves, {}};
  if (result.ticket != kNone) {
    Transfer transfer;
    transfer.ticket = result.ticket;
    transfer.sequence = id;
    for (std::uint32_t i = 0; i < result.moves; ++i) {
      const std::uint32_t* record = &words_[layout_.transfer_moves + i * 3];
      transfer.moves.push_back({record[0], record[1], record[2], config_.block_size});
    }
    transfers_.push_back(std::move(transfer));
    preempted.transfer = static_cast<TransferId>(transfers_.size() - 1);
  }
  return preempted;
}

Status SimulatedDevice::TrySetQuota(std::string_view name_space, const Quota& quota) {
  const std::uint64_t before = Digest();
  const Status status = manager_->SetQuota(name_space, quota);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  watch_.Set(name_space, quota);
  Check();
  return status;
}

void SimulatedDevice::Clear(std::optional<std::string_view> name_space) {
  manager_->Clear(name_space);
  ++changes_;
  if (name_space) {
    ++epochs_[std::string(*name_space)];
  } else {
    ++all_epochs_;
  }
  Check();
}

Manager::LookupResult SimulatedDevice::Lookup(const TokenList& tokens, std::string_view name_space,
                                              const KeyList& keys) {
  const std::uint64_t before = Digest();
  const Manager::LookupResult hit = manager_->Lookup(tokens, name_space, Ranges(keys));
  CHECK_EQ(Digest(), before);
  if (hit.status != Status::kOk) return hit;
  const std::size_t found = std::size_t{hit.device_tokens} + hit.host_tokens;
  const std::size_t all = found + hit.computing_tokens;
  CHECK(all <= tokens.size());
  Value value = Seed(name_space);
  Value at_found = 0;
  for (std::size_t i = 0; i < all; ++i) {
    value = Chain(value, tokens[i], keys, i);
    if (i + 1 == found) at_found = value;
  }
  if (follows_events_) CheckKnown(tokens, name_space, keys, found);
  // A hit is always a prefix that was committed; what is computing, one that an open step writes.
  if (found > 0) CHECK(committed_.contains(at_found));
  if (hit.computing_tokens == 0) return hit;
  bool is_computing = committed_.contains(value);
  for (const StepId id : OpenSteps()) {
    for (const StepEntry& entry : steps_[id].entries) {
      is_computing |=
          std::find(entry.values.begin(), entry.values.end(), value) != entry.values.end();
    }
  }
  CHECK(is_computing);
  return hit;
}

}  // namespace test
}  // namespace pagedkv
