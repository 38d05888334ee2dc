// The oracle: recomputes every counter and every link from scratch, ends in the conservation law
// (each block is accounted for exactly once), and digests the whole logical state. Run boundaries,
// which splitting and merging move, are no part of the digest.
#include <algorithm>
#include <string>

#include "content_audit.h"
#include "manager_state.h"
#include "oracle.h"
#include "quota_audit.h"

namespace pagedkv {
// One walk over everything, which gathers what it meets and compares at the end.
class Validator {
 public:
  explicit Validator(const Manager::State& state)
      : s_(state), index_(state.index), content_(state) {}

  std::uint64_t Walk() {
    holds_.resize(index_.run_capacity());
    listed_.resize(std::size_t{s_.quotas.size()} * kLists);
    for (const BlockPool& pool : s_.pools) {
      seen_.emplace_back(std::size_t{pool.device_total()} + pool.host_total(), false);
    }
    CollectHolds();
    CheckSequences();
    CheckTrees();
    CheckLists();
    CheckTails();
    CheckSteps();
    CheckPools();
    AuditQuotas(s_, digest_);
    content_.Check();
    return digest_.value() + unordered_;
  }

 private:
  struct Holds {
    std::uint32_t active = 0;
    std::uint32_t parked = 0;
    std::uint32_t holders = 0;
    bool reached = false;
  };

  void Hold(RunId run, HoldKind kind) {
    Require(run < holds_.size(), "a holder names a run that is not there");
    holds_[run].holders++;
    (kind == HoldKind::kActive ? holds_[run].active : holds_[run].parked)++;
  }

  void See(std::uint32_t group, BlockId block, BlockState state, const char* what) {
    block &= ~kFromClaim;
    Require(block < seen_[group].size(), what);
    Require(!seen_[group][block], "a block is accounted for twice");
    Require(s_.pools[group].state(block) == state, what);
    seen_[group][block] = true;
  }

  bool IsOpen(SequenceId id) const { return s_.sequences[id].state != SequenceState::kClosed; }

  void CollectHolds() {
    tail_holders_.resize(s_.tails.size());
    tail_active_.resize(s_.tails.size());
    for (SequenceId id = 0; id < s_.sequences.size(); ++id) {
      if (!IsOpen(id)) continue;
      const Sequence& sequence = s_.sequences[id];
      open_++;
      Hold(sequence.run, s_.KindOf(sequence));
      content_.SeeList(sequence.keys);
      if (sequence.tail == kNone) continue;
      tail_holders_[sequence.tail]++;
      if (sequence.state == SequenceState::kActive) tail_active_[sequence.tail]++;
    }
    for (const std::uint32_t slot : s_.open_steps) {
      for (const EntryChange& change : s_.steps[slot].changes) {
        if (change.old_run != kNone) Hold(change.old_run, HoldKind::kActive);
        const RunId above = s_.sequences[change.sequence].run;
        if (change.lifted != kNone) content_.SeeLifted(change.lifted, above);
      }
    }
    for (const auto& transfer : s_.transfers) {
      for (const RunId run : transfer.pins) Hold(run, HoldKind::kParked);
      if (transfer.tail != kNone) tail_holders_[transfer.tail]++;
    }
    for (TailId tail = 0; tail < s_.tails.size(); ++tail) {
      if (tail_holders_[tail] == 0 || s_.tails[tail].run == kNone) continue;
      Hold(s_.tails[tail].run, s_.tails[tail].active > 0 ? HoldKind::kActive : HoldKind::kParked);
    }
    Require(s_.stats.sequences == open_, "the count of open sequences is off");
    Require(s_.free_sequences.size() + open_ <= s_.sequences.size(),
            "a sequence slot is open and free");
  }

