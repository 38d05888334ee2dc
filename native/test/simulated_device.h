// A device that is only a memory of numbers, and the oracle of every test: it owns a Manager,
// executes its plans on fake KV memory, and keeps each sequence's true tokens itself.
//
// A token's value is a hash chain over its namespace and all tokens up to it with the extra keys
// that they stand under, so two slots hold the same value only when their keys and values would be
// the same. The "forward pass" checks that every past token reads back right through the block
// tables as uploaded, then writes the batch's tokens.
//
// What it does NOT cover: time (a transfer is early or late, nothing between), and several
// managers.
//
// Invariant: after every call, Validate() finds nothing broken, the tiers add up, every open
// sequence reads back right through its row, quotas hold, and a call that failed left the digest as
// it was.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../core/manager.h"
#include "../core/shared_memory.h"
#include "../core/types.h"
#include "event_mirror.h"
#include "quota_watch.h"

namespace pagedkv {

std::ostream& operator<<(std::ostream& out, Status status);

namespace test {

using TokenList = std::vector<Token>;
using Value = std::uint64_t;

// A key on positions from one up to another, of its own bytes.
struct Key {
  std::uint32_t from = 0;
  std::uint32_t to = kNone;
  std::string bytes;
};
using KeyList = std::vector<Key>;
// As the core takes them, for as long as `keys` is there.
std::vector<KeyRange> Ranges(const KeyList& keys);
// The one at a position, or null.
const Key* KeyAt(const KeyList& keys, std::size_t position);

// What a slot holds that was never written since its block was taken: the bits of a NaN.
inline constexpr Value kPoison = 0x7FF8DEADDEADDEADull;

// `count` tokens that no other `text` contains.
TokenList Text(std::uint32_t text, std::uint32_t count, std::uint32_t first = 0);
TokenList Join(TokenList head, const TokenList& tail);
TokenList Head(const TokenList& tokens, std::size_t count);
TokenList Tail(const TokenList& tokens, std::size_t from);

// Indices into what the simulator keeps; never used again after a close.
using SequenceId = std::uint32_t;
using StepId = std::uint32_t;
using TransferId = std::uint32_t;

struct Entry {
  SequenceId sequence = 0;
  TokenList tokens;
  bool is_count_only = false;  // the core learns the ids at commit
  bool is_guess = false;       // some may be rejected
};

// A planned move of one block; `tokens` for copies only.
struct Move {
  std::uint32_t group = 0;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t tokens = 0;
};

// What an entry of a step had on the host: brought back, or computed all the same.
struct HostHit {
  std::uint32_t entry = 0;
  std::uint32_t blocks = 0;
  std::uint32_t recomputed = 0;
};

class SimulatedDevice {
 public:
  struct Opened {
    Status status = Status::kOk;
    SequenceId sequence = kNone;
    std::uint32_t cached = 0;
  };
  struct Scheduled {
    Status status = Status::kOk;
    StepId step = kNone;
    Shortage shortage;
  };
  struct Preempted {
    Status status = Status::kOk;
    TransferId transfer = kNone;  // kNone: nothing to move
    std::uint32_t moves = 0;
    Shortage shortage;
  };
  enum class Stage { kScheduled, kExecuted, kFailed, kClosed };

  explicit SimulatedDevice(const Config& config);

  // Operations. "Try" answers with what the core said; the others insist on kOk.
  Opened TryOpen(const TokenList& tokens, std::string_view name_space = "",
                 const KeyList& keys = {});
  Opened TryFork(SequenceId sequence, std::uint32_t at);
  Opened TryResume(SequenceId sequence, const TokenList& tokens,
                   const std::optional<KeyList>& keys = std::nullopt);
  Status TryTruncate(SequenceId sequence, std::uint32_t length);
  Status TryClose(SequenceId sequence, std::uint32_t reuse = kReuseUnknown);
  Scheduled TrySchedule(const std::vector<Entry>& entries);
  Status TryExecute(StepId step, bool ok = true);
  Status TryAccept(StepId step, SequenceId sequence, std::uint32_t count);
  Status TryCommit(StepId step);
  Status TryAbort(StepId step);
  Preempted TryPreempt(SequenceId sequence, PreemptMode mode);
  Preempted TryDemote(const TokenList& tokens, std::string_view name_space = "",
                      const KeyList& keys = {});
  Scheduled TryPrefetch(const TokenList& tokens, std::string_view name_space = "",
                        const KeyList& keys = {});
  Status TryRetain(SequenceId sequence, const Retention& retention);
  Status TrySetQuota(std::string_view name_space, const Quota& quota);

