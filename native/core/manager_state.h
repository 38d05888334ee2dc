// What a manager is made of. The rooms that work on it: sequences in manager.cc, plans in
// schedule.cc, how plans end in commit.cc, both for decoding in own_tails.cc, claims and evictions
// in eviction.cc, whom they serve in quotas.cc, swap-outs in transfer.cc, the oracle in
// validate.cc.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "block_pool.h"
#include "extra_keys.h"
#include "manager.h"
#include "mirror_queue.h"
#include "prefix_index.h"
#include "quotas.h"
#include "sequences.h"
#include "shared_memory.h"
#include "steps.h"

namespace pagedkv {

// What a sequence is opened for.
enum class Opening {
  kTurn,  // to compute: what is on the host is weighed
  kPin,   // to hold all that is found
  kPrefetch,
};

struct Manager::State {
  State(const Config& config, std::uint32_t* shared);

  // --- Handles ---
  Status Check(SequenceHandle handle, SequenceId& id) const;
  bool IsOpen(SequenceHandle handle) const {
    if (handle.nonce != config.nonce || handle.slot >= sequences.size()) return false;
    const Sequence& sequence = sequences[handle.slot];
    return handle.generation == sequence.generation && sequence.state != SequenceState::kClosed &&
           !sequence.closing;
  }
  Status WhyNotOpen(SequenceHandle handle) const;
  Status Check(StepHandle handle, std::uint32_t& slot) const;
  SequenceHandle HandleOf(SequenceId id) const {
    return {id, sequences[id].generation, config.nonce};
  }

  // --- Sequences (manager.cc) ---
  OpenResult Open(Tokens tokens, std::string_view name, KeyRanges ranges);
  OpenResult Pin(Tokens tokens, std::string_view name, KeyRanges ranges);
  OpenResult FinishOpen(SequenceId id, Tokens tokens);
  Status NewSequence(Tokens tokens, std::string_view name, KeyRanges ranges, Opening opening,
                     SequenceId& id);
  void UndoOpen(SequenceId id);
  void CountPrompt(SequenceId id, Tokens tokens);
  OpenResult Fork(SequenceHandle handle, std::uint32_t at);
  Status Truncate(SequenceHandle handle, std::uint32_t length);
  OpenResult Resume(SequenceHandle handle, Tokens tokens, std::optional<KeyRanges> ranges);
  Status Close(SequenceHandle handle, std::uint32_t reuse);
  LookupResult Lookup(Tokens tokens, std::string_view name, KeyRanges ranges);
  bool LeavesWater(std::uint64_t blocks);
  AdmissionResult Admission(Tokens tokens, std::string_view name, KeyRanges ranges);
  void Clear(std::optional<std::string_view> name);

  void FinishClose(SequenceId id);
  // Lets `id` hold what `match` found, but for the last of `total` tokens. What it held before
  // stays held.
  void Attach(SequenceId id, const PrefixIndex::Match& match, std::uint32_t before,
              std::uint32_t total);
  void MoveHold(SequenceId id, std::uint32_t blocks);
  void LetGo(SequenceId id);  // of every block; the sequence holds the root of its namespace
  RunId AncestorEnd(RunId run, std::uint32_t blocks);
  RunId RootOf(RunId run) const;
  RunId FindRoot(std::string_view name) const;
  RunId MakeRoot(std::string_view name);
  void MaybeForgetRoot(RunId root);
  void MatchPrompt(SequenceId id, RunId root, Tokens tokens, bool weighs);
  PrefixIndex::Match FindPrompt(std::string_view name, Tokens tokens, KeyRanges ranges);
  std::uint32_t Computing(RunId run, Tokens tokens, KeyListId list) const;
  std::uint32_t CommonKeys(KeyListId a, KeyListId b, std::uint32_t from, std::uint32_t limit) const;
  Extra NextExtra(const Sequence& sequence) const {  // of the block after those it holds
    return keys.ExtraOf(sequence.keys, sequence.blocks);
  }
  void Detach(RunId run);
  void ClearRoot(RunId root);
  void TellLiftedGone(RunId root);
  void BeginAnew(SequenceId id);
  HoldKind KindOf(const Sequence& sequence) const {
    return sequence.state == SequenceState::kSwapped ? HoldKind::kParked : HoldKind::kActive;
  }
  void ReleaseHold(RunId run, HoldKind kind);
  void TellSequence(SequenceId id);

