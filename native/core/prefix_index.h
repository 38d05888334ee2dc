// The prefix index finds the longest computed prefix of a prompt, exactly: it compares tokens and
// trusts no hash. It is a radix tree whose nodes are *runs* of up to kRunBlocks full blocks, so
// that one reference, one list link and one eviction entry serve a run.
//
// - An *entry* is one full block of tokens: a token slot, which has its content, and a block in
// each
//   cache group.
// - A namespace is a root: a run with no entries.
// - The children of a run differ in their first block. They stand in a treap ordered by it (see
//   token_slots.h), so the
//   longest common prefix with a prompt is found beside the point where the prompt would stand:
//   O(log) comparisons however many siblings there are, and no prompt can be built that makes it
//   slow.
// - A holder (a sequence, a tail, a transfer) holds a run up to its end, and with it every run
// above.
//   Where a holder needs less than a whole run, the run is split.
// - A run lives in one tier. What is on the device has only device runs above it.
// - The last `hidden` entries of a run are promised to an open step, or still arriving on the host:
// no
//   prompt finds them.
//
// Runs that nobody holds wait in the lists of run_lists.h until they are used again or evicted.
#pragma once

#include <memory>
#include <span>

#include "block_pool.h"
#include "event_log.h"
#include "expiry.h"
#include "extra_keys.h"
#include "run.h"
#include "run_lists.h"
#include "token_slots.h"
#include "types.h"
#include "zeroed.h"

namespace pagedkv {

// The most runs that committing one step can take: a new one for each sequence and for each
// kRunBlocks blocks, and those that splits make on the way.
inline std::uint32_t RunsPerStep(const Config& config) {
  return (4 + 3 * kMaxRetentions) * config.max_batch_sequences +
         config.max_batch_tokens / config.block_size / kRunBlocks + 8;
}

// The stamp of a held run that some other holder has given back: its place in the list is lost.
inline constexpr std::uint64_t kUsedSince = 0;

enum class HoldKind { kActive, kParked };  // parked: by a swapped-out sequence or a transfer

class PrefixIndex {
 public:
  // A prefix of `tokens` tokens in full blocks ends after `count` entries of `run`; `part` more
  // tokens agree with entry `part_index` of `part_run`.
  struct Match {
    RunId run = kNone;
    std::uint32_t count = 0;
    std::uint32_t tokens = 0;
    std::uint32_t part = 0;
    RunId part_run = kNone;
    std::uint32_t part_index = 0;
  };

  PrefixIndex(const Config& config, std::vector<BlockPool>& pools, ExtraKeys& keys,
              std::uint64_t secret);

  static std::uint64_t MetadataBytes(const Config& config);

  const Run& run(RunId id) const { return runs_[id]; }
  Run& run(RunId id) { return runs_[id]; }
  std::uint32_t run_capacity() const { return run_capacity_; }
  std::uint32_t free_runs() const { return free_runs_; }
  const TokenSlots& slots() const { return slots_; }
  EventLog& events() { return events_; }
  const EventLog& events() const { return events_; }

  TokenSlot SlotOf(RunId run, std::uint32_t entry) const { return Lane(run, 0)[entry]; }
  const Token* TokensOf(RunId run, std::uint32_t entry) const {
    return slots_.TokensOf(SlotOf(run, entry));
  }
  Extra ExtraOf(RunId run, std::uint32_t entry) const { return slots_.ExtraOf(SlotOf(run, entry)); }
  BlockId block(RunId run, std::uint32_t entry, std::uint32_t group) const {
    return Lane(run, group + 1)[entry];
  }
  const BlockId* blocks(RunId run, std::uint32_t group) const { return Lane(run, group + 1); }
  std::uint32_t blocks_above_end(RunId id) const { return runs_[id].depth + runs_[id].length; }
  bool IsHost(RunId id) const { return (runs_[id].flags & kRunHost) != 0; }
  bool IsDetached(RunId id) const { return (runs_[id].flags & kRunDetached) != 0; }
  bool IsHeld(RunId id) const { return runs_[id].active + runs_[id].parked > 0; }
  std::uint32_t Visible(RunId id) const {
    return runs_[id].length - std::uint32_t{runs_[id].hidden};
  }

