#include "prefix_index.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace pagedkv {
namespace {

std::uint32_t EntryCapacity(const Config& config) {
  std::uint32_t capacity = kNone;
  for (const GroupConfig& group : config.groups) {
    if (group.is_local()) continue;  // most entries may have no block there
    capacity = std::min(capacity, group.device_blocks + group.host_blocks);
  }
  return capacity;
}

// Runs that nobody holds are evictable, and those that are held can be merged until two in a row
// hold more than kRunBlocks entries: at most one for four blocks, plus a few for what branches and
// ends. Open steps reserve what they will publish. Large blocks make short runs, and few: there
// every block has its own.
std::uint32_t RunCapacity(const Config& config) {
  const std::uint32_t entries = EntryCapacity(config);
  return (config.block_size >= 64 ? entries : entries / 2) + 6 * config.max_sequences + 64 +
         config.max_open_steps * RunsPerStep(config);
}

}  // namespace

PrefixIndex::PrefixIndex(const Config& config, std::vector<BlockPool>& pools, ExtraKeys& keys,
                         std::uint64_t secret)
    : block_size_(config.block_size),
      fingerprint_mask_(config.fingerprint_mask),
      groups_(static_cast<std::uint32_t>(config.groups.size())),
      lane_count_(groups_ + 1),
      pools_(pools),
      keys_(keys),
      run_capacity_(RunCapacity(config)),
      runs_(Zeroed<Run>(run_capacity_)),
      uses_(Zeroed<RunUse>(run_capacity_)),
      policy_(MakePolicy(config.policy, uses_.get(), EntryCapacity(config))),
      lanes_(Zeroed<std::uint32_t>(std::size_t{run_capacity_} * lane_count_ * kRunBlocks)),
      ups_(Zeroed<RunId>(run_capacity_)),
      slots_(config.block_size, EntryCapacity(config), keys),
      events_(config.events ? EntryCapacity(config) : 0),
      free_runs_(run_capacity_),
      secret_(secret),
      lists_(runs_.get(), uses_.get(), *policy_, run_capacity_),
      expiry_(run_capacity_) {}

std::uint64_t PrefixIndex::MetadataBytes(const Config& config) {
  const std::uint64_t lanes = (config.groups.size() + 1) * kRunBlocks * sizeof(std::uint32_t);
  const std::uint64_t run = sizeof(Run) + sizeof(RunId) + sizeof(RunUse) + Expiry::BytesPerRun() +
                            RunLists::BytesPerRun() + lanes;
  return RunCapacity(config) * run + PolicyBytes(config.policy, EntryCapacity(config)) +
         EntryCapacity(config) * (TokenSlots::BytesPerSlot(config.block_size) +
                                  (config.events ? EventLog::BytesPerSlot() : 0));
}

// --- Runs, token slots, entries ---

RunId PrefixIndex::NewRun() {
  if (free_runs_ == 0) std::abort();  // every caller has made sure; never write past the end
  free_runs_--;
  RunId id = free_run_;
  if (id == kNone) {
    id = fresh_run_++;
  } else {
    free_run_ = runs_[id].next;
    if (free_run_ != kNone) __builtin_prefetch(&runs_[free_run_]);  // for the next one
  }
  runs_[id] = Run{};
  uses_[id] = RunUse{};
  return id;
}

void PrefixIndex::FreeRun(RunId run) {
  if (lists_.is_divided()) lists_.set_partition(run, 0);
  runs_[run] = Run{};
  runs_[run].next = free_run_;
  free_run_ = run;
  free_runs_++;
}

void PrefixIndex::Forget(TokenSlot slot) {
  events_.Removed(TokenSlots::NumberOf(slot));
  slots_.Remove(slot);
}

void PrefixIndex::WriteEntry(RunId id, std::uint32_t entry, TokenSlot slot, const BlockId* set) {
  Lane(id, 0)[entry] = slot;
  for (std::uint32_t group = 0; group < groups_; ++group) SetBlock(id, entry, group, set[group]);
  if (events_.is_on() && !IsDetached(id)) TellStored(id, entry);
}