  // --- Swap or recompute (weigh.cc) ---
  struct HostPart {
    std::uint32_t held_blocks = 0;  // before it: on the device, or on their way there
    CostModel::Hit hit;
  };
  HostPart HostPartOf(const PrefixIndex::Match& match, RunId held, std::uint32_t usable) const;
  PrefixIndex::Match CutAfter(const PrefixIndex::Match& match, std::uint32_t blocks,
                              std::uint32_t before) const;
  void WeighPrompt(SequenceId id, PrefixIndex::Match& match, std::uint32_t total);
  void WeighAgain(SequenceId id, PrefixIndex::Match& match, RunId held, std::uint32_t before,
                  std::uint32_t total);
  std::uint32_t UsableOf(const PrefixIndex::Match& match, std::uint32_t before,
                         std::uint32_t total) const {
    const std::uint32_t part = match.part >= config.min_partial_tokens ? match.part : 0;
    return std::min(before + match.tokens + part, total - 1);
  }
  struct Own {
    std::uint32_t blocks = 0;    // on the device …
    std::uint32_t mirrored = 0;  // … and, of these, those that the host has, too
    std::uint32_t tokens = 0;    // that stand in no block of others …
    std::uint32_t past = 0;      // … and those before them
  };
  std::uint32_t MirroredOf(RunId run) const;
  Own OwnOf(SequenceId id) const;
  PreemptCost CostOf(SequenceId id) const;
  bool IsBackSooner(SequenceId id) const;
  PreemptMode CheaperMode(SequenceId id) const;
  VictimResult Victim(std::span<const SequenceHandle> handles, std::uint32_t blocks) const;

  // --- Groups that read only what is near (local_groups.cc) ---
  std::uint32_t ServedBlocks(RunId run, std::uint32_t blocks, std::uint32_t position) const;
  std::uint32_t ServedLength(const Sequence& sequence, std::uint32_t length) const;
  void CutToServed(PrefixIndex::Match& match, std::uint32_t before, std::uint32_t total) const;
  void StripBehind(SequenceId id);
  void FillMissing(RunId run, BlockId* set);
  void YieldTail(SequenceId id, RunId run);

  // --- Retention (retention.cc) ---
  Status Retain(SequenceHandle handle, const Retention& retention);
  std::uint32_t RetainPrompt(Tokens tokens, std::string_view name, const Retention& retention,
                             KeyRanges ranges);
  void ExpectReuse(Tokens tokens, std::string_view name, std::uint32_t reuse, KeyRanges ranges);
  Retention* Retentions(SequenceId id) { return &retentions[std::size_t{id} * kMaxRetentions]; }
  const Retention* Retentions(SequenceId id) const {
    return &retentions[std::size_t{id} * kMaxRetentions];
  }
  const Retention* RetentionOf(SequenceId id, std::uint32_t block) const;
  void RetainPath(RunId run, const Retention& retention);
  void RetainFound(SequenceId id, std::uint32_t from_block);
  bool IsRetainedAlike(SequenceId id, RunId run) const;
  void RetainBlock(SequenceId id, RunId run, std::uint32_t block);
  void ForgetEnd(RunId run);
  void TellOpened(SequenceId id, const PrefixIndex::Match& match, Tokens tokens);
  void TellClosing(const Sequence& sequence);
  std::uint32_t MarkOf(const Sequence& sequence) const;
  void TellDropped(RunId run);
  bool IsEnd(RunId run) const {
    return index.run(run).parent != kNone && index.run(run).child == kNone;
  }

  // --- Rows of the block tables ---
  std::uint32_t* Row(SequenceId id, std::uint32_t group) {
    return shared + layout.block_tables +
           (std::uint64_t{group} * config.max_sequences + id) * row_cells;
  }
  void SetCell(SequenceId id, std::uint32_t cell, const BlockId* set);
  void SetHeldCell(SequenceId id, std::uint32_t cell);
  void FillRow(SequenceId id);
  void MarkDirty(SequenceId id, std::uint32_t begin, std::uint32_t end);

