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
    if (run.list != kNoList && ListFor(run) != run.list) {
      Unlist(id);  // from cached to parked, it becomes the most recently used
      Enlist(id, false);
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
      Enlist(id, false);
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
    if (runs_[id].list != kNoList && ListFor(runs_[id]) != runs_[id].list) Unlist(id);
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
    if (ListFor(runs_[id]) != kNoList) restores = restores && runs_[id].stamp != kUsedSince;
    if (runs_[id].list != kNoList) Unlist(id);
    Enlist(id, restores);
  }
  TryMerge(end);
}

// --- Lists ---

RunList PrefixIndex::ListFor(const Run& run) const {
  if (run.active > 0 || run.hidden == run.length || run.parent == kNone) return kNoList;
  if ((run.flags & kRunLeaving) != 0) return kNoList;
  const bool host = (run.flags & kRunHost) != 0;
  if (run.parked > 0) return host ? kNoList : kParkedDevice;
  return host ? kCachedHost : kCachedDevice;
}

void PrefixIndex::LinkAfter(List& list, RunId id, RunId before) {
  Run& run = runs_[id];
  run.prev = before;
  RunId& forward = before == kNone ? list.head : runs_[before].next;
  run.next = forward;
  forward = id;
  (run.next == kNone ? list.tail : runs_[run.next].prev) = id;
}

RunId PrefixIndex::PlaceByStamp(const List& list, const Run& run, std::uint8_t list_id) const {
  const auto precedes = [&](RunId other) { return runs_[other].stamp < run.stamp; };
  // From where it stood before, if that is still in the list; else from the front.
  RunId before = run.prev;
  if (before != kNone && (runs_[before].list != list_id || !precedes(before))) before = kNone;
  RunId after = before == kNone ? list.head : runs_[before].next;
  for (; after != kNone && precedes(after); after = runs_[after].next) before = after;
  return before;
}

void PrefixIndex::Enlist(RunId id, bool restore) {
  Run& run = runs_[id];
  const RunList list_id = ListFor(run);
  if (list_id == kNoList) return;
  assert(run.list == kNoList);
  List& list = lists_[list_id];
  if (restore) {
    LinkAfter(list, id, PlaceByStamp(list, run, list_id));
  } else {
    clock_ += kRunBlocks;
    run.stamp = clock_;
    LinkAfter(list, id, list.tail);
  }
  run.list = list_id;
  list.blocks += Visible(id);
}

void PrefixIndex::Unlist(RunId id) {
  Run& run = runs_[id];
  assert(run.list != kNoList);
  List& list = lists_[run.list];
  (run.prev == kNone ? list.head : runs_[run.prev].next) = run.next;
  (run.next == kNone ? list.tail : runs_[run.next].prev) = run.prev;
  list.blocks -= Visible(id);
  run.list = kNoList;  // prev stays, as a hint where it stood
}

}  // namespace pagedkv