void PrefixIndex::TellStored(RunId id, std::uint32_t entry) {
  const RunId above = runs_[id].parent;
  std::uint32_t parent = kNone;
  if (entry > 0) {
    parent = TokenSlots::NumberOf(SlotOf(id, entry - 1));
  } else if (runs_[above].length > 0) {
    parent = TokenSlots::NumberOf(SlotOf(above, runs_[above].length - 1u));
  }
  events_.Stored(TokenSlots::NumberOf(SlotOf(id, entry)), parent, above);
}

void PrefixIndex::Detach(RunId id) {
  runs_[id].flags |= kRunDetached;
  for (std::uint32_t entry = runs_[id].length; entry-- > 0;) {
    events_.Removed(TokenSlots::NumberOf(SlotOf(id, entry)));
  }
}

void PrefixIndex::SetBlock(RunId run, std::uint32_t entry, std::uint32_t group, BlockId block) {
  Lane(run, group + 1)[entry] = block;
  pools_[group].set_run(block, run);
}

void PrefixIndex::Relink(RunId run, std::uint32_t begin, std::uint32_t end) {
  for (std::uint32_t group = 0; group < groups_; ++group) {
    const BlockId* blocks = Lane(run, group + 1);
    for (std::uint32_t entry = begin; entry < end; ++entry)
      pools_[group].set_run(blocks[entry], run);
  }
}

RunId PrefixIndex::AddRoot() {
  const RunId root = NewRun();
  uses_[root].fingerprint =
      static_cast<std::uint32_t>((secret_ + root * 0x9E3779B97F4A7C15ull) >> 32);
  return root;
}

void PrefixIndex::RemoveRoot(RunId root) {
  assert(runs_[root].parent == kNone && runs_[root].child == kNone && !IsHeld(root));
  FreeRun(root);
}

RunId PrefixIndex::AddChild(RunId parent, TokenSlot slot, const BlockId* set) {
  const RunId id = NewRun();
  Run& run = runs_[id];
  Run& above = runs_[parent];
  run.parent = parent;
  run.depth = above.depth + above.length;
  run.length = 1;
  run.flags = above.flags & kRunDetached;
  if (lists_.is_divided()) lists_.set_partition(id, lists_.partition(parent));
  if (policy_->remembers()) uses_[id].fingerprint = FingerprintAfter(parent, above.length);
  WriteEntry(id, 0, slot, set);
  if (above.child != kNone) above.flags |= kRunBranched;
  above.child = Insert(above.child, id);
  above.device_children++;
  CountVisible(id, 0);
  return id;
}

bool PrefixIndex::CanAppend(RunId id) const {
  const Run& run = runs_[id];
  return run.parent != kNone && IsSoleEnd(run) && run.length < kRunBlocks;
}

void PrefixIndex::Append(RunId id, TokenSlot slot, const BlockId* set) {
  assert(CanAppend(id));
  WriteEntry(id, runs_[id].length, slot, set);
  runs_[id].length++;
}

TokenSlot PrefixIndex::LiftTail(RunId id) {
  Run& run = runs_[id];
  assert(run.length > 1);
  const std::uint32_t visible = Visible(id);
  if (run.list != kNoList) lists_.CountBlocks(run, -1);
  run.length--;
  CountVisible(id, visible);
  return SlotOf(id, run.length);
}

void PrefixIndex::PopHidden(RunId id, std::uint32_t count) {
  Run& run = runs_[id];
  assert(count < run.length && count <= run.hidden);
  for (std::uint32_t left = count; left > 0; --left) Forget(SlotOf(id, --run.length));
  run.hidden = static_cast<std::uint8_t>(run.hidden - count);
}

TokenSlot PrefixIndex::LiftRun(RunId id) {
  Run& run = runs_[id];
  assert(run.length == 1 && run.child == kNone && !IsHeld(id) && run.list == kNoList);
  const RunId parent = run.parent;
  Remove(id);
  const std::uint32_t visible = Visible(id);
  run.length = run.hidden = 0;
  CountVisible(id, visible);
  if (!IsHost(id)) runs_[parent].device_children--;
  const TokenSlot slot = SlotOf(id, 0);
  FreeRun(id);
  return slot;
}

