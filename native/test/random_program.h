// A random program: what it does is decided by its seed alone, and each answer is checked against
// what the simulated device knows the core must or may answer.
#pragma once

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "random_config.h"
#include "random_keys.h"
#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

enum Operation : std::uint32_t {
  kOpen,
  kSchedule,
  kExecute,
  kCommit,
  kAccept,
  kAbort,
  kFork,
  kTruncate,
  kClose,
  kSwap,
  kDrop,
  kResume,
  kBegin,
  kEnd,
  kClear,
  kLookup,
  kRetain,
  kRetainPrompt,
  kExpectReuse,
  kTime,
  kDemote,
  kPrefetch,
  kQuota,
  kReport,
  kVictim,
  kOperations
};

class Program {
 public:
  explicit Program(std::uint64_t seed)
      : random_(seed),
        config_(RandomConfig(random_)),
        device_(config_),
        prompts_(random_, config_),
        keys_(random_, config_) {
    Log(Describe(config_));
    static constexpr std::uint32_t kWeights[kOperations] = {8, 16, 8, 12, 6, 3, 4, 4, 5, 3, 2, 3, 3,
                                                            4, 1,  3, 2,  1, 1, 2, 1, 2, 0, 3, 1};
    // Whole features are left out at random, so that the others meet more often.
    for (std::uint32_t op = 0; op < kOperations; ++op) {
      const bool is_left_out = op > kCommit && op != kClose && random_.OneIn(4);
      weights_.push_back(is_left_out ? 0 : kWeights[op] * random_.Between(1, 3));
    }
    if (random_.OneIn(2)) weights_[kQuota] = random_.Between(1, 4);
    has_failures_ = random_.OneIn(2);
    has_counts_ = random_.OneIn(2);
    has_keys_ = random_.OneIn(2);
  }

