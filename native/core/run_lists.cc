#include "run_lists.h"

#include <bit>
#include <cassert>

namespace pagedkv {
namespace {

std::int32_t VisibleOf(const Run& run) {
  return run.length - run.hidden;
}

}  // namespace

// --- Chains ---

void RunLists::Link(RunId id, RunId before) {
  Run& run = runs_[id];
  List& list = lists_[run.list];
  run.prev = before;
  RunId& forward = before == kNone ? list.head : runs_[before].next;
  run.next = forward;
  forward = id;
  (run.next == kNone ? list.tail : runs_[run.next].prev) = id;
  if (IsQueue(run.list)) FilledQueues(run.list) |= BitOf(run.list);
}

void RunLists::Unlink(RunId id) {
  Run& run = runs_[id];
  List& list = lists_[run.list];
  (run.prev == kNone ? list.head : runs_[run.prev].next) = run.next;
  (run.next == kNone ? list.tail : runs_[run.next].prev) = run.prev;
  if (list.head == kNone && IsQueue(run.list)) FilledQueues(run.list) &= ~BitOf(run.list);
}

RunId RunLists::PlaceByStamp(RunId id) const {
  const Run& run = runs_[id];
  const auto precedes = [&](RunId other) { return runs_[other].stamp < run.stamp; };
  // From where it stood before, if that is still in the list; else from the front.
  RunId before = run.prev;
  if (before != kNone) {
    const Run& hint = runs_[before];
    if (hint.list != run.list || (hint.flags & kRunAside) != 0 || !precedes(before)) before = kNone;
  }
  RunId after = before == kNone ? lists_[run.list].head : runs_[before].next;
  for (; after != kNone && precedes(after); after = runs_[after].next) before = after;
  return before;
}

// --- Joining and leaving ---

void RunLists::Join(RunId id, ListId list, Entrance entrance) {
  Run& run = runs_[id];
  assert(run.list == kNoList && list != kNoList);
  run.list = list;
  if (entrance == Entrance::kRestored) {
    Link(id, PlaceByStamp(id));
  } else {
    clock_ += kRunBlocks;
    run.stamp = clock_;
    Link(id, lists_[list].tail);
  }
  CountBlocks(run, VisibleOf(run));
}

void RunLists::JoinBehind(RunId front_id, RunId id) {
  Run& front = runs_[front_id];
  front.list = runs_[id].list;
  if ((runs_[id].flags & kRunAside) == 0) {
    Link(front_id, id);
  } else {
    front.flags |= kRunAside;
  }
}

void RunLists::Leave(RunId id) {
  Run& run = runs_[id];
  assert(run.list != kNoList);
  CountBlocks(run, -VisibleOf(run));
  if ((run.flags & kRunAside) != 0) {
    run.flags &= static_cast<std::uint8_t>(~kRunAside);
  } else {
    Unlink(id);
  }
  run.list = kNoList;  // prev stays, as a hint where it stood
}

void RunLists::SetAside(RunId id) {
  Unlink(id);
  runs_[id].flags |= kRunAside;
}

void RunLists::BringBack(RunId id) {
  runs_[id].flags &= static_cast<std::uint8_t>(~kRunAside);
  Link(id, PlaceByStamp(id));
}

// --- Who is next ---

RunId RunLists::Victim(Tier tier) {
  const std::uint64_t& filled = filled_[static_cast<std::size_t>(tier)];
  while (filled != 0) {
    const auto level = static_cast<std::uint8_t>(std::countr_zero(filled) / kQueues);
    const auto queues = static_cast<std::uint8_t>(filled >> (level * kQueues));
    const List* lists = &lists_[QueueList(tier, level, 0)];
    std::uint8_t queue = static_cast<std::uint8_t>(std::countr_zero(queues));
    if ((queues & (queues - 1)) != 0) {
      EvictionPolicy::Candidate candidates[kQueues];
      for (std::uint8_t i = queue; i < kQueues; ++i) {
        if ((queues >> i & 1) == 0) continue;
        candidates[i] = {&uses_[lists[i].head], lists[i].blocks};
      }
      queue = policy_.Choose(tier, queues, candidates);
    }
    const RunId id = lists[queue].head;
    const Run& run = runs_[id];
    const bool is_leaf =
        (tier == Tier::kDevice ? run.visible_on_device : run.visible_children) == 0;
    if (is_leaf) return id;
    SetAside(id);
  }
  return kNone;
}

}  // namespace pagedkv