// Keeps the parent's counts, where an entry of a run has become the first visible one, or was the
// last.
void PrefixIndex::CountVisible(RunId id, std::uint32_t before) {
  const std::uint32_t after = Visible(id);
  if ((before == 0) == (after == 0)) return;
  const RunId parent_id = runs_[id].parent;
  Run& parent = runs_[parent_id];
  const bool host = IsHost(id);
  if (after > 0) {
    parent.visible_children++;
    if (!host) parent.visible_on_device++;
    return;
  }
  parent.visible_children--;
  if (!host) parent.visible_on_device--;
  const bool is_leaf =
      (IsHost(parent_id) ? parent.visible_children : parent.visible_on_device) == 0;
  if (is_leaf) lists_.BecameLeaf(parent_id);
}

void PrefixIndex::SetHost(RunId id, bool host) {
  Run& run = runs_[id];
  assert(run.list == kNoList && host != IsHost(id));
  Run& parent = runs_[run.parent];
  run.flags = static_cast<std::uint8_t>(run.flags ^ kRunHost);
  const std::uint32_t is_visible = Visible(id) > 0 ? 1 : 0;
  if (!host) {
    parent.device_children++;
    parent.visible_on_device += is_visible;
    return;
  }
  parent.device_children--;
  parent.visible_on_device -= is_visible;
  if (is_visible != 0 && parent.visible_on_device == 0) lists_.BecameLeaf(run.parent);
}

void PrefixIndex::SetHidden(RunId id, std::uint32_t hidden) {
  Run& run = runs_[id];
  const std::uint32_t visible = Visible(id);
  if (run.list != kNoList) lists_.CountBlocks(run, run.hidden - static_cast<std::int32_t>(hidden));
  run.hidden = static_cast<std::uint8_t>(hidden);
  CountVisible(id, visible);
}

// Each run's turn comes three times, some runs apart: its record is loaded, then what the record
// names, then what that names.
void PrefixIndex::PrefetchEviction(RunId id) const {
  constexpr int kApart = 2;
  const Run& run = runs_[id];
  for (std::uint32_t entry = 0; entry < run.length; ++entry) {
    for (std::uint32_t group = 0; group < groups_; ++group) {
      pools_[group].Prefetch(block(id, entry, group));
    }
  }
  __builtin_prefetch(&runs_[ups_[id]], 1);
  if (run.left != kNone && run.right != kNone) {  // they will be joined
    Prefetch(run.left);
    Prefetch(run.right);
  }
  RunId ahead = id;
  for (int i = 0; i < kApart && ahead != kNone; ++i) ahead = runs_[ahead].next;
  if (ahead == kNone) return;
  Prefetch(ahead);
  __builtin_prefetch(&ups_[ahead]);
  __builtin_prefetch(&runs_[runs_[ahead].parent], 1);
  for (int i = 0; i < kApart && ahead != kNone; ++i) ahead = runs_[ahead].next;
  if (ahead == kNone) return;
  __builtin_prefetch(&runs_[ahead], 1);
  __builtin_prefetch(&uses_[ahead]);
}

// --- Splitting and merging ---

RunId PrefixIndex::EndAfter(RunId id, std::uint32_t count) {
  return count == runs_[id].length ? id : Split(id, count);
}

RunId PrefixIndex::Split(RunId id, std::uint32_t count) {
  const RunId front_id = NewRun();
  Run& front = runs_[front_id];
  Run& run = runs_[id];
  assert(run.parent != kNone);
  assert(count > 0 && count < run.length);
  const auto rest = static_cast<std::uint8_t>(run.length - count);
  front.parent = run.parent;
  front.depth = run.depth;
  front.length = static_cast<std::uint8_t>(count);
  front.flags = run.flags & static_cast<std::uint8_t>(~(kRunAside | kRunBranched));
  uses_[front_id] = uses_[id];
  if (lists_.is_divided()) lists_.set_partition(front_id, lists_.partition(id));
  if ((run.flags & kRunTimed) != 0) {
    expiry_.set_life(front_id, expiry_.life(id));
    expiry_.set_time(front_id, expiry_.time(id));
    if (expiry_.Contains(id)) expiry_.Add(front_id);
  }
  front.active = run.active > 0 ? 1 : 0;
  front.parked = run.parked > 0 ? 1 : 0;
  front.device_children = IsHost(id) ? 0 : 1;
  front.stamp = run.stamp == kUsedSince ? kUsedSince : run.stamp + rest;
  Replace(id, front_id);
  front.child = id;
  for (std::uint32_t lane = 0; lane < lane_count_; ++lane) {
    std::uint32_t* from = Lane(id, lane);
    std::copy_n(from, count, Lane(front_id, lane));
    std::copy(from + count, from + run.length, from);
  }
  Relink(front_id, 0, count);
  if (policy_->remembers()) uses_[id].fingerprint = FingerprintAfter(front_id, count);
  run.parent = front_id;
  run.left = run.right = kNone;
  run.depth += count;
  run.length = rest;
  if (run.hidden > rest) {
    front.hidden = static_cast<std::uint8_t>(run.hidden - rest);
    run.hidden = rest;
  }
  front.visible_children = Visible(id) > 0 ? 1 : 0;
  front.visible_on_device = IsHost(id) ? 0 : front.visible_children;
  if (run.list != kNoList) {
    lists_.JoinBehind(front_id, id);
    if (run.hidden == rest) Unlist(id);  // a run with nothing visible stands in no list
  }
  return front_id;
}