  void CheckSequences() {
    const std::uint32_t bs = s_.config.block_size;
    std::uint32_t closing = 0;
    for (SequenceId id = 0; id < s_.sequences.size(); ++id) {
      const Sequence& sequence = s_.sequences[id];
      digest_.Add(sequence.generation);
      if (!IsOpen(id)) continue;
      closing += sequence.closing ? 1 : 0;
      Require(index_.blocks_above_end(sequence.run) == sequence.blocks,
              "a sequence's block count is off");
      Require(index_.run(sequence.run).hidden == 0, "a sequence holds a hidden entry");
      const std::uint32_t held = sequence.blocks * bs;
      if (sequence.tail != kNone) {
        const Tail& tail = s_.tails[sequence.tail];
        Require(sequence.length > held && sequence.length < held + bs,
                "a tail holds no part of a block");
        Require(tail.run != kNone || tail.used >= sequence.length - held,
                "a tail is shorter than its holder");
      } else {
        Require(sequence.length <= held, "tokens stand in no block");
        Require(sequence.length + bs >= held, "a sequence holds a block that it has no token in");
      }
      Require(sequence.planned >= sequence.length, "less is planned than committed");
      Require(sequence.steps != 0 || sequence.planned == sequence.length,
              "tokens are planned in no step");
      Require(sequence.steps != 0 || !sequence.diverged, "a block was left in no step");
      for (const std::uint64_t part :
           {std::uint64_t{id}, std::uint64_t{sequence.length}, std::uint64_t{sequence.planned},
            std::uint64_t{sequence.cached}, std::uint64_t{sequence.recomputed_end},
            std::uint64_t{sequence.steps}, static_cast<std::uint64_t>(sequence.state),
            std::uint64_t{sequence.closing}, content_.DigestOfList(sequence.keys)}) {
        digest_.Add(part);
      }
      DigestBlocks(sequence);
      Require(s_.ServedLength(sequence, sequence.length) == sequence.length,
              "a sequence lacks a block that it reads");
      if (sequence.state == SequenceState::kActive && sequence.resident) CheckRow(id);
    }
    Require(closing == s_.closing_sequences, "the count of closing sequences is off");
  }

  // From the end to the start: a tail that was filled and indexed reads as the block that it is.
  void DigestBlocks(const Sequence& sequence) {
    if (sequence.tail != kNone) {
      for (std::uint32_t group = 0; group < s_.groups; ++group) {
        digest_.Add(s_.TailSet(sequence.tail)[group]);
      }
    }
    for (RunId run = sequence.run; index_.run(run).parent != kNone; run = index_.run(run).parent) {
      for (std::uint32_t entry = index_.run(run).length; entry-- > 0;) {
        for (std::uint32_t group = 0; group < s_.groups; ++group) {
          digest_.Add(index_.block(run, entry, group));
        }
      }
    }
  }

  bool IsRead(const Sequence& sequence, std::uint32_t group, std::uint32_t cell) const {
    const GroupConfig& kind = s_.config.groups[group];
    const std::uint64_t first = std::uint64_t{cell} * s_.config.block_size;
    return first + s_.config.block_size > kind.NeededFrom(sequence.length) || first < kind.sinks;
  }

  // The rows are written for the device, and only checked here: nothing of the core is read from
  // them.
  void CheckRow(SequenceId id) {
    const Sequence& sequence = s_.sequences[id];
    const std::uint64_t row = s_.layout.block_tables + std::uint64_t{id} * s_.row_cells;
    const std::uint64_t group_cells = std::uint64_t{s_.config.max_sequences} * s_.row_cells;
    for (RunId run = sequence.run; index_.run(run).parent != kNone; run = index_.run(run).parent) {
      Require(!index_.IsHost(run), "a resident sequence holds a block on the host");
      if (sequence.steps != 0) continue;
      for (std::uint32_t entry = 0; entry < index_.run(run).length; ++entry) {
        const std::uint32_t cell = index_.run(run).depth + entry;
        for (std::uint32_t group = 0; group < s_.groups; ++group) {
          if (!IsRead(sequence, group, cell)) continue;
          Require(s_.shared[row + std::uint64_t{group} * group_cells + cell] ==
                      index_.block(run, entry, group),
                  "a block table names another block than the index");
        }
      }
    }
    if (sequence.steps == 0 && sequence.tail != kNone) {
      Require(s_.shared[row + sequence.blocks] == s_.TailSet(sequence.tail)[0],
              "a block table names another block than the tail");
    }
  }