  // --- Tails ---
  void ReserveTails(std::size_t count);
  TailId NewTail(const BlockId* set, std::uint32_t used, std::uint32_t active);
  void FreeTail(TailId tail);
  void ReleaseTail(TailId tail, bool active);
  void LeaveTail(SequenceId id);
  // A tail that another holder filled is an indexed block now: hold it as one.
  void ResolveTail(SequenceId id);
  BlockId* TailSet(TailId tail) { return &tail_sets[std::size_t{tail} * groups]; }
  const BlockId* TailSet(TailId tail) const { return &tail_sets[std::size_t{tail} * groups]; }
  Token* TailTokens(SequenceId id) { return &tail_tokens[std::size_t{id} * config.block_size]; }
  const Token* TailTokens(SequenceId id) const {
    return &tail_tokens[std::size_t{id} * config.block_size];
  }

  // --- Eviction (eviction.cc) ---
  std::size_t ClaimPlace(std::uint64_t number) const { return number & claim_mask; }
  Claim& ClaimAt(std::uint64_t number) { return claims[ClaimPlace(number)]; }
  const Claim& ClaimAt(std::uint64_t number) const { return claims[ClaimPlace(number)]; }
  BlockId* ClaimSet(std::uint64_t number) { return &claim_sets[ClaimPlace(number) * groups]; }
  const BlockId* ClaimSet(std::uint64_t number) const {
    return &claim_sets[ClaimPlace(number) * groups];
  }
  BlockId* ClaimTarget(std::uint64_t number) { return &claim_targets[ClaimPlace(number) * groups]; }
  const BlockId* ClaimTarget(std::uint64_t number) const {
    return &claim_targets[ClaimPlace(number) * groups];
  }
  void OfferClaim(std::uint64_t number);
  bool AdoptClaim(std::uint32_t slot, PartitionId whom, Reach reach);
  bool EnsureSets(std::uint32_t slot, PartitionId whom, std::uint32_t first, std::uint32_t count);
  BlockId TakeBlock(std::uint32_t group, PartitionId whom);
  bool TakeSet(std::uint32_t slot, PartitionId whom, BlockId* set);
  void ClaimEntry(std::uint32_t slot, RunId run, std::uint32_t entry);
  bool ClaimDevice(std::uint32_t slot, PartitionId whom, Reach reach, std::uint32_t most);
  bool HasHostSet(bool with_mirrors) const;
  bool ClaimTargetSet(std::uint32_t slot, PartitionId owner, BlockId* target,
                      std::uint8_t& claimed);
  BlockId UseClaim(std::uint64_t number, std::uint32_t group, PartitionId user) {
    Claim& claim = ClaimAt(number);
    claim.used_groups = static_cast<std::uint8_t>(claim.used_groups | 1u << group);
    const BlockId block = ClaimSet(number)[group];
    if (group == 0 && quotas.any()) {
      claim.user = user;
      quotas.Use(block, user);
    }
    return block | kFromClaim;
  }
  void UnuseClaim(std::uint64_t number);
  std::uint64_t PushClaim(RunId run, std::uint32_t entry, std::uint32_t slot, bool host);
  void HideClaimed(RunId run, std::uint32_t count);
  void GiveTargets(std::uint64_t number);
  void UnclaimBack();
  void AbandonClaims(std::uint32_t slot);
  void FinalizeClaims(std::uint64_t end, std::uint32_t slot);
  void FinalizeDrop(std::uint64_t first, std::uint64_t end, std::uint32_t slot);
  void FinalizeMove(std::uint64_t first, std::uint64_t end, std::uint32_t slot);
  void HandOver(std::uint64_t number, std::uint32_t slot);
  void Dethrone(RunId run);
  void DethroneFirstEntry(RunId run);
  void DropLastEntry(RunId run);
  void RemoveEmptied(RunId run);
  void LostChild(RunId parent);
  void DropChildren(RunId run);
  void DropSubtree(RunId run);
  void DropLeaf(RunId run);
  bool EnsureRuns(std::uint32_t count);
  bool HasHostClaims() const;
  std::uint32_t HostRoom(PartitionId whom, std::uint32_t group) const;
  std::uint32_t HostRoomOfSets(PartitionId whom) const;  // of blocks in every group
  void TakeHostNow(PartitionId whom, const BlockId* device, BlockId* set);
  void GiveSet(const BlockId* set);
  void GiveLater(std::uint32_t group, BlockId block);
  void GiveSetLater(const BlockId* set);