  void Run(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) RunOne();
    Finish();
  }

  const std::vector<std::string>& log() const { return log_; }

 private:
  using Statuses = std::set<Status>;

  void Log(const std::string& line) {
    static const bool is_printed = EnvironmentNumber("PAGEDKV_LOG", 0) != 0;
    if (is_printed) std::fprintf(stderr, "%s\n", line.c_str());
    log_.push_back(line);
  }

  template <typename... Parts>
  void LogCall(const Parts&... parts) {
    std::ostringstream out;
    ((out << parts), ...);
    Log(out.str());
  }

  // `must`: the call cannot answer kOk, but one of these. `may`: it can answer these as well.
  void CheckStatus(Status status, const Statuses& must, const Statuses& may = {}) {
    std::ostringstream out;
    out << "  -> " << status;
    log_.back() += out.str();
    if (must.contains(status) || may.contains(status)) return;
    if (status == Status::kOk && must.empty()) return;
    Fail(__FILE__, __LINE__, "unexpected" + out.str());
  }

  KeyList NextKeys() { return has_keys_ ? keys_.Next() : KeyList(); }

  // A prompt, and where it stands.
  struct Asked {
    TokenList prompt;
    std::string name;
    KeyList keys;
  };

  Asked NextAsked() { return {prompts_.Next(), RandomName(), NextKeys()}; }

  static std::string Show(const Asked& asked) {
    return asked.name + ' ' + test::Show(asked.prompt) + ShowKeys(asked.keys);
  }

  std::string RandomName() { return random_.OneIn(4) ? "b" : "a"; }

  // Any sequence, seldom a closed one; kNone when there is none.
  SequenceId RandomSequence() {
    if (!known_.empty() && random_.OneIn(25)) return random_.Pick(known_);
    const std::vector<SequenceId> open = device_.OpenSequences();
    return open.empty() ? kNone : random_.Pick(open);
  }

  // What every operation on a sequence refuses.
  Statuses Refusals(SequenceId id) const {
    if (device_.IsClosed(id)) return {Status::kSequenceClosed};
    Statuses must;
    if (device_.State(id) == SequenceState::kDropped) must.insert(Status::kSequenceDropped);
    return must;
  }

  Statuses AgainstTransfer(SequenceId id) const {
    return device_.IsInTransfer(id) ? Statuses{Status::kTransferOpen} : Statuses{};
  }

  // A closed sequence keeps its slot until its steps have ended.
  std::size_t Occupied() const {
    const auto is_occupied = [&](SequenceId id) {
      return !device_.IsClosed(id) || device_.IsInStep(id);
    };
    return static_cast<std::size_t>(std::count_if(known_.begin(), known_.end(), is_occupied)) +
           device_.OpenPrefetches();
  }

  Statuses AgainstSlots() const {
    return Occupied() >= config_.max_sequences ? Statuses{Status::kTooManySequences} : Statuses{};
  }

  void RunOne() {
    std::uint32_t sum = 0;
    for (const std::uint32_t weight : weights_) sum += weight;
    std::uint32_t at = random_.Below(sum);
    std::uint32_t op = 0;
    while (at >= weights_[op]) at -= weights_[op++];
    switch (op) {
      case kOpen:
        return Open();
      case kSchedule:
        return Schedule();
      case kExecute:
        return Execute();
      case kCommit:
        return Commit();
      case kAccept:
        return Accept();
      case kAbort:
        return Abort();
      case kBegin:
        return BeginTransfer();
      case kEnd:
        return EndTransfer();
      case kClear:
        return Clear();
      case kLookup:
        return Lookup();
      case kRetainPrompt:
        return RetainPrompt();
      case kExpectReuse:
        return ExpectReuse();
      case kTime:
        return PassTime();
      case kDemote:
        return Demote();
      case kPrefetch:
        return Prefetch();
      case kQuota:
        return SetQuota();
      case kReport:
        return Report();
      case kVictim:
        return PreemptVictim();
      default:
        break;
    }
    const SequenceId id = RandomSequence();
    if (id == kNone) return;
    switch (op) {
      case kFork:
        return Fork(id);
      case kTruncate:
        return Truncate(id);
      case kClose:
        return Close(id);
      case kSwap:
        return Preempt(id, random_.OneIn(3) ? PreemptMode::kAuto : PreemptMode::kSwap);
      case kDrop:
        return Preempt(id, PreemptMode::kDrop);
      case kRetain:
        return Retain(id);
      default:
        return Resume(id);
    }
  }

  void Open() {
    const Asked asked = NextAsked();
    LogCall("Open ", Show(asked));
    Statuses must = AgainstSlots();
    must.merge(AgainstKeys(asked.keys));
    if (asked.prompt.size() > config_.max_sequence_tokens) must.insert(Status::kSequenceTooLong);
    const auto opened = device_.TryOpen(asked.prompt, asked.name, asked.keys);
    CheckStatus(opened.status, must);
    if (opened.status == Status::kOk) Adopt(opened, asked.prompt);
  }

  void Adopt(const SimulatedDevice::Opened& opened, TokenList prompt) {
    LogCall("  sequence ", opened.sequence, ", cached ", opened.cached);
    known_.push_back(opened.sequence);
    if (plans_.size() <= opened.sequence) plans_.resize(opened.sequence + 1);
    plans_[opened.sequence] = std::move(prompt);
  }

  // The prompt's rest, as far as it is still the prompt; else something new.
  TokenList NextTokens(SequenceId id) {
    const std::size_t base = device_.History(id).size() + device_.PendingTokens(id);
    const TokenList& plan = plans_[id];
    const bool has_plan = plan.size() > base && !random_.OneIn(10);
    TokenList tokens = has_plan ? Tail(plan, base) : prompts_.Tokens(random_.Between(1, 3));
    if (random_.OneIn(4)) tokens.resize(1 + random_.Below(tokens.size()));
    if (random_.OneIn(8)) tokens = Join(std::move(tokens), prompts_.Tokens(config_.block_size));
    return tokens;
  }

  void Schedule() {
    std::vector<Entry> batch;
    Statuses must, may = {Status::kOutOfBlocks};
    std::set<SequenceId> seen;
    std::size_t sum = 0;
    std::ostringstream line;
    line << "Schedule";
    const std::uint32_t entries = random_.Between(1, config_.max_batch_sequences);
    for (std::uint32_t i = 0; i < entries + (random_.OneIn(40) ? 1 : 0); ++i) {
      const SequenceId id = RandomSequence();
      if (id == kNone) return;
      if (seen.contains(id) && !random_.OneIn(20)) continue;
      Entry entry{id, NextTokens(id), has_counts_ && random_.OneIn(3), random_.OneIn(4)};
      must.merge(Refusals(id));
      if (!seen.insert(id).second) must.insert(Status::kDuplicateInBatch);
      const std::size_t base = device_.History(id).size() + device_.PendingTokens(id);
      if (base + entry.tokens.size() > config_.max_sequence_tokens) {
        must.insert(Status::kSequenceTooLong);
      }
      sum += entry.tokens.size();
      line << " {" << id << (entry.is_count_only ? " count " : " ")
           << (entry.is_guess ? "guess " : "") << test::Show(entry.tokens) << '}';
      batch.push_back(std::move(entry));
    }
    if (batch.size() > config_.max_batch_sequences || sum > config_.max_batch_tokens) {
      must.insert(Status::kBatchTooLarge);
    }
    if (device_.OpenSteps().size() >= config_.max_open_steps) {
      must.insert(Status::kTooManyOpenSteps);
    }
    if (config_.groups[0].host_blocks > 0) may.insert(Status::kTooManyTransfers);
    Log(line.str());
    const auto scheduled = device_.TrySchedule(batch);
    CheckStatus(scheduled.status, must, may);
    if (scheduled.status == Status::kOutOfBlocks) {
      CHECK(scheduled.shortage.needed > scheduled.shortage.free);
    }
    if (scheduled.status == Status::kOk) {
      LogCall("  step ", scheduled.step, ", offloads ", device_.Offloads(scheduled.step).size(),
              ", onboards ", device_.Onboards(scheduled.step).size(), ", copies ",
              device_.Copies(scheduled.step).size());
    }
  }

  // The oldest that fits, seldom any other.
  StepId RandomStep(bool is_to_execute) {
    const std::vector<StepId> open = device_.OpenSteps();
    if (open.empty()) return kNone;
    if (random_.OneIn(10)) return random_.Pick(open);
    for (const StepId id : open) {
      if (!is_to_execute || device_.StageOf(id) == SimulatedDevice::Stage::kScheduled) return id;
    }
    return kNone;
  }

  void Execute() {
    const StepId id = RandomStep(true);
    if (id == kNone) return;
    const bool ok = !has_failures_ || !random_.OneIn(5);
    LogCall("Execute ", id, ok ? "" : " fails");
    Statuses must, may;
    AddOlder(id, must, may);
    if (device_.StageOf(id) != SimulatedDevice::Stage::kScheduled) {
      must.insert(Status::kStepExecuted);
    }
    CheckStatus(device_.TryExecute(id, ok), must, may);
  }

  void Commit() {
    const StepId id = RandomStep(false);
    if (id == kNone) return;
    LogCall("Commit ", id);
    Statuses must;
    if (device_.OpenSteps().front() != id) must.insert(Status::kStepOutOfOrder);
    if (device_.StageOf(id) == SimulatedDevice::Stage::kFailed) {
      must.insert(Status::kStepFailed);
    }
    const Status status = device_.TryCommit(id);
    CheckStatus(status, must);
  }

  // Of any step that is not failed, mostly one that was executed; seldom of no entry of its.
  void Accept() {
    const StepId id = RandomStep(false);
    if (id == kNone) return;
    SequenceId sequence = RandomSequence();
    for (std::uint32_t tries = 0; tries < 8 && sequence != kNone; ++tries) {
      if (device_.QueryTokens(id, sequence) != kNone) break;
      sequence = RandomSequence();
    }
    if (sequence == kNone) return;
    const std::uint32_t all = device_.QueryTokens(id, sequence);
    const std::uint32_t most = all == kNone ? 0 : all;
    const std::uint32_t count = random_.Between(0, most + (random_.OneIn(20) ? 1 : 0));
    LogCall("Accept ", count, " of ", most, " of ", sequence, " in step ", id);
    const auto stage = device_.StageOf(id);
    Statuses must, may;
    if (all == kNone) {
      must = {Status::kNotInStep};
      if (device_.IsClosed(sequence)) must.insert(Status::kSequenceClosed);
    } else {
      if (stage == SimulatedDevice::Stage::kFailed) must.insert(Status::kStepFailed);
      if (device_.IsAccepted(id, sequence)) must.insert(Status::kAcceptedTwice);
      if (count > most) must.insert(Status::kInvalidPath);
      if (count < most && device_.IsBuiltUpon(id, sequence)) must.insert(Status::kBuiltUpon);
      if (stage == SimulatedDevice::Stage::kScheduled) AddOlder(id, must, may);
    }
    CheckStatus(device_.TryAccept(id, sequence, count), must, may);
  }

  // How older steps keep one from being executed.
  void AddOlder(StepId id, Statuses& must, Statuses& may) const {
    for (const StepId older : device_.OpenSteps()) {
      if (older >= id) break;
      const auto stage = device_.StageOf(older);
      if (stage == SimulatedDevice::Stage::kScheduled) must.insert(Status::kStepOutOfOrder);
      if (stage == SimulatedDevice::Stage::kFailed) may.insert(Status::kStepFailed);
    }
  }

  void Abort() {
    const std::vector<StepId> open = device_.OpenSteps();
    if (open.empty()) return;
    const StepId id = random_.Pick(open);
    LogCall("Abort ", id);
    CheckStatus(device_.TryAbort(id), {});
  }

  void Fork(SequenceId id) {
    const auto length = static_cast<std::uint32_t>(device_.History(id).size());
    const std::uint32_t at = random_.Between(0, length + (random_.OneIn(20) ? 1 : 0));
    LogCall("Fork ", id, " at ", at);
    Statuses must = Refusals(id);
    must.merge(AgainstSlots());
    if (at > length) must.insert(Status::kBeyondEnd);
    const auto opened = device_.TryFork(id, at);
    CheckStatus(opened.status, must, AgainstTransfer(id));
    if (opened.status == Status::kOk) Adopt(opened, plans_[id]);
  }

  void Truncate(SequenceId id) {
    const auto length = static_cast<std::uint32_t>(device_.History(id).size());
    const std::uint32_t to = random_.OneIn(2)
                                 ? length - std::min(length, random_.Below(4))
                                 : random_.Between(0, length + (random_.OneIn(20) ? 1 : 0));
    LogCall("Truncate ", id, " to ", to);
    Statuses must = Refusals(id);
    if (device_.IsInStep(id)) must.insert(Status::kSequenceInStep);
    if (to > length) must.insert(Status::kBeyondEnd);
    CheckStatus(device_.TryTruncate(id, to), must, AgainstTransfer(id));
  }

  void Close(SequenceId id) {
    const std::uint32_t reuse = RandomReuse();
    LogCall("Close ", id, ", reuse ", reuse);
    const bool is_closed = device_.IsClosed(id);
    CheckStatus(device_.TryClose(id, reuse),
                is_closed ? Statuses{Status::kSequenceClosed} : Statuses{});
  }

  void Preempt(SequenceId id, PreemptMode mode) {
    const bool is_swap = mode == PreemptMode::kSwap;
    LogCall(is_swap ? "Swap out " : mode == PreemptMode::kDrop ? "Drop " : "Preempt ", id);
    Statuses must = Refusals(id);
    if (device_.IsInStep(id)) must.insert(Status::kSequenceInStep);
    const auto preempted = device_.TryPreempt(id, mode);
    Statuses may = AgainstTransfer(id);
    if (is_swap) may.merge(Statuses{Status::kOutOfBlocks, Status::kTooManyTransfers});
    CheckStatus(preempted.status, must, may);
    if (preempted.status == Status::kOutOfBlocks) {
      CHECK(preempted.shortage.needed > preempted.shortage.free);
    }
    if (preempted.transfer != kNone) {
      LogCall("  transfer ", preempted.transfer, ", moves ", preempted.moves);
      waiting_.push_back(preempted.transfer);
    }
  }

  void Resume(SequenceId id) {
    const TokenList prompt = random_.OneIn(2) ? plans_[id] : prompts_.Next();
    const std::optional<KeyList> keys = random_.OneIn(2) ? std::optional(NextKeys()) : std::nullopt;
    LogCall("Resume ", id, ' ', test::Show(prompt), keys ? ShowKeys(*keys) : " as before");
    Statuses must;
    if (keys) must = AgainstKeys(*keys);
    if (device_.IsClosed(id)) must = {Status::kSequenceClosed};
    if (!device_.IsClosed(id) && device_.State(id) != SequenceState::kDropped) {
      must.insert(Status::kSequenceNotDropped);
    }
    if (prompt.empty()) must.insert(Status::kEmptyTokens);
    if (prompt.size() > config_.max_sequence_tokens) must.insert(Status::kSequenceTooLong);
    const auto opened = device_.TryResume(id, prompt, keys);
    CheckStatus(opened.status, must, AgainstTransfer(id));
    if (opened.status == Status::kOk) plans_[id] = prompt;
  }

  void BeginTransfer() {
    if (waiting_.empty()) return;
    const std::uint32_t at = random_.Below(waiting_.size());
    LogCall("Begin transfer ", waiting_[at]);
    device_.BeginTransfer(waiting_[at]);
    begun_.push_back(waiting_[at]);
    waiting_.erase(waiting_.begin() + at);
  }

  void EndTransfer() {
    if (begun_.empty()) return;
    const std::uint32_t at = random_.Below(begun_.size());
    const bool ok = !has_failures_ || !random_.OneIn(4);
    LogCall("End transfer ", begun_[at], ok ? "" : " fails");
    device_.EndTransfer(begun_[at], ok);
    begun_.erase(begun_.begin() + at);
  }

  void Clear() {
    if (!random_.OneIn(3)) return;
    const bool is_all = random_.OneIn(3);
    const std::string name = RandomName();
    LogCall("Clear ", is_all ? "all" : name);
    device_.Clear(is_all ? std::nullopt : std::optional<std::string_view>(name));
  }

  void Lookup() {
    const Asked asked = NextAsked();
    LogCall("Lookup ", Show(asked));
    const Statuses must = AgainstKeys(asked.keys);
    CheckStatus(device_.Lookup(asked.prompt, asked.name, asked.keys).status, must);
    const auto admission =
        device_.manager().Admission(asked.prompt, asked.name, Ranges(asked.keys));
    CheckStatus(admission.status, must);
    CHECK(admission.now_tokens <= admission.after_tokens);
    CHECK(!admission.admits || admission.status == Status::kOk);
  }

  std::uint32_t RandomReuse() {
    if (random_.OneIn(2)) return kReuseUnknown;
    return random_.OneIn(2) ? kReuseNever : random_.Below(5000);
  }

  Retention RandomRetention() {
    Retention retention;
    if (random_.OneIn(2)) retention.from = random_.Below(config_.max_sequence_tokens);
    if (random_.OneIn(2)) retention.to = retention.from + 1 + random_.Below(20);
    retention.priority = static_cast<std::uint8_t>(random_.Below(kPriorities));
    if (random_.OneIn(2)) retention.life = 1 + random_.Below(1000);
    return retention;
  }

  static std::string Show(const Retention& retention) {
    std::ostringstream out;
    out << retention.from << ".." << retention.to << " priority " << int{retention.priority}
        << " life " << retention.life;
    return out.str();
  }

  void Retain(SequenceId id) {
    const Retention retention = RandomRetention();
    LogCall("Retain ", id, ' ', Show(retention));
    Statuses must;
    if (device_.IsClosed(id)) must = {Status::kSequenceClosed};
    if (device_.IsInStep(id)) must.insert(Status::kSequenceInStep);
    CheckStatus(device_.TryRetain(id, retention), must, {Status::kTooManyRetentions});
  }

  void RetainPrompt() {
    const Asked asked = NextAsked();
    const Retention retention = RandomRetention();
    LogCall("Retain prompt ", Show(asked), ' ', Show(retention));
    device_.RetainPrompt(asked.prompt, retention, asked.name, asked.keys);
  }

  void ExpectReuse() {
    const Asked asked = NextAsked();
    const std::uint32_t reuse = RandomReuse();
    LogCall("Expect reuse of ", Show(asked), " in ", reuse);
    device_.ExpectReuse(asked.prompt, reuse, asked.name, asked.keys);
  }

  void PassTime() {
    now_ms_ += random_.Below(random_.OneIn(4) ? 2000 : 20);
    LogCall("Time ", now_ms_);
    device_.SetTime(now_ms_);
  }

  void Demote() {
    const Asked asked = NextAsked();
    LogCall("Demote ", Show(asked));
    const auto preempted = device_.TryDemote(asked.prompt, asked.name, asked.keys);
    CheckStatus(preempted.status, AgainstKeys(asked.keys));
    if (preempted.transfer != kNone) waiting_.push_back(preempted.transfer);
  }

  void Prefetch() {
    const Asked asked = NextAsked();
    LogCall("Prefetch ", Show(asked));
    Statuses must = AgainstSlots();
    must.merge(AgainstKeys(asked.keys));
    if (asked.prompt.size() > config_.max_sequence_tokens) must.insert(Status::kSequenceTooLong);
    if (device_.OpenSteps().size() >= config_.max_open_steps) {
      must.insert(Status::kTooManyOpenSteps);
    }
    const auto scheduled = device_.TryPrefetch(asked.prompt, asked.name, asked.keys);
    CheckStatus(scheduled.status, must, {Status::kOutOfBlocks, Status::kTooManyTransfers});
    if (scheduled.status == Status::kOk) {
      LogCall("  step ", scheduled.step, ", onboards ", device_.Onboards(scheduled.step).size());
    }
  }

  // Of any size, so that both choices come up.
  void Report() {
    const std::uint32_t size = 1 + random_.Below(20);
    const double ms = size * (1 + random_.Below(100)) / 10.0;
    LogCall("Report ", size, " in ", ms, " ms");
    if (random_.OneIn(2)) return device_.ReportPrefill(size, random_.Below(50), ms);
    device_.ReportTransfer(static_cast<Direction>(random_.Below(2)), size, ms * config_.block_size);
  }

  void PreemptVictim() {
    std::vector<SequenceId> sequences;
    for (std::uint32_t i = random_.Below(5); i > 0; --i) {
      const SequenceId id = RandomSequence();
      if (id != kNone) sequences.push_back(id);
    }
    const std::uint32_t blocks = random_.Below(6);
    LogCall("Victim of ", test::Show(sequences), " for ", blocks);
    const auto victim = device_.Victim(sequences, blocks);
    if (victim.index != kNone) Preempt(sequences[victim.index], PreemptMode::kAuto);
  }

  TierQuota RandomQuota(std::uint32_t total) {
    TierQuota quota;
    if (random_.OneIn(2)) quota.min = random_.Below(total + 1);
    if (random_.OneIn(2)) quota.max = random_.Below(total + 1);
    if (!random_.OneIn(20)) quota.max = std::max(quota.min, quota.max);
    return quota;
  }

  std::uint64_t SumOfMins(TierQuota Quota::* tier, std::string_view but) const {
    std::uint64_t sum = 0;
    for (const auto& [name, quota] : device_.Quotas()) sum += name == but ? 0 : (quota.*tier).min;
    return sum;
  }

  void SetQuota() {
    const std::string name = random_.OneIn(8) ? "c" : RandomName();
    std::uint32_t device_blocks = kNone;
    std::uint32_t host_blocks = kNone;
    for (const GroupConfig& group : config_.groups) {
      device_blocks = std::min(device_blocks, group.device_blocks);
      host_blocks = std::min(host_blocks, group.host_blocks);
    }
    Quota quota;
    if (!random_.OneIn(4)) quota = {RandomQuota(device_blocks), RandomQuota(host_blocks)};
    LogCall("Quota ", name, " device ", quota.device.min, '-', quota.device.max, " host ",
            quota.host.min, '-', quota.host.max);
    Statuses must, may;
    if (quota.device.min > quota.device.max || quota.host.min > quota.host.max) {
      must.insert(Status::kInvalidConfig);
    }
    if (SumOfMins(&Quota::device, name) + quota.device.min > device_blocks ||
        SumOfMins(&Quota::host, name) + quota.host.min > host_blocks) {
      must.insert(Status::kQuotaTooLarge);
    }
    const bool is_idle = device_.OpenSteps().empty() && device_.OpenTransfers().empty();
    if (!is_idle && device_.Quotas().contains(name) != (quota != Quota{})) {
      may.insert(Status::kQuotaInUse);
    }
    CheckStatus(device_.TrySetQuota(name, quota), must, may);
  }

  // Nothing may be left held, and the whole device can be had again.
  void Finish() {
    Log("CloseAll");
    device_.CloseAll();
    for (const char* name : {"a", "b", "c"}) device_.SetQuota(name, {});
    std::uint32_t blocks = config_.max_blocks_per_sequence();
    for (const GroupConfig& group : config_.groups) blocks = std::min(blocks, group.device_blocks);
    const std::uint32_t tokens = std::min(
        {blocks * config_.block_size, config_.max_batch_tokens, config_.max_sequence_tokens});
    Log("the largest prompt that fits");
    device_.Chat(Text(1, tokens), "last");
    device_.CloseAll();
    device_.Clear(std::nullopt);
    CHECK_EQ(device_.manager().GetStats().device.free, config_.groups[0].device_blocks);
    CHECK_EQ(device_.manager().GetStats().host.free, config_.groups[0].host_blocks);
    if (config_.events) CHECK_EQ(device_.Events().size(), 0);
  }

  Random random_;
  Config config_;
  SimulatedDevice device_;
  RandomPrompts prompts_;
  RandomKeys keys_;
  std::vector<std::uint32_t> weights_;
  std::uint64_t now_ms_ = 0;
  bool has_failures_ = false;
  bool has_counts_ = false;
  bool has_keys_ = false;
  std::vector<TokenList> plans_;   // by sequence, what it was opened with
  std::vector<SequenceId> known_;  // open and closed
  std::vector<TransferId> waiting_, begun_;
  std::vector<std::string> log_;
};

}  // namespace pagedkv::test
