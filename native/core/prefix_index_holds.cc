// Who holds a run, and where it stands in the list of those that may be evicted.
#include "prefix_index.h"
#include "run_lists_paths.h"

namespace pagedkv {

// --- Holding ---

void PrefixIndex::Acquire(RunId id, HoldKind kind) {
  runs_[id].holders++;
  if (kind == HoldKind::kParked) {
    Park(id);
    return;
  }
  RunLists::Departures departures(lists_);
  for (; id != kNone && runs_[id].active++ == 0; id = runs_[id].parent) {
    const Run& run = runs_[id];
    if (run.parent != kNone) __builtin_prefetch(&runs_[run.parent]);
    if (run.list == kNoList) continue;
    if ((run.flags & (kRunAside | kRunTimed)) == 0) {
      departures.Leave(id);
    } else {
      departures.Settle();
      Unlist(id);
    }
  }
}

void PrefixIndex::Park(RunId id) {
  for (; id != kNone && runs_[id].parked++ == 0; id = runs_[id].parent) {
    if (runs_[id].list == kNoList || ListFor(id) == runs_[id].list) continue;
    Unlist(id);  // from cached to parked, it becomes the most recently used
    Enlist(id, Entrance::kMoved);
  }
}

void PrefixIndex::Release(RunId id, HoldKind kind) {
  const RunId end = id;
  runs_[id].holders--;
  std::uint32_t Run::* const count = kind == HoldKind::kActive ? &Run::active : &Run::parked;
  RunLists::Arrivals arrivals(lists_);
  while (id != kNone) {
    Run& run = runs_[id];
    assert(run.*count > 0);
    const bool last = --(run.*count) == 0;
    const bool is_held = run.active + run.parked > 0;
    if (is_held && run.list == kNoList) run.stamp = kUsedSince;
    if (!last) break;
    if (run.parent != kNone) {
      __builtin_prefetch(&runs_[run.parent]);
      constexpr std::uint8_t kUnusual = kRunLeaving | kRunTimed;
      const bool is_usual =
          !is_held && run.hidden == 0 && run.list == kNoList && (run.flags & kUnusual) == 0;
      if (is_usual) {
        arrivals.Join(id, QueueOf(id, Use(id)));
      } else {
        arrivals.Settle();
        if (run.list != kNoList) Unlist(id);
        Enlist(id, Entrance::kUsed);
      }
    }
    id = run.parent;
  }
  arrivals.Settle();
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
  if (run.parked > 0) return IsHost(id) ? kNoList : kParkedList;
  return QueueOf(id, uses_[id]);
}

// The policy finds the queue of a run that was used.
const RunUse& PrefixIndex::Use(RunId id) {
  RunUse& use = uses_[id];
  use.level = LevelOf(use.priority);
  use.queue = policy_->Place(use, blocks_above_end(id));
  return use;
}

void PrefixIndex::Enlist(RunId id, Entrance entrance) {
  if (entrance == Entrance::kUsed && !IsHeld(id)) {
    Use(id);
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

// A run that is in no queue now may come back to one: an open step may be aborted.
void PrefixIndex::Expect(RunId id, std::uint32_t reuse) {
  const std::uint32_t turn = uses_[id].turn;
  RunId moved = kNone;
  for (; runs_[id].parent != kNone && uses_[id].turn == turn; id = runs_[id].parent) {
    RunUse& use = uses_[id];
    const std::uint8_t queue = policy_->PlaceExpected(use, reuse);
    if (queue == use.queue) continue;
    use.queue = queue;
    if (!RunLists::IsQueue(runs_[id].list)) continue;
    lists_.Requeue(id, QueueOf(id, use), moved);
    moved = id;
  }
}

void PrefixIndex::SetTime(Milliseconds now) {
  if (now <= now_) return;
  now_ = now;
  policy_->SetTime(now);
  for (RunId due = expiry_.Due(now); due != kNone; due = expiry_.Due(now)) MakeWorthless(due);
}

}  // namespace pagedkv