// Whether nothing tells a run and its only child apart. What was asked for one of them alone, what
// is known of it, or where it stood before it was held keeps runs apart, unless runs are short.
bool PrefixIndex::CanMerge(RunId id, bool is_needed) const {
  const Run& run = runs_[id];
  if (run.parent == kNone || run.holders > 0 || run.child == kNone || run.hidden > 0) return false;
  const Run& child = runs_[run.child];
  if (child.left != kNone || child.right != kNone) return false;
  constexpr std::uint8_t kMoving = kRunLeaving | kRunArriving | kRunOnboarding;
  constexpr std::uint8_t kSame = kRunHost | kRunDetached | kRunAside | kMoving;
  if (run.length + child.length > kRunBlocks || (run.flags & kMoving) != 0 ||
      (run.flags & kSame) != (child.flags & kSame) || run.list != child.list) {
    return false;
  }
  const bool alike = (run.flags & kRunBranched) == 0 && (run.flags & kRunTimed) == 0 &&
                     (child.flags & kRunTimed) == 0 &&
                     uses_[id].priority == uses_[run.child].priority;
  if (!alike && !is_needed) return false;
  // Nothing could come back between them.
  const bool adjacent = run.stamp <= child.stamp + kRunBlocks;
  if (run.list == kNoList) {
    const bool stood_together = run.stamp != kUsedSince && child.stamp != kUsedSince && adjacent &&
                                uses_[id].queue == uses_[run.child].queue &&
                                uses_[id].level == uses_[run.child].level;
    const bool lost_their_places = run.stamp == kUsedSince && child.stamp == kUsedSince;
    return IsHeld(id) && (stood_together || lost_their_places || is_needed);
  }
  return (run.flags & kRunAside) == 0 && child.next == id && adjacent;
}

void PrefixIndex::TryMerge(RunId id, bool is_needed) {
  if (!CanMerge(id, is_needed)) return;
  Run& run = runs_[id];
  const RunId child_id = run.child;
  Run& child = runs_[child_id];
  if (run.list != kNoList) {
    Unlist(id);
    lists_.CountBlocks(child, run.length);
  }
  Replace(id, child_id);
  for (std::uint32_t lane = 0; lane < lane_count_; ++lane) {
    std::uint32_t* to = Lane(child_id, lane);
    std::copy_backward(to, to + child.length, to + child.length + run.length);
    std::copy_n(Lane(id, lane), run.length, to);
  }
  if (run.stamp == kUsedSince) child.stamp = kUsedSince;
  uses_[child_id].priority = std::max(uses_[child_id].priority, uses_[id].priority);
  uses_[child_id].fingerprint = uses_[id].fingerprint;
  child.parent = run.parent;
  child.depth = run.depth;
  child.length = static_cast<std::uint8_t>(child.length + run.length);
  Relink(child_id, 0, run.length);
  FreeRun(id);
}

void PrefixIndex::Compact(bool is_needed) {
  bool merged = true;
  while (merged) {
    merged = false;
    for (RunId id = 0; id < fresh_run_; ++id) {
      if (!CanMerge(id, is_needed)) continue;
      TryMerge(id, is_needed);
      merged = true;
    }
  }
}

}  // namespace pagedkv
