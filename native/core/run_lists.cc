#include "run_lists.h"

#include <algorithm>
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
  Lists& lists = ListsOf(run);
  List& list = lists.of[run.list];
  run.prev = before;
  RunId& forward = before == kNone ? list.head : runs_[before].next;
  run.next = forward;
  forward = id;
  (run.next == kNone ? list.tail : runs_[run.next].prev) = id;
  if (IsQueue(run.list)) FilledQueues(lists, run.list) |= BitOf(run.list);
}

void RunLists::Unlink(RunId id) {
  Run& run = runs_[id];
  Lists& lists = ListsOf(run);
  List& list = lists.of[run.list];
  (run.prev == kNone ? list.head : runs_[run.prev].next) = run.next;
  (run.next == kNone ? list.tail : runs_[run.next].prev) = run.prev;
  if (list.head == kNone && IsQueue(run.list)) FilledQueues(lists, run.list) &= ~BitOf(run.list);
}

RunId RunLists::PlaceByStamp(RunId id) const {
  const Run& run = runs_[id];
  const PartitionId partition = ListedUnder(run);
  const auto precedes = [&](RunId other) { return runs_[other].stamp < run.stamp; };
  // From where it stood before, if that is still in the list; else from the front.
  RunId before = run.prev;
  if (before != kNone) {
    const Run& hint = runs_[before];
    const bool stands =
        hint.list == run.list && (hint.flags & kRunAside) == 0 && ListedUnder(hint) == partition;
    if (!stands || !precedes(before)) before = kNone;
  }
  RunId after = before == kNone ? Front(run.list, partition) : runs_[before].next;
  for (; after != kNone && precedes(after); after = runs_[after].next) before = after;
  return before;
}

// --- Joining and leaving ---

void RunLists::Join(RunId id, ListId list, Entrance entrance) {
  Run& run = runs_[id];
  assert(run.list == kNoList && list != kNoList);
  run.list = list;
  if (entrance == Entrance::kRestored) {
    Lists& lists = ListsOf(run);
    lists.chosen[0] = lists.chosen[1] = kNone;  // it may come before who was chosen
    Link(id, PlaceByStamp(id));
  } else {
    clock_ += kRunBlocks;
    run.stamp = clock_;
    Link(id, ListsOf(run).of[list].tail);
    if (turn_begins_ && entrance == Entrance::kUsed && IsQueue(list)) BeginTurnAt(id);
  }
  CountBlocks(run, VisibleOf(run));
}

void RunLists::BeginTurnAt(RunId end) {
  if (uses_[end].turn == 0) return;
  Lists& lists = ListsOf(runs_[end]);
  lists.recent[lists.next_recent++ % kRecentTurns] = end;
  turn_begins_ = false;
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
  Lists& lists = ListsOf(runs_[id]);
  lists.chosen[0] = lists.chosen[1] = kNone;
  Link(id, PlaceByStamp(id));
}

// --- From queue to queue ---

// `hint`: a run of that list that it may stand behind.
void RunLists::Relocate(RunId id, ListId list, PartitionId partition, RunId hint) {
  Run& run = runs_[id];
  const bool is_aside = (run.flags & kRunAside) != 0;
  CountBlocks(run, -VisibleOf(run));
  if (!is_aside) Unlink(id);
  run.list = list;
  if (is_divided_) partitions_[id] = partition;
  CountBlocks(run, VisibleOf(run));
  if (is_aside) return;
  run.prev = hint;
  Link(id, PlaceByStamp(id));
}

void RunLists::Requeue(RunId id, ListId queue, RunId below) {
  const bool is_near =
      below != kNone && runs_[below].list == queue && (runs_[below].flags & kRunAside) == 0;
  Relocate(id, queue, partitions_[id], is_near ? below : PlaceFromEnd(id, queue));
  ForgetChosen(ListsOf(runs_[id]), id);
}

RunId RunLists::PlaceFromEnd(RunId id, ListId list) const {
  const PartitionId partition = is_divided_ ? partitions_[id] : PartitionId{0};
  RunId before = lists_[partition].of[list].tail;
  while (before != kNone && runs_[before].stamp > runs_[id].stamp) before = runs_[before].prev;
  return before;
}

// --- Partitions ---

void RunLists::Divide(std::uint32_t partitions) {
  lists_.resize(partitions);
  is_divided_ = partitions > 1;
}