  void CheckTrees() {
    std::uint32_t roots = 0;
    for (const auto& [name, root] : s_.roots) {
      roots++;
      Require(index_.run(root).parent == kNone && index_.run(root).length == 0,
              "a root is not a root");
      CheckTree(root, std::hash<std::string>()(name));
    }
    // What was cleared while held hangs on roots that no name leads to.
    for (RunId run = 0; run < holds_.size(); ++run) {
      if (holds_[run].holders == 0) continue;
      const RunId root = s_.RootOf(run);
      if (holds_[root].reached) continue;
      roots++;
      CheckTree(root, 0);
    }
    Require(s_.root_names.size() == roots, "a root has lost its name");
    Require(reached_ + index_.free_runs() == index_.run_capacity(), "a run is lost");
    Require(content_.slots() + index_.slots().free_count() == index_.slots().capacity(),
            "a token slot is lost");
  }

  void CheckTree(RunId root, std::uint64_t name) {
    std::vector<std::pair<RunId, std::uint64_t>> left{{root, name}};
    while (!left.empty()) {
      const auto [run, above] = left.back();
      left.pop_back();
      CheckRun(run, above, left);
    }
  }

  void CheckRun(RunId id, std::uint64_t above, std::vector<std::pair<RunId, std::uint64_t>>& left) {
    const Run& run = index_.run(id);
    Require(!holds_[id].reached, "a run has two parents");
    holds_[id].reached = true;
    reached_++;
    if (run.parent != kNone) {
      const Run& parent = index_.run(run.parent);
      Require(run.length > 0 && run.length <= kRunBlocks && run.hidden <= run.length,
              "a run's length is off");
      Require(run.depth == parent.depth + parent.length, "a run's depth is off");
      Require((run.flags & kRunHost) != 0 || (parent.flags & kRunHost) == 0,
              "a device run below a host run");
      Require(parent.hidden == 0 || run.hidden == run.length || (run.flags & kRunHost) != 0,
              "a device run stands visible below a hidden entry");
    }
    above = CheckEntries(id, above);
    std::uint32_t active = holds_[id].active;
    std::uint32_t parked = holds_[id].parked;
    std::uint32_t device_children = 0;
    std::uint32_t visible_children = 0;
    std::uint32_t visible_on_device = 0;
    Content last;
    index_.ForEachChild(id, [&](RunId child) {
      const Content first = index_.slots().ContentOf(index_.SlotOf(child, 0));
      Require(index_.run(child).parent == id, "a child has another parent");
      Require(index_.KnowsPlace(child), "a child does not know its place among its siblings");
      Require(last.tokens == nullptr || content_.Precedes(last, first) ||
                  (index_.IsDetached(id) && !content_.Precedes(first, last)),
              "siblings stand out of order");
      last = first;
      left.emplace_back(child, above);
      const bool is_visible = index_.Visible(child) > 0;
      if (is_visible) visible_children++;
      if (!index_.IsHost(child)) {
        device_children++;
        if (is_visible) visible_on_device++;
      }
      active += index_.run(child).active > 0 ? 1 : 0;
      parked += index_.run(child).parked > 0 ? 1 : 0;
    });
    Require(run.device_children == device_children && run.visible_children == visible_children &&
                run.visible_on_device == visible_on_device,
            "a count of children is off");
    Require(run.active == active && run.parked == parked && run.holders == holds_[id].holders,
            "a count of holders is off");
    Require(run.hidden == 0 || active + parked == 0, "a held run has hidden entries");
    Require((run.flags & (kRunLeaving | kRunOnboarding)) == 0 || active + parked > 0,
            "a run in flight is not pinned");
    Require(run.list == index_.ListFor(id) || (run.flags & kRunArriving) != 0,
            "a run stands in the wrong list");
    const bool is_aside = (run.flags & kRunAside) != 0;
    Require(!is_aside || (RunLists::IsQueue(run.list) &&
                          (index_.IsHost(id) ? visible_children : visible_on_device) > 0),
            "a run stands aside, and no child keeps it from being evicted");
    if (run.list != kNoList) Listed(QueuedUnder(id), run.list).push_back(id);
  }