  SequenceId Open(const TokenList& tokens, std::string_view name_space = "",
                  const KeyList& keys = {});
  SequenceId Fork(SequenceId sequence, std::uint32_t at);
  std::uint32_t Resume(SequenceId sequence, const TokenList& tokens);  // cached tokens
  void Truncate(SequenceId sequence, std::uint32_t length);
  void Close(SequenceId sequence, std::uint32_t reuse = kReuseUnknown);
  StepId Schedule(const std::vector<Entry>& entries);
  void Execute(StepId step, bool ok = true);
  void Accept(StepId step, SequenceId sequence, std::uint32_t count);
  void Commit(StepId step);  // executes the plan first when Execute was not called
  void Abort(StepId step);
  TransferId Preempt(SequenceId sequence, PreemptMode mode = PreemptMode::kSwap);
  void BeginTransfer(TransferId transfer);
  void EndTransfer(TransferId transfer, bool ok = true);
  void FinishTransfer(TransferId transfer, bool ok = true);
  void Clear(std::optional<std::string_view> name_space);
  void Retain(SequenceId sequence, const Retention& retention);
  std::uint32_t RetainPrompt(const TokenList& tokens, const Retention& retention,
                             std::string_view name_space = "", const KeyList& keys = {});
  void ExpectReuse(const TokenList& tokens, std::uint32_t reuse, std::string_view name_space = "",
                   const KeyList& keys = {});
  void SetTime(std::uint64_t now_ms);
  void SetQuota(std::string_view name_space, const Quota& quota);
  void ReportTransfer(Direction direction, std::uint32_t blocks, double ms);
  void ReportPrefill(std::uint32_t tokens, std::uint32_t past, double ms);
  Manager::VictimResult Victim(const std::vector<SequenceId>& sequences,
                               std::uint32_t blocks) const;
  Manager::LookupResult Lookup(const TokenList& tokens, std::string_view name_space = "",
                               const KeyList& keys = {});

  // Several in one.
  StepId Append(SequenceId sequence, const TokenList& tokens);  // schedule, execute, commit
  SequenceId Chat(const TokenList& tokens, std::string_view name_space = "",
                  const KeyList& keys = {});  // open, then append
  void Cache(const TokenList& tokens, std::string_view name_space = "",
             const KeyList& keys = {});           // a chat, closed
  void SwapOut(SequenceId sequence);              // with its transfer
  std::uint32_t Demote(const TokenList& tokens);  // with its transfer; blocks moved
  StepId Prefetch(const TokenList& tokens);       // scheduled
  void CloseAll();  // ends steps, transfers and sequences; nothing may be held after

  // What the core shows.
  Manager& manager() { return *manager_; }
  const Config& config() const { return config_; }
  std::uint32_t* words() { return words_.data(); }
  std::uint32_t* StepArray(StepId step, std::uint64_t offset);
  std::uint32_t Past(StepId step, std::uint32_t entry);
  std::uint32_t Skipped(StepId step, std::uint32_t entry);
  std::uint32_t QueryTokens(StepId step);
  std::vector<std::uint32_t> Slots(StepId step, std::uint32_t group = 0);
  std::vector<HostHit> HostHits(StepId step);
  std::vector<Move> Copies(StepId step) const;
  std::vector<Move> Offloads(StepId step) const;
  std::vector<Move> Onboards(StepId step) const;
  std::vector<BlockId> Row(SequenceId sequence, std::uint32_t group = 0) const;
  SequenceState State(SequenceId sequence) const;
  std::uint64_t Held() const { return manager_->GetStats().device.held; }
  std::uint64_t HostHeld() const { return manager_->GetStats().host.held; }
  std::uint64_t Digest() const { return manager_->Validate().digest; }
  Usage UsageOf(std::string_view name_space) const { return manager_->GetUsage(name_space); }
  // What events have told so far, read to the last.
  const EventMirror& Events();
  // From now on they are left for the test to read.
  void LeaveEvents() { follows_events_ = false; }