  // --- Mirrors (mirrors.cc) ---
  void QueueMirror(BlockId device) {
    if (config.host_write == HostWrite::kThrough) mirrors.Add(device);
  }
  void QueueFound(RunId run);
  bool ClaimMirrorSet(PartitionId owner, RunId run, std::uint32_t entry, BlockId* target);
  void GiveOrMirror(std::uint32_t group, BlockId device, BlockId host);
  void KeepCopy(std::uint32_t group, BlockId device, bool ok);
  void PlanMirrors(std::uint32_t slot);
  bool PlanMirrorsOf(std::uint32_t slot, RunId run);
  bool PlanMirror(std::uint32_t slot, RunId run, std::uint32_t entry);
  void UndoMirrors(std::uint32_t slot);
  void FinishMirrors(std::uint32_t slot, bool ok);

  // --- Quotas (quotas.cc) ---
  Status SetQuota(std::string_view name, const Quota& quota);
  Usage GetUsage(std::string_view name) const;
  PartitionId PartitionOf(RunId run) const {
    return quotas.any() ? index.lists().partition(run) : PartitionId{0};
  }
  bool IsInUse(std::string_view name, const std::vector<RunId>& runs) const;
  void AddPartition(std::string_view name, std::vector<RunId>& runs);
  void RemovePartition(std::string_view name, std::vector<RunId>& runs);
  bool FitsPools(const Quota& quota, PartitionId partition) const;
  std::vector<RunId> RunsOf(std::string_view name) const;
  void BeginCounting();
  void MoveRuns(std::vector<RunId>& runs, PartitionId to);
  void MoveTails(PartitionId of, PartitionId to);
  // The run whose last visible entry may be evicted next for the sake of a partition, or kNone.
  // `slot`: of the step that would evict it, if any. O(quotas).
  RunId VictimFor(PartitionId whom, Reach reach, Tier tier, std::uint32_t slot) {
    return quotas.any() ? VictimAmong(whom, reach, tier, slot) : index.lists().Victim(tier);
  }
  RunId VictimAmong(PartitionId whom, Reach reach, Tier tier, std::uint32_t slot);
  std::uint32_t MostFrom(PartitionId owner, PartitionId whom) const;
  bool LosesKept(PartitionId owner, RunId victim, std::uint32_t slot);
  RunId LeafToDrop(bool spares);
  bool TakeOwn(std::uint32_t slot, PartitionId whom, BlockId& block);
  std::uint32_t InFlightOf(PartitionId whom) const;
  std::uint32_t EvictableFor(PartitionId whom, Tier tier) const;
  std::uint32_t RoomFor(PartitionId whom, Tier tier, std::uint32_t free, std::uint32_t held) const;