  // The longest prefix of `head` followed by `tail`, which continue at the end of `from` under the
  // keys that `extras` tells. O(blocks matched).
  Match Find(RunId from, Tokens head, Tokens tail, ExtraCursor extras) const;
  // The child whose first entry is just this block, hidden or not; or kNone.
  RunId FindChild(RunId parent, Content block) const;

  RunId AddRoot();
  void RemoveRoot(RunId root);

  // A token slot for an entry that is to be added; requires that one is free.
  TokenSlot NewSlot(Content block) { return slots_.Add(block); }
  // Gives the slot of an entry back that stands in the tree no more: it is gone for good.
  void Forget(TokenSlot slot);

  // Adds an entry below `parent`, as a run of its own; requires a free run.
  RunId AddChild(RunId parent, TokenSlot slot, const BlockId* set);
  // Whether one active holder, and nobody else, needs the end of a run.
  static bool IsSoleEnd(const Run& run) {
    return run.holders == 1 && run.active == 1 && run.parked == 0 && run.child == kNone &&
           run.hidden == 0 &&
           (run.flags & (kRunHost | kRunLeaving | kRunArriving | kRunOnboarding)) == 0;
  }
  // Adds an entry at the end of a run that has one holder, no child, and room.
  bool CanAppend(RunId run) const;
  void Append(RunId run, TokenSlot slot, const BlockId* set);
  // Takes the last entry of several away, or a run with its one entry, no holder and no child. The
  // blocks are the caller's.
  void PopTail(RunId run) { Forget(LiftTail(run)); }
  void RemoveRun(RunId run) { Forget(LiftRun(run)); }
  // As these, but the entry keeps its token slot, to be added again or forgotten.
  TokenSlot LiftTail(RunId run);
  TokenSlot LiftRun(RunId run);
  // From now on nobody finds the run or what will be added below it.
  void Detach(RunId run);
  // Takes the last entries away, so many, all of them hidden; at least one stays.
  void PopHidden(RunId run, std::uint32_t count);

  // A run that ends after the first `count` entries of `run`: `run` itself, or a new run above it.
  RunId EndAfter(RunId run, std::uint32_t count);
  // Splits off the first `count` entries as a new run, the parent of what is left. O(1).
  RunId Split(RunId run, std::uint32_t count);
  // Joins `run` with its only child where nothing tells them apart, or, where runs are short,
  // nothing that must. O(1).
  void TryMerge(RunId run, bool is_needed = false);
  // Does so everywhere. O(runs): for when no run is left.
  void Compact(bool is_needed);

  void Acquire(RunId run, HoldKind kind);
  // Gives a hold back. Runs that nobody holds any more become the most recently used, deepest
  // first.
  void Release(RunId run, HoldKind kind);
  // A hold becomes one of another kind, or of the parent or child. This does not count as a use.
  void Exchange(RunId from, HoldKind from_kind, RunId to, HoldKind to_kind);
  // As if the hold had never been: runs go back to where they stood, unless others used them
  // meanwhile.
  void UndoAcquire(RunId run, HoldKind kind);

  void SetBlock(RunId run, std::uint32_t entry, std::uint32_t group, BlockId block);
  // Moves a run between tiers, once the blocks of its entries are replaced. Requires that no list
  // has it.
  void SetHost(RunId run, bool host);
  void SetHidden(RunId run, std::uint32_t hidden);

  // A run in no list joins the one that fits its state, if any does.
  void Enlist(RunId run, Entrance entrance);
  void Unlist(RunId run);
  // The list that a run belongs in, as it stands.
  ListId ListFor(RunId run) const;
  // What was asked for a run: from now on for one that is held, at once for one that waits, and
  // that counts as a use. `life`: in milliseconds after its last use; 0: for ever. O(log runs).
  void Retain(RunId run, std::uint8_t priority, std::uint32_t life);
  bool IsRetained(RunId run, std::uint8_t priority, std::uint32_t life) const {
    return uses_[run].priority == priority && LifeOf(run) == life;
  }
  std::uint32_t LifeOf(RunId run) const {
    return (runs_[run].flags & kRunTimed) == 0 ? 0 : expiry_.life(run);
  }
  // Nobody will ask for a run that waits: it goes first.
  void MakeWorthless(RunId run);
  // What the turn that used a run last left, from its end or from within it up, is expected again
  // in so many milliseconds: it goes to the queues that fit that. This does not count as a use.
  // O(runs above).
  void Expect(RunId run, std::uint32_t reuse);
  // Time passes: runs whose life is over become worthless. O(log runs) for each of these.
  void SetTime(Milliseconds now);