  // What the simulator knows.
  SequenceHandle Handle(SequenceId sequence) const { return sequences_[sequence].handle; }
  StepHandle HandleOfStep(StepId step) const { return steps_[step].handle; }
  const TokenList& History(SequenceId sequence) const { return sequences_[sequence].tokens; }
  const std::map<std::string, Quota, std::less<>>& Quotas() const { return watch_.quotas(); }
  bool IsClosed(SequenceId sequence) const { return sequences_[sequence].is_closed; }
  bool IsInStep(SequenceId sequence) const;
  bool IsInTransfer(SequenceId sequence) const;
  std::uint32_t PendingTokens(SequenceId sequence) const;
  // Of its entry in a step, which may have been accepted; none: kNone.
  std::uint32_t QueryTokens(StepId step, SequenceId sequence) const;
  bool IsAccepted(StepId step, SequenceId sequence) const;
  bool IsBuiltUpon(StepId step, SequenceId sequence) const;
  Stage StageOf(StepId step) const { return steps_[step].stage; }
  std::vector<SequenceId> OpenSequences() const;
  std::vector<StepId> OpenSteps() const;
  std::size_t OpenPrefetches() const;
  std::vector<TransferId> OpenTransfers() const;

  // The whole invariant above. Called by every operation.
  void Check();
  void CheckNothingHeld();

 private:
  struct Sequence {
    SequenceHandle handle;
    std::string name_space;
    KeyList keys;
    TokenList tokens;           // committed
    std::vector<Value> values;  // of each
    bool is_closed = false;
    bool prefetches = false;  // the core's own, for a step without tokens
    bool was_on_host = false;
    bool has_row = true;  // its row tells where its blocks are; not while some are on the host
  };
  struct StepEntry {
    Entry given;
    std::uint32_t base = 0;     // tokens before the given ones, committed and pending
    std::uint32_t skipped = 0;  // of the given ones
    bool is_accepted = false;   // … those left are to be committed
    bool had_row = true;
    Value seed = 0;
    std::vector<Value> values;               // of all tokens, the given ones at the end
    std::vector<std::vector<BlockId>> rows;  // by group, as they stood when scheduled
  };
  using GroupBlock = std::pair<std::uint32_t, BlockId>;
  struct Step {
    StepHandle handle;
    Stage stage = Stage::kScheduled;
    std::vector<StepEntry> entries;
    std::set<GroupBlock> onboarded;  // what it is to bring from the host
    std::set<GroupBlock> shared;     // that, and what it is to copy
    std::set<GroupBlock> used;       // what its rows and copies name
    std::uint64_t digest_before = 0;
    std::uint64_t changes_after = 0;  // of changes_, once it was scheduled
    std::uint64_t events_before = 0;
    std::vector<std::vector<std::uint32_t>> written;  // slots, by group
  };
  struct Transfer {
    std::uint32_t ticket = kNone;
    SequenceId sequence = kNone;
    std::vector<Move> moves;
    bool is_begun = false;
    bool is_ended = false;
    bool is_early = false;  // the copy is done when it begins, not when it ends
  };