  // --- Plans (schedule.cc) ---
  ScheduleResult Schedule(std::uint32_t count);
  ScheduleResult Prefetch(Tokens tokens, std::string_view name, KeyRanges ranges);
  struct BatchTotals {
    std::uint32_t first_mark = 0;
    std::uint64_t tokens = 0;
    std::uint32_t retentions = 0;  // ranges of its sequences
  };
  ScheduleResult Plan(std::uint32_t count, const BatchTotals& totals);
  Status CheckBatch(std::uint32_t count, BatchTotals& totals);
  void ResetStep(std::uint32_t slot);
  bool PlanEntry(std::uint32_t slot, std::uint32_t number, std::uint32_t token_offset);
  void Activate(StepEntry& entry);
  void MatchAgain(EntryChange& change, Tokens tokens);
  bool BringBack(std::uint32_t slot, StepEntry& entry);
  bool OnboardSet(std::uint32_t slot, const BlockId* host, TailId tail, bool swapped);
  bool PlanWrites(std::uint32_t slot, StepEntry& entry, std::uint32_t end);
  bool PlanInIndexed(std::uint32_t slot, StepEntry& entry, std::uint32_t& position,
                     std::uint32_t end);
  bool PlanInTail(std::uint32_t slot, StepEntry& entry, std::uint32_t position);
  bool PlanCopy(std::uint32_t slot, StepEntry& entry, std::uint32_t cell, const BlockId* source,
                std::uint32_t used);
  bool CanTakeOver(const Sequence& sequence) const;
  void TakeOver(EntryChange& change, std::uint32_t position);
  void Reindex(EntryChange& change);
  void ForgetLifted(EntryChange& change);
  bool AddSets(std::uint32_t slot, EntryChange& change, std::uint32_t cell, std::uint32_t count);
  void WriteSlots(std::uint32_t slot, const StepEntry& entry, std::uint32_t first_query);
  void TellEntries(std::uint32_t slot);
  void TellStep(std::uint32_t slot);
  BlockId OnDevice(std::uint32_t group, BlockId block) const {
    return pools[group].IsHost(block) ? pools[group].copy(block) : block;
  }
  std::uint32_t RecomputedOf(const StepEntry& entry) const;
  void TellHostHit(std::uint32_t slot, const StepEntry& entry, std::uint32_t onboards);
  Shortage ShortageOf(std::uint32_t count, PartitionId whom) const;
  std::uint32_t BlocksFor(SequenceId id, std::uint32_t tokens) const;
  std::uint32_t InFlightDevice() const;

  // --- One more token each (own_tails.cc) ---
  std::uint32_t PlanInOwnTails(std::uint32_t slot, std::uint32_t number, std::uint32_t count,
                               std::uint32_t& token_offset);
  std::uint32_t CommitInOwnTails(std::uint32_t slot, std::uint32_t number, const Token*& awaited);
  bool IsAloneInTail(const Sequence& sequence) const;

  // --- A part of a step (accept.cc) ---
  Status Accept(StepHandle handle, SequenceHandle sequence, std::uint32_t count);
  Status FindEntry(std::uint32_t slot, SequenceHandle handle, StepEntry*& entry);
  Status CheckAcceptable(std::uint32_t slot, const StepEntry& entry) const;
  bool IsBuiltUpon(std::uint32_t slot, SequenceId id) const;
  void Reject(std::uint32_t slot, StepEntry& entry, std::uint32_t from);
  const BlockId* KeepCopy(const StepEntry& entry, const BlockId* set);
  void GiveRejected(std::uint32_t slot, const StepEntry& entry, const BlockId* from);

  // --- How plans end (commit.cc) ---
  Status BeginExecute(StepHandle handle);
  Status EndExecute(StepHandle handle, bool ok);
  Status Commit(StepHandle handle, Tokens ids);
  Status Abort(StepHandle handle);
  void Begin(std::uint32_t slot);
  void End(std::uint32_t slot, bool ok);
  void FinishOnboards(std::uint32_t slot);
  void SettleOnboarded(RunId run);
  void CancelOnboards(std::uint32_t slot);
  void FinishArrivals(std::uint32_t slot, bool ok);
  void CommitEntry(std::uint32_t slot, const StepEntry& entry, const Token* ids);
  void CommitChange(std::uint32_t slot, const StepEntry& entry);
  void LeaveShared(SequenceId id, const StepEntry& entry);
  void PublishBlock(SequenceId id, const BlockId* set, const Token* tokens);
  RunId FindPublished(RunId parent, Content block) const;
  void HoldChild(SequenceId id, RunId run);
  void AdoptTail(SequenceId id);
  void UnhideFirst(RunId run);
  void RefreshHeldCells(SequenceId id);
  void UndoEntry(std::uint32_t slot, const StepEntry& entry, bool executed);
  void UndoChange(const StepEntry& entry, EntryChange& change, bool executed);
  void Deactivate(SequenceId id, bool executed);
  void UndoStep(std::uint32_t slot, bool executed);
  void AbortStep(std::uint32_t slot);
  void PassOnRedundant(Step& step);
  void CloseStep(std::uint32_t slot, bool is_undone);
  std::uint32_t* StepWords(std::uint32_t slot) {
    return shared + layout.steps + slot * layout.step_words;
  }