  std::uint64_t CheckEntries(RunId id, std::uint64_t above) {
    for (std::uint32_t entry = 0; entry < index_.run(id).length; ++entry) {
      content_.SeeEntry(id, entry);
      Digest entry_digest;
      entry_digest.Add(above);
      entry_digest.Add(entry < index_.Visible(id));
      entry_digest.Add(index_.use(id).priority);
      const Token* tokens = index_.TokensOf(id, entry);
      for (std::uint32_t i = 0; i < s_.config.block_size; ++i) entry_digest.Add(tokens[i]);
      entry_digest.Add(content_.DigestOf(index_.ExtraOf(id, entry)));
      for (std::uint32_t group = 0; group < s_.groups; ++group) {
        const BlockId block = index_.block(id, entry, group);
        entry_digest.Add(block);
        if (block == kNone) {
          Require(s_.config.groups[group].is_local(), "an entry has lost a block");
          continue;
        }
        See(group, block, BlockState::kIndexed, "an indexed block is not marked as such");
        Require(s_.pools[group].run(block) == id, "a block names another run");
        Require(s_.pools[group].IsHost(block) == index_.IsHost(id),
                "a block and its run are in two tiers");
        if (!index_.IsHost(id) && s_.pools[group].HasMirror(block))
          entry_digest.Add(s_.pools[group].copy(block));
      }
      above = entry_digest.value();
      unordered_ += above;
    }
    return above;
  }

  // The parked runs of all partitions stand in one list.
  PartitionId QueuedUnder(RunId id) const {
    return RunLists::IsQueue(index_.run(id).list) ? s_.PartitionOf(id) : PartitionId{0};
  }
  std::vector<RunId>& Listed(PartitionId partition, ListId list) {
    return listed_[partition * kLists + list];
  }

  void CheckLists() {
    std::vector<std::uint32_t> all(kLists, 0);
    for (std::uint32_t id = 0; id < s_.quotas.size(); ++id) {
      const auto partition = static_cast<PartitionId>(id);
      std::uint32_t cached[kTiers] = {};
      for (std::uint32_t number = kParkedList; number < kLists; ++number) {
        const auto list = static_cast<ListId>(number);
        const std::uint32_t blocks = CheckList(partition, list);
        all[list] += blocks;
        if (RunLists::IsQueue(list)) cached[(list - kFirstQueue) / kQueuesPerTier] += blocks;
      }
      Require(cached[0] == index_.lists().CachedBlocks(Tier::kDevice, partition) &&
                  cached[1] == index_.lists().CachedBlocks(Tier::kHost, partition),
              "a count of cached blocks is off");
    }
    for (std::uint32_t number = kParkedList; number < kLists; ++number) {
      Require(all[number] == index_.lists().BlocksIn(static_cast<ListId>(number)),
              "a list's count of blocks is off");
    }
  }

  // Its blocks. The digest takes those set aside where they would stand: whether they are is no
  // part of the state.
  std::uint32_t CheckList(PartitionId partition, ListId list) {
    std::vector<RunId>& runs = Listed(partition, list);
    std::sort(runs.begin(), runs.end(),
              [&](RunId a, RunId b) { return index_.run(a).stamp < index_.run(b).stamp; });
    CheckChain(partition, list, runs);
    std::uint64_t stamp = 0;
    std::uint32_t blocks = 0;
    for (const RunId id : runs) {
      Require(index_.run(id).stamp > stamp || id == runs.front(), "a list is out of order");
      stamp = index_.run(id).stamp + index_.run(id).length - 1;
      blocks += index_.Visible(id);
      for (std::uint32_t entry = index_.Visible(id); entry-- > 0;)
        digest_.Add(index_.block(id, entry, 0));
    }
    digest_.Add(blocks);
    return blocks;
  }