  void WriteBatch(const std::vector<Entry>& entries);
  void ReadPlan(Step& step);
  void NoteBlocks(Step& step);
  std::vector<Value> ValuesFor(const Entry& entry) const;
  StepEntry* FindEntry(Step& step, SequenceId sequence);
  void Narrow(Step& step, StepEntry& entry, std::uint32_t count);
  void AppendHistory(Step& step);
  void SetHistory(const StepEntry& entry, std::size_t length);
  bool HadRow(SequenceId id) const;
  bool IsHostEmpty() const;
  void CloseStep(StepId step);
  bool DependsOn(StepId later, const std::vector<StepId>& ended, bool counts_blocks) const;
  void ForgetWritten(Step& step);
  Status Failed(Status status, std::uint64_t digest_before) const;
  Preempted AdoptTransfer(const Manager::PreemptResult& result, SequenceId sequence,
                          std::uint64_t digest_before);
  Opened Adopt(const Manager::OpenResult& result, std::uint64_t digest_before);
  void CheckFound(const Manager::LookupResult& hit, const TokenList& tokens, std::uint32_t cached,
                  const Stats& before);
  void FollowEvents();
  void CheckKnown(const TokenList& tokens, std::string_view name_space, const KeyList& keys,
                  std::size_t found);

  void ActFor(SequenceId sequence) { acting_ = {sequences_[sequence].name_space}; }
  void ActFor(const Step& step);
  void Perform(Step& step);

  // Executing a plan.
  void ApplyMoves(const Step& step);
  void SpoilTargets(const Step& step);
  void UploadTables(const Step& step);
  void PoisonFreshBlocks(const Step& step);
  void Forward(Step& step);
  void CheckPast(const Step& step) const;
  void WriteQuery(Step& step);
  void CopyMoves(const std::vector<Move>& moves);
  std::vector<Move> Moves(const Step& step, StepWord count, std::uint64_t offset,
                          std::uint32_t words) const;
  std::uint32_t StepWordAt(const Step& step, std::uint64_t offset) const;
  std::uint64_t RowOffset(std::uint32_t group, std::uint32_t slot) const;
  void PoisonBlock(std::vector<Value>& memory, std::uint32_t block);

  // Reading back what sequences hold; a block that an open step or transfer will fill is read at
  // its source.
  struct Place {
    bool is_on_host = false;
    std::uint32_t block = 0;
  };
  struct PendingMoves {
    std::vector<Move> offloads, onboards, copies;
  };
  Place Resolve(std::uint32_t group, Place place, std::size_t steps) const;
  Place ResolveBeforeCopies(std::uint32_t group, Place place, std::size_t steps) const;
  Value ValueAt(std::uint32_t group, Place place, std::uint32_t offset) const;
  void ReadBack(SequenceId sequence) const;
  std::uint32_t LengthToldOf(const Sequence& sequence, std::uint32_t asked) const;
  bool IsRead(std::uint32_t group, std::uint32_t position, std::uint32_t cell) const;
  void CheckTier(const TierStats& tier, std::uint32_t total) const;

  Config config_;
  SharedLayout layout_;
  std::vector<std::uint32_t> words_;
  std::unique_ptr<Manager> manager_;

  std::vector<std::vector<Value>> device_;  // by group, then slot
  std::vector<std::vector<Value>> host_;
  std::vector<std::uint32_t> uploaded_;  // the block tables as the device has them
  std::vector<Sequence> sequences_;
  std::vector<Step> steps_;
  std::vector<Transfer> transfers_;
  std::vector<PendingMoves> pending_;  // of the open steps not executed, oldest first
  std::map<std::string, std::uint32_t, std::less<>>
      epochs_;  // of a namespace: how often it was cleared
  std::uint32_t all_epochs_ = 0;
  std::set<Value> committed_;  // every prefix ever committed
  std::uint64_t changes_ = 0;  // calls that changed the core's state
  std::uint64_t coin_ = 0;
  QuotaWatch watch_;
  std::optional<std::set<std::string>> acting_;  // the namespaces of this operation, where known
  bool follows_events_;
  EventMirror mirror_;

  Value Seed(std::string_view name_space) const;
  Value SeedFor(SequenceId sequence) const;
};

}  // namespace test
}  // namespace pagedkv
