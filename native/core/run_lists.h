// The lists of runs that may be evicted, or moved to the host: who waits where, and who is next.
//
// - A list is ordered by stamp: by last use, and what is used together deepest first.
// - Within a tier, what nobody holds waits in queues, kQueues for each level. The next victim comes
//   from the lowest level that has any; among its queues the eviction policy chooses.
// - Only a *leaf* is a victim: a run with no visible child in its tier. In a policy of one queue
// the
//   front always is, as a child stands before its parent. Elsewhere a child may wait in a queue
//   that is worth more: its parent, once it reaches the front, is set *aside* (it keeps its list
//   and counts there, but stands in no chain) and comes back to its place when its last child is
//   gone. So every step of a search is paid for by a run that was put in: O(1) a block, amortised.
#pragma once

#include "eviction_policy.h"
#include "run.h"

namespace pagedkv {

enum class Entrance {
  kUsed,      // at the end, in the queue that the policy finds for it now
  kMoved,     // at the end, in its queue of before: it came from the other tier, nobody used it
  kRestored,  // where it stood: by its stamp
};

class RunLists {
 public:
  // The arrays are those of the index; `policy` decides between queues.
  RunLists(Run* runs, RunUse* uses, EvictionPolicy& policy)
      : runs_(runs), uses_(uses), policy_(policy) {}

  // A run in no list joins one. O(1); restoring is O(runs that stood before it and came back
  // since).
  void Join(RunId id, ListId list, Entrance entrance);
  void Leave(RunId id);
  // `front` takes its place behind `id`, of which it was split off.
  void JoinBehind(RunId front, RunId id);
  // The visible entries of a listed run have changed by so many.
  void CountBlocks(const Run& run, std::int32_t change) {
    lists_[run.list].blocks += static_cast<std::uint32_t>(change);
    if (run.list >= kFirstQueue) {
      cached_[(run.list - kFirstQueue) / kQueuesPerTier] += static_cast<std::uint32_t>(change);
    }
  }
  // Its last visible child in its tier is gone.
  void BecameLeaf(RunId id) {
    if ((runs_[id].flags & kRunAside) != 0) BringBack(id);
  }

  // The run whose last visible entry is evicted next, or kNone. O(1), amortised.
  RunId Victim(Tier tier);

  // The runs that join until the end of a turn are its: the first is its end.
  void BeginTurn() { turn_begins_ = true; }
  void EndTurn() { turn_begins_ = false; }

  RunId Front(ListId list) const { return lists_[list].head; }
  // Visible entries of a tier that nobody holds.
  std::uint32_t CachedBlocks(Tier tier) const { return cached_[static_cast<std::size_t>(tier)]; }
  std::uint32_t BlocksIn(ListId list) const { return lists_[list].blocks; }

  static ListId QueueList(Tier tier, std::uint8_t level, std::uint8_t queue) {
    return static_cast<ListId>(kFirstQueue + static_cast<std::uint32_t>(tier) * kQueuesPerTier +
                               level * kQueues + queue);
  }
  static bool IsQueue(ListId list) { return list >= kFirstQueue; }

 private:
  struct List {
    RunId head = kNone;
    RunId tail = kNone;
    std::uint32_t blocks = 0;  // visible entries, those set aside included
  };

  void Link(RunId id, RunId before);
  void Unlink(RunId id);
  void SetAside(RunId id);
  bool IsLeaf(RunId id, Tier tier) const {
    return (tier == Tier::kDevice ? runs_[id].visible_on_device : runs_[id].visible_children) == 0;
  }
  std::uint8_t LowestLevel(Tier tier) const;
  RunId Choose(Tier tier, std::uint8_t level);
  void ForgetRecent(RunId id);
  void BringBack(RunId id);
  RunId PlaceByStamp(RunId id) const;
  std::uint64_t& FilledQueues(ListId list) {
    return filled_[(list - kFirstQueue) / kQueuesPerTier];
  }
  static std::uint64_t BitOf(ListId list) {
    return std::uint64_t{1} << ((list - kFirstQueue) % kQueuesPerTier);
  }

  Run* runs_;
  RunUse* uses_;
  EvictionPolicy& policy_;
  std::uint64_t clock_ = 0;
  std::uint64_t filled_[kTiers] = {};  // bit per queue with a run in its chain
  std::uint32_t cached_[kTiers] = {};
  // The ends of the last few turns, as far as they are cached: candidates too.
  static constexpr std::uint32_t kRecentTurns = 4;
  RunId recent_[kRecentTurns] = {kNone, kNone, kNone, kNone};
  std::uint32_t next_recent_ = 0;
  bool turn_begins_ = false;
  // Who was chosen last: it goes as a whole, before there is another choice.
  RunId chosen_[kTiers] = {kNone, kNone};
  List lists_[kLists];
};

}  // namespace pagedkv