void RunLists::MoveTo(PartitionId partition, std::vector<RunId>& runs) {
  std::sort(runs.begin(), runs.end(),
            [&](RunId a, RunId b) { return runs_[a].stamp < runs_[b].stamp; });
  RunId last[kLists];  // that was put into a list: the next one stands behind it
  std::fill_n(last, kLists, kNone);
  for (const RunId id : runs) {
    Run& run = runs_[id];
    if (!IsQueue(run.list)) {
      partitions_[id] = partition;
      continue;
    }
    Relocate(id, run.list, partition, last[run.list]);
    if ((run.flags & kRunAside) == 0) last[run.list] = id;
  }
  for (Lists& lists : lists_) {
    std::fill_n(lists.recent, kRecentTurns, kNone);
    std::fill_n(lists.chosen, kTiers, kNone);
  }
}

std::uint32_t RunLists::CachedBlocks(Tier tier) const {
  std::uint32_t blocks = 0;
  for (const Lists& lists : lists_) blocks += lists.cached[static_cast<std::size_t>(tier)];
  return blocks;
}

// --- Who is next ---

std::uint8_t RunLists::LowestLevel(const Lists& lists, Tier tier) {
  return static_cast<std::uint8_t>(std::countr_zero(lists.filled[static_cast<std::size_t>(tier)]) /
                                   kQueues);
}

RunId RunLists::Victim(Tier tier, PartitionId partition) {
  Lists& lists = lists_[partition];
  const auto number = static_cast<std::size_t>(tier);
  while (lists.filled[number] != 0) {
    const std::uint8_t level = LowestLevel(lists, tier);
    RunId& chosen = lists.chosen[number];
    if (chosen == kNone || uses_[chosen].level != level) chosen = Choose(lists, tier, level);
    if (IsLeaf(chosen, tier)) return chosen;
    SetAside(std::exchange(chosen, kNone));
  }
  return kNone;
}

EvictionPolicy::Candidate RunLists::CandidateOf(RunId id, Tier tier, bool is_front) const {
  const RunUse& use = uses_[id];
  return {id, use.queue, is_front, runs_[id].stamp,
          BlocksIn(QueueList(tier, use.level, use.queue))};
}

RunId RunLists::Choose(const Lists& lists, Tier tier, std::uint8_t level) {
  const auto queues =
      static_cast<std::uint8_t>(lists.filled[static_cast<std::size_t>(tier)] >> (level * kQueues));
  const List* first = &lists.of[QueueList(tier, level, 0)];
  EvictionPolicy::Candidate candidates[kQueues + kRecentTurns];
  std::size_t count = 0;
  for (unsigned left = queues; left != 0; left &= left - 1) {
    const RunId front = first[std::countr_zero(left)].head;
    if (!IsLeaf(front, tier)) return front;
    candidates[count++] = CandidateOf(front, tier, true);
  }
  for (const RunId id : lists.recent) {
    if (id == kNone || uses_[id].level != level || !IsLeaf(id, tier)) continue;
    const bool is_host = (runs_[id].flags & kRunHost) != 0;
    if (is_host == (tier == Tier::kHost)) candidates[count++] = CandidateOf(id, tier, false);
  }
  if (count == 1) return candidates[0].run;
  return policy_.Choose(tier, {candidates, count});
}

RunId RunLists::FirstOf(Tier tier, std::span<const RunId> victims) {
  EvictionPolicy::Candidate candidates[kMaxQuotas + 1];
  std::size_t count = 0;
  for (const RunId id : victims) {
    if (count > 0 && uses_[id].level > uses_[candidates[0].run].level) continue;
    if (count > 0 && uses_[id].level < uses_[candidates[0].run].level) count = 0;
    candidates[count++] = CandidateOf(id, tier, true);
  }
  if (count <= 1) return count == 0 ? kNone : candidates[0].run;
  return policy_.Choose(tier, {candidates, count});
}

// What stands above in the same turn is its end now.
void RunLists::ForgetRecent(RunId id) {
  Lists& lists = lists_[is_divided_ ? partitions_[id] : 0];
  for (RunId& recent : lists.recent) {
    if (recent != id) continue;
    const RunId above = runs_[id].parent;
    const bool is_same_turn =
        above != kNone && IsQueue(runs_[above].list) && uses_[above].turn == uses_[id].turn;
    recent = is_same_turn ? above : kNone;
  }
  ForgetChosen(lists, id);
}

void RunLists::ForgetChosen(Lists& lists, RunId id) {
  for (RunId& chosen : lists.chosen) {
    if (chosen == id) chosen = kNone;
  }
}

}  // namespace pagedkv
