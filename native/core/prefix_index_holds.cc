// Who holds a run, and where it stands in the list of those that may be evicted.
#include "prefix_index.h"

namespace pagedkv {

// --- Holding ---

void PrefixIndex::Acquire(RunId id, HoldKind kind) {
  runs_[id].holders++;
  std::uint32_t Run::* const count = kind == HoldKind::kActive ? &Run::active : &Run::parked;
  while (id != kNone) {
    Run& run = runs_[id];
    if ((run.*count)++ > 0) return;
    if (run.list != kNoList && ListFor(id) != run.list) {
      Unlist(id);  // from cached to parked, it becomes the most recently used
      Enlist(id, Entrance::kMoved);
    }
    id = run.parent;
    if (id != kNone) __builtin_prefetch(&runs_[id]);
  }
}

void PrefixIndex::Release(RunId id, HoldKind kind) {
  const RunId end = id;
  runs_[id].holders--;
  std::uint32_t Run::* const count = kind == HoldKind::kActive ? &Run::active : &Run::parked;
  while (id != kNone) {
    Run& run = runs_[id];
    assert(run.*count > 0);
    const bool last = --(run.*count) == 0;
    if (IsHeld(id) && run.list == kNoList) run.stamp = kUsedSince;
    if (!last) break;
    if (run.parent != kNone) {
      __builtin_prefetch(&runs_[run.parent]);
      if (run.list != kNoList) Unlist(id);
      Enlist(id, Entrance::kUsed);
    }
    id = run.parent;
  }
  TryMerge(end);
}

void PrefixIndex::Exchange(RunId from, HoldKind from_kind, RunId to, HoldKind to_kind) {
  Acquire(to, to_kind);
  runs_[from].holders--;
  std::uint32_t Run::* const count = from_kind == HoldKind::kActive ? &Run::active : &Run::parked;
  for (RunId id = from; id != kNone && --(runs_[id].*count) == 0; id = runs_[id].parent) {
    if (runs_[id].list != kNoList && ListFor(id) != runs_[id].list) Unlist(id);
  }
}

void PrefixIndex::UndoAcquire(RunId id, HoldKind kind) {
  const RunId end = id;
  runs_[id].holders--;
  std::uint32_t Run::* const count = kind == HoldKind::kActive ? &Run::active : &Run::parked;
  // A run that others used meanwhile, and so all above it, are the most recently used instead.
  bool restores = true;
  for (; id != kNone && --(runs_[id].*count) == 0; id = runs_[id].parent) {
    if (runs_[id].parent == kNone) break;
    if (ListFor(id) != kNoList) restores = restores && runs_[id].stamp != kUsedSince;
    if (runs_[id].list != kNoList) Unlist(id);
    Enlist(id, restores ? Entrance::kRestored : Entrance::kUsed);
  }
  TryMerge(end);
}

// --- Lists ---

ListId PrefixIndex::ListFor(RunId id) const {
  const Run& run = runs_[id];
  if (run.active > 0 || run.hidden == run.length || run.parent == kNone) return kNoList;
  if ((run.flags & kRunLeaving) != 0) return kNoList;
  const bool host = (run.flags & kRunHost) != 0;
  if (run.parked > 0) return host ? kNoList : kParkedList;
  return RunLists::QueueList(host ? Tier::kHost : Tier::kDevice, uses_[id].level, uses_[id].queue);
}

void PrefixIndex::Enlist(RunId id, Entrance entrance) {
  if (entrance == Entrance::kUsed && !IsHeld(id)) {
    RunUse& use = uses_[id];
    use.level = LevelOf(use.priority);
    use.queue = policy_->Place(use, blocks_above_end(id));
    if ((runs_[id].flags & kRunTimed) != 0) expiry_.set_time(id, now_ + expiry_.life(id));
  }
  const ListId list = ListFor(id);
  if (list == kNoList) return;
  lists_.Join(id, list, entrance);
  const bool expires = (runs_[id].flags & kRunTimed) != 0 && RunLists::IsQueue(list) &&
                       uses_[id].level != kWorthlessLevel;
  if (expires) expiry_.Add(id);
}

void PrefixIndex::Unlist(RunId id) {
  if ((runs_[id].flags & kRunTimed) != 0 && expiry_.Contains(id)) expiry_.Remove(id);
  lists_.Leave(id);
}

// --- How long it is kept ---

void PrefixIndex::Retain(RunId id, std::uint8_t priority, std::uint32_t life) {
  const bool waits = RunLists::IsQueue(runs_[id].list);
  if (waits) Unlist(id);
  uses_[id].priority = priority;
  runs_[id].flags &= static_cast<std::uint8_t>(~kRunTimed);
  if (life != 0) {
    runs_[id].flags |= kRunTimed;
    expiry_.set_life(id, life);
  }
  if (waits) Enlist(id, Entrance::kUsed);
}

void PrefixIndex::MakeWorthless(RunId id) {
  assert(RunLists::IsQueue(runs_[id].list));
  Unlist(id);
  uses_[id].level = kWorthlessLevel;
  Enlist(id, Entrance::kMoved);
}

void PrefixIndex::SetTime(Milliseconds now) {
  if (now <= now_) return;
  now_ = now;
  policy_->SetTime(now);
  for (RunId due = expiry_.Due(now); due != kNone; due = expiry_.Due(now)) MakeWorthless(due);
}

}  // namespace pagedkv