  // --- Transfers (transfer.cc) ---
  struct Transfer {
    std::uint32_t ticket = kNone;
    bool executing = false;
    std::vector<RunId> pins;  // held until the end
    TailId tail = kNone;
    std::vector<BlockId> device_sets;  // deepest last
    std::vector<BlockId> host_sets;
  };
  PreemptResult Preempt(SequenceHandle handle, PreemptMode mode);
  Status BeginTransfer(std::uint32_t ticket);
  Status EndTransfer(std::uint32_t ticket, bool ok);
  PreemptResult SwapOut(SequenceId id);
  PreemptResult Demote(Tokens tokens, std::string_view name, KeyRanges ranges);
  Transfer NewTransfer();
  void SendPath(Transfer& transfer);
  PreemptResult StartTransfer(Transfer transfer);
  std::uint32_t InFlightHost() const;
  void Drop(SequenceId id);
  bool CanMove(RunId run, bool child_moves) const;
  void PinRun(Transfer& transfer, RunId run);
  void SendRun(Transfer& transfer, RunId run);
  void SendSet(Transfer& transfer, PartitionId owner, const BlockId* device);
  void SendTail(Transfer& transfer, TailId tail);
  void SweepParked(Transfer& transfer);
  std::uint32_t TellTransfer(const Transfer& transfer);
  void SettleRun(RunId run, bool ok);
  void SettleTail(TailId tail, bool ok);

  // --- Events (events.cc) ---
  EventsResult TakeEvents(std::span<std::uint32_t> out, bool anew);
  std::uint32_t WriteStored(std::uint32_t number, std::uint32_t* out) const;

  // --- Statistics (stats.cc) ---
  Stats GetStats() const;

  // --- The oracle (validate.cc) ---
  Validation Validate() const;

  const Config config;
  const std::uint32_t groups;
  const bool has_local_groups;
  const std::uint32_t row_cells;  // of a row of a block table
  const SharedLayout layout;
  std::uint32_t* const shared;
  Quotas quotas;
  std::vector<BlockPool> pools;
  ExtraKeys keys;
  PrefixIndex index;

  std::map<std::string, RunId, std::less<>> roots;
  std::unordered_map<RunId, std::string> root_names;  // of cleared roots too
  RunId default_root = kNone;

  std::vector<Sequence> sequences;
  std::vector<SequenceId> free_sequences;
  std::uint32_t closing_sequences = 0;  // that open steps still hold
  ZeroedArray<Token> tail_tokens;
  std::vector<Retention> retentions;  // kMaxRetentions a sequence
  std::vector<Tail> tails;
  std::vector<BlockId> tail_sets;
  TailId free_tail = kNone;

  std::vector<Step> steps;
  std::vector<std::uint32_t> open_steps;  // slots, oldest first
  const std::uint64_t claim_mask;
  std::vector<Claim> claims;  // a ring; their number is a power of two
  std::vector<BlockId> claim_sets;
  std::vector<BlockId> claim_targets;
  std::uint64_t claim_front = 0;
  std::uint64_t claim_back = 0;
  std::vector<std::vector<std::uint64_t>>
      spare_claims;  // per group: claims of this schedule with an unused block
  MirrorQueue mirrors;
  std::uint32_t orphans = 0;        // claims of no step
  std::uint32_t reserved_runs = 0;  // by open steps, for their commits
  std::uint32_t next_mark = 1;
  Status plan_status = Status::kOk;    // why the last plan failed
  std::vector<RunId> path;             // scratch
  std::vector<std::uint32_t> missing;  // scratch: fingerprints

  std::vector<Transfer> transfers;
  std::uint32_t next_ticket = 0;
  std::uint32_t step_serial = 0;
  CostModel costs;
  bool is_pressed = false;  // the device was full, and the high watermark was not reached since
  Stats stats;
};

}  // namespace pagedkv
