#include "run_lists.h"

#include <bit>
#include <cassert>
#include <utility>

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
    chosen_[0] = chosen_[1] = kNone;  // it may come before who was chosen
    Link(id, PlaceByStamp(id));
  } else {
    clock_ += kRunBlocks;
    run.stamp = clock_;
    Link(id, lists_[list].tail);
    if (turn_begins_ && uses_[id].turn != 0 && entrance == Entrance::kUsed) {
      recent_[next_recent_++ % kRecentTurns] = id;
      turn_begins_ = false;
    }
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
  ForgetRecent(id);
}

void RunLists::SetAside(RunId id) {
  Unlink(id);
  runs_[id].flags |= kRunAside;
}

void RunLists::BringBack(RunId id) {
  runs_[id].flags &= static_cast<std::uint8_t>(~kRunAside);
  chosen_[0] = chosen_[1] = kNone;
  Link(id, PlaceByStamp(id));
}

// --- Who is next ---

std::uint8_t RunLists::LowestLevel(Tier tier) const {
  return static_cast<std::uint8_t>(std::countr_zero(filled_[static_cast<std::size_t>(tier)]) /
                                   kQueues);
}

RunId RunLists::Victim(Tier tier) {
  const auto number = static_cast<std::size_t>(tier);
  while (filled_[number] != 0) {
    const std::uint8_t level = LowestLevel(tier);
    RunId& chosen = chosen_[number];
    if (chosen == kNone || uses_[chosen].level != level) chosen = Choose(tier, level);
    if (IsLeaf(chosen, tier)) return chosen;
    SetAside(std::exchange(chosen, kNone));
  }
  return kNone;
}

RunId RunLists::Choose(Tier tier, std::uint8_t level) {
  const auto queues =
      static_cast<std::uint8_t>(filled_[static_cast<std::size_t>(tier)] >> (level * kQueues));
  const List* lists = &lists_[QueueList(tier, level, 0)];
  EvictionPolicy::Candidate candidates[kQueues + kRecentTurns];
  std::size_t count = 0;
  const auto add = [&](RunId id, bool is_front) {
    const std::uint8_t queue = uses_[id].queue;
    candidates[count++] = {id, queue, is_front, runs_[id].stamp, lists[queue].blocks};
  };
  for (unsigned left = queues; left != 0; left &= left - 1) {
    const RunId front = lists[std::countr_zero(left)].head;
    if (!IsLeaf(front, tier)) return front;
    add(front, true);
  }
  for (const RunId id : recent_) {
    if (id == kNone || uses_[id].level != level || !IsLeaf(id, tier)) continue;
    if (((runs_[id].flags & kRunHost) != 0) == (tier == Tier::kHost)) add(id, false);
  }
  if (count == 1) return candidates[0].run;
  return policy_.Choose(tier, {candidates, count});
}

// What stands above in the same turn is its end now.
void RunLists::ForgetRecent(RunId id) {
  for (RunId& recent : recent_) {
    if (recent != id) continue;
    const RunId above = runs_[id].parent;
    const bool is_same_turn =
        above != kNone && IsQueue(runs_[above].list) && uses_[above].turn == uses_[id].turn;
    recent = is_same_turn ? above : kNone;
  }
  for (RunId& chosen : chosen_) {
    if (chosen == id) chosen = kNone;
  }
}

}  // namespace pagedkv