  // A run begins to be evicted: loads what that will touch, and what the next ones of its list
  // will.
  void PrefetchEviction(RunId run) const;

  RunLists& lists() { return lists_; }
  const RunLists& lists() const { return lists_; }
  RunUse& use(RunId run) { return uses_[run]; }
  EvictionPolicy& policy() { return *policy_; }
  // Of the prefix that ends after the first `count` entries of a run, and of one block more than a
  // prefix. Only where the policy remembers.
  std::uint32_t FingerprintAfter(RunId run, std::uint32_t count) const;
  std::uint32_t Fingerprint(std::uint32_t prefix, Content block) const;
  const RunUse& use(RunId run) const { return uses_[run]; }

  // Whether a child can be found from below, as it should.
  bool KnowsPlace(RunId child) const;
  // Calls `visit` with each child of a run, in token order.
  template <typename Visit>
  void ForEachChild(RunId parent, Visit visit) const {
    VisitTreap(runs_[parent].child, visit);
  }

 private:
  template <typename Visit>
  void VisitTreap(RunId node, Visit& visit) const {
    if (node == kNone) return;
    const RunId right = runs_[node].right;
    VisitTreap(runs_[node].left, visit);
    visit(node);
    VisitTreap(right, visit);
  }

  // Lane 0 of a run holds its entries' token slots, lane g + 1 their blocks in group g.
  std::uint32_t* Lane(RunId run, std::uint32_t lane) {
    return &lanes_[(std::size_t{run} * lane_count_ + lane) * kRunBlocks];
  }
  const std::uint32_t* Lane(RunId run, std::uint32_t lane) const {
    return &lanes_[(std::size_t{run} * lane_count_ + lane) * kRunBlocks];
  }

  RunId NewRun();
  void FreeRun(RunId run);
  void WriteEntry(RunId run, std::uint32_t entry, TokenSlot slot, const BlockId* set);
  void TellStored(RunId run, std::uint32_t entry);
  void Relink(RunId run, std::uint32_t begin, std::uint32_t end);
  RunId Insert(RunId root, RunId node);
  void SplitTreap(RunId root, Content key, RunId& left, RunId& right);
  RunId JoinTreaps(RunId left, RunId right);
  void SetLeft(RunId node, RunId below);
  void SetRight(RunId node, RunId below);
  void SetPlace(RunId child, RunId other);
  void Replace(RunId old_child, RunId new_child);
  void Remove(RunId child);
  void Prefetch(RunId run) const;
  void PrefetchPath(RunId run) const;
  RunId FindBelow(RunId parent, Content query, std::uint32_t limit, Match& match) const;
  std::uint32_t TreapPriority(RunId run) const;
  void CountVisible(RunId run, std::uint32_t before);
  void Park(RunId run);
  ListId QueueOf(RunId run, const RunUse& use) const {
    return RunLists::QueueList(IsHost(run) ? Tier::kHost : Tier::kDevice, use.level, use.queue);
  }
  const RunUse& Use(RunId run);
  bool CanMerge(RunId run, bool is_needed) const;

  const std::uint32_t block_size_;
  const std::uint32_t fingerprint_mask_;
  const std::uint32_t groups_;
  const std::uint32_t lane_count_;
  std::vector<BlockPool>& pools_;
  ExtraKeys& keys_;
  std::uint32_t run_capacity_;
  ZeroedArray<Run> runs_;
  ZeroedArray<RunUse> uses_;
  std::unique_ptr<EvictionPolicy> policy_;
  ZeroedArray<std::uint32_t> lanes_;
  ZeroedArray<RunId> ups_;  // in the treap of siblings; of no meaning at its root
  TokenSlots slots_;
  EventLog events_;
  RunId free_run_ = kNone;
  RunId fresh_run_ = 0;
  std::uint32_t free_runs_;
  const std::uint64_t secret_;
  RunLists lists_;
  Expiry expiry_;
  Milliseconds now_ = 0;
};

}  // namespace pagedkv