  void CheckChain(PartitionId partition, ListId list, const std::vector<RunId>& runs) {
    RunId prev = kNone;
    RunId next = index_.lists().Front(list, partition);
    for (const RunId id : runs) {
      if ((index_.run(id).flags & kRunAside) != 0) continue;
      Require(next == id && index_.run(id).prev == prev, "a list's links are broken");
      prev = id;
      next = index_.run(id).next;
    }
    Require(next == kNone, "a list's links are broken");
  }

  void CheckTails() {
    std::size_t free = 0;
    for (TailId tail = s_.free_tail; tail != kNone; tail = s_.tails[tail].next_free) free++;
    std::size_t used = 0;
    for (TailId id = 0; id < s_.tails.size(); ++id) {
      if (tail_holders_[id] == 0) continue;
      used++;
      const Tail& tail = s_.tails[id];
      Require(tail.holders == tail_holders_[id] && tail.active == tail_active_[id],
              "a tail's holders are off");
      Require(tail.leavers <= tail.holders, "more leave a tail than hold it");
      if (tail.run != kNone) continue;
      for (std::uint32_t group = 0; group < s_.groups; ++group) {
        const BlockId block = s_.TailSet(id)[group];
        See(group, block,
            s_.pools[group].IsHost(block) ? BlockState::kArriving : BlockState::kPrivate,
            "a tail's block is not marked as such");
      }
    }
    Require(free + used == s_.tails.size(), "a tail is lost");
  }

  void CheckSteps() {
    for (std::uint64_t number = s_.claim_front; number < s_.claim_back; ++number)
      CheckClaim(number);
    CheckEntries();
    for (const std::uint32_t slot : s_.open_steps) {
      const Step& step = s_.steps[slot];
      Require(step.state != StepState::kFree, "an open step is free");
      digest_.Add(static_cast<std::uint64_t>(step.state));
      for (const StepEntry& entry : step.entries) {
        Require((s_.sequences[entry.sequence].steps >> slot & 1u) != 0,
                "a sequence does not know its step");
        digest_.Add(entry.begin);
        digest_.Add(entry.end);
      }
      CheckStepBlocks(step);
      CheckStepMirrors(step);
    }
    for (const auto& transfer : s_.transfers) {
      for (std::size_t i = 0; i < transfer.host_sets.size(); ++i) {
        const auto group = static_cast<std::uint32_t>(i % s_.groups);
        See(group, transfer.host_sets[i], BlockState::kArriving,
            "a transfer's target is not marked as such");
      }
    }
  }

  // What steps compute of a sequence stands end to end, from what is committed to what is planned.
  void CheckEntries() {
    std::vector<std::uint32_t> ends;
    for (const Sequence& sequence : s_.sequences) ends.push_back(sequence.length);
    for (const std::uint32_t slot : s_.open_steps) {
      std::uint32_t queries = 0;
      for (const StepEntry& entry : s_.steps[slot].entries) {
        Require(entry.begin <= entry.end, "an entry ends before it begins");
        Require(ends[entry.sequence] == entry.begin,
                "an entry does not begin where its tokens end");
        ends[entry.sequence] = entry.end;
        queries += entry.end - entry.begin;
      }
      Require(s_.steps[slot].queries == queries, "a step's count of query tokens is off");
    }
    for (SequenceId id = 0; id < s_.sequences.size(); ++id) {
      Require(s_.sequences[id].planned == ends[id], "more is planned than steps compute");
    }
  }

  void CheckClaim(std::uint64_t number) {
    const std::size_t at = s_.ClaimPlace(number);
    const Claim& claim = s_.claims[at];
    digest_.Add(claim.step);
    for (std::uint32_t group = 0; group < s_.groups; ++group) {
      const BlockId block = s_.claim_sets[at * s_.groups + group];
      if (claim.run == kNone && block != kNone)
        See(group, block, BlockState::kPrivate, "a claimed block is not marked as such");
      if (claim.offloads && (claim.target_claimed >> group & 1u) == 0) {
        See(group, s_.claim_targets[at * s_.groups + group], BlockState::kArriving,
            "an offload's target is not marked as such");
      }
    }
    if (claim.run != kNone)
      Require(index_.run(claim.run).hidden > 0, "a claimed entry is not hidden");
  }

  void CheckStepBlocks(const Step& step) {
    const bool planned = step.state == StepState::kPlanned;
    for (std::size_t i = 0; i < step.sets.size(); ++i) {
      const BlockId block = step.sets[i];
      if (block == kNone || (planned && (block & kFromClaim) != 0)) continue;
      See(static_cast<std::uint32_t>(i % s_.groups), block, BlockState::kPrivate,
          "a step's block is not marked as such");
    }
    for (const Deferred& deferred : step.deferred) {
      See(deferred.group, deferred.block, BlockState::kPrivate,
          "a deferred block is not marked as such");
    }
    for (const Deferred& redundant : step.redundant) {
      See(redundant.group, redundant.block, BlockState::kPrivate,
          "a redundant block is not marked as such");
    }
    if (planned) return;
    for (std::size_t i = 0; i < step.arrivals.size(); ++i) {
      const auto group = static_cast<std::uint32_t>(i % s_.groups);
      if (s_.pools[group].state(step.arrivals[i]) != BlockState::kForgotten) continue;
      See(group, step.arrivals[i], BlockState::kForgotten, "");
    }
  }

  void CheckStepMirrors(const Step& step) {
    for (std::size_t i = 0; i < step.mirror_targets.size(); ++i) {
      const auto group = static_cast<std::uint32_t>(i % s_.groups);
      const bool is_claimed = (step.mirror_claims[i / s_.groups] >> group & 1u) != 0;
      if (is_claimed && step.state == StepState::kPlanned) continue;
      See(group, step.mirror_targets[i], BlockState::kArriving,
          "a mirror's target is not marked as such");
    }
  }

  // A block that an open step writes in place may have one, until it does.
  void CheckMirrors(std::uint32_t group) {
    const BlockPool& pool = s_.pools[group];
    std::uint32_t mirrors = 0;
    pool.ForEachMirror([&](BlockId host) {
      See(group, host, BlockState::kMirror, "a mirror is not marked as such");
      const BlockId device = pool.copy(host);
      Require(device != kNone && !pool.IsHost(device) && pool.copy(device) == host,
              "a mirror and its block do not name each other");
      Require(
          pool.state(device) == BlockState::kIndexed || pool.state(device) == BlockState::kPrivate,
          "a free block has a mirror");
      mirrors++;
    });
    Require(mirrors == pool.mirrors(), "a count of mirrors is off");
  }

  void CheckPools() {
    for (std::uint32_t group = 0; group < s_.groups; ++group) {
      const BlockPool& pool = s_.pools[group];
      CheckMirrors(group);
      std::uint32_t device = 0;
      std::uint32_t host = 0;
      pool.ForEachFree([&](BlockId block) {
        See(group, block, BlockState::kFree, "a free block is not marked as such");
        (pool.IsHost(block) ? host : device)++;
        digest_.Add(block);
      });
      Require(device == pool.device_free() && host == pool.host_free(),
              "a count of free blocks is off");
      Require(std::count(seen_[group].begin(), seen_[group].end(), false) == 0, "a block is lost");
    }
  }

  const Manager::State& s_;
  const PrefixIndex& index_;
  ContentAudit content_;
  std::vector<Holds> holds_;
  std::vector<std::vector<bool>> seen_;
  std::vector<std::uint32_t> tail_holders_;
  std::vector<std::uint32_t> tail_active_;
  std::uint64_t open_ = 0;
  std::vector<std::vector<RunId>> listed_;  // by partition, then list
  std::uint32_t reached_ = 0;
  Digest digest_;
  std::uint64_t unordered_ = 0;  // of the entries, whose order in the tree says nothing
};

Manager::Validation Manager::State::Validate() const {
  try {
    return {nullptr, Validator(*this).Walk()};
  } catch (const Broken& broken) {
    return {broken.what, 0};
  }
}

}  // namespace pagedkv
