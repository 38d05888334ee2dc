// The lists of runs that may be evicted, or moved to the host: who waits where, and who is next.
//
// - A list is ordered by stamp: by last use, and what is used together deepest first.
// - Within a tier, what nobody holds waits in queues, kQueues for each level. The next victim comes
//   from the lowest level that has any; among its queues the eviction policy chooses.
// - Only a *leaf* is a victim: a run with no visible child in its tier. Where there is one queue
// the
//   front always is, as a child stands before its parent. Elsewhere a child may wait in a queue
//   that is worth more: its parent, once it reaches the front, is set *aside* (it keeps its list
//   and counts there, but stands in no chain) and comes back to its place when its last child is
//   gone. So every step of a search is paid for by a run that was put in: O(1) a block, amortised.
// - Each partition of the quotas has queues of its own.
#pragma once

#include <vector>

#include "eviction_policy.h"
#include "run.h"
#include "zeroed.h"

namespace pagedkv {

enum class Entrance {
  kUsed,      // at the end, in the queue that the policy finds for it now
  kMoved,     // at the end, in its queue of before: it came from the other tier, nobody used it
  kRestored,  // where it stood: by its stamp
};

class RunLists {
 public:
  // The arrays are those of the index, of `capacity` runs; `policy` decides between queues.
  RunLists(Run* runs, RunUse* uses, EvictionPolicy& policy, std::uint32_t capacity)
      : runs_(runs),
        uses_(uses),
        policy_(policy),
        partitions_(Zeroed<PartitionId>(capacity)),
        lists_(1) {}

  static std::uint64_t BytesPerRun() { return sizeof(PartitionId); }

  // A run in no list joins one. O(1); restoring is O(runs that stood before it and came back
  // since).
  void Join(RunId id, ListId list, Entrance entrance);
  void Leave(RunId id);
  // A run that waits goes to another queue of its tier and level, to where it stands by its stamp.
  // `below`: the run that went there before it, should it stand near, or kNone. O(runs of that
  // queue that were used since).
  void Requeue(RunId id, ListId queue, RunId below);
  // `front` takes its place behind `id`, of which it was split off.
  void JoinBehind(RunId front, RunId id);
  // The visible entries of a listed run have changed by so many.
  void CountBlocks(const Run& run, std::int32_t change) { Count(ListsOf(run), run.list, change); }
  // Its last visible child in its tier is gone.
  void BecameLeaf(RunId id) {
    if ((runs_[id].flags & kRunAside) != 0) BringBack(id);
  }

  // The run whose last visible entry is evicted next, or kNone. O(1), amortised.
  RunId Victim(Tier tier, PartitionId partition = 0);
  // Of the victims of several partitions, the one that goes first; of none, kNone. O(victims).
  RunId FirstOf(Tier tier, std::span<const RunId> victims);

  // The runs that join until the end of a turn are its: the first is its end.
  void BeginTurn() { turn_begins_ = true; }
  void EndTurn() { turn_begins_ = false; }

  // From now on there are so many partitions; the queues of those that go are empty.
  void Divide(std::uint32_t partitions);
  bool is_divided() const { return is_divided_; }
  PartitionId partition(RunId id) const { return partitions_[id]; }
  // Of a run in no list.
  void set_partition(RunId id, PartitionId partition) { partitions_[id] = partition; }
  // Moves runs with their places. O(runs * log runs + partitions), and the runs that wait in that
  // partition.
  void MoveTo(PartitionId partition, std::vector<RunId>& runs);

  RunId Front(ListId list, PartitionId partition = 0) const {
    return lists_[partition].of[list].head;
  }
  // Visible entries of a tier that nobody holds. Of all partitions: O(partitions).
  std::uint32_t CachedBlocks(Tier tier) const;
  std::uint32_t CachedBlocks(Tier tier, PartitionId partition) const {
    return lists_[partition].cached[static_cast<std::size_t>(tier)];
  }
  // Visible entries, those set aside included, of all partitions.
  std::uint32_t BlocksIn(ListId list) const { return blocks_[list]; }

  static ListId QueueList(Tier tier, std::uint8_t level, std::uint8_t queue) {
    return static_cast<ListId>(kFirstQueue + static_cast<std::uint32_t>(tier) * kQueuesPerTier +
                               level * kQueues + queue);
  }
  static bool IsQueue(ListId list) { return list >= kFirstQueue; }

  // Runs of one path that join or leave together: see run_lists_paths.h.
  class Arrivals;
  class Departures;

 private:
  struct List {
    RunId head = kNone;
    RunId tail = kNone;
  };
  // The ends of the last few turns, as far as they are cached, are candidates too.
  static constexpr std::uint32_t kRecentTurns = 4;
  struct Lists {
    std::uint64_t filled[kTiers] = {};  // bit per queue with a run in its chain
    std::uint32_t cached[kTiers] = {};
    RunId recent[kRecentTurns] = {kNone, kNone, kNone, kNone};
    std::uint32_t next_recent = 0;
    // Who was chosen last: it goes as a whole, before there is another choice.
    RunId chosen[kTiers] = {kNone, kNone};
    List of[kLists];
  };

  // The parked runs of all partitions stand in one list.
  PartitionId ListedUnder(const Run& run) const {
    return is_divided_ && IsQueue(run.list) ? partitions_[&run - runs_] : PartitionId{0};
  }
  void Count(Lists& lists, ListId list, std::int32_t change) {
    blocks_[list] += static_cast<std::uint32_t>(change);
    if (!IsQueue(list)) return;
    lists.cached[(list - kFirstQueue) / kQueuesPerTier] += static_cast<std::uint32_t>(change);
  }
  Lists& ListsOf(const Run& run) { return is_divided_ ? lists_[ListedUnder(run)] : lists_[0]; }
  void BeginTurnAt(RunId end);
  void Link(RunId id, RunId before);
  void Unlink(RunId id);
  void SetAside(RunId id);
  bool IsLeaf(RunId id, Tier tier) const {
    return (tier == Tier::kDevice ? runs_[id].visible_on_device : runs_[id].visible_children) == 0;
  }
  static std::uint8_t LowestLevel(const Lists& lists, Tier tier);
  RunId Choose(const Lists& lists, Tier tier, std::uint8_t level);
  EvictionPolicy::Candidate CandidateOf(RunId id, Tier tier, bool is_front) const;
  void ForgetRecent(RunId id);
  static void ForgetChosen(Lists& lists, RunId id);
  void BringBack(RunId id);
  void Relocate(RunId id, ListId list, PartitionId partition, RunId hint);
  RunId PlaceByStamp(RunId id) const;
  RunId PlaceFromEnd(RunId id, ListId list) const;
  static std::uint64_t& FilledQueues(Lists& lists, ListId list) {
    return lists.filled[(list - kFirstQueue) / kQueuesPerTier];
  }
  static std::uint64_t BitOf(ListId list) {
    return std::uint64_t{1} << ((list - kFirstQueue) % kQueuesPerTier);
  }

  Run* runs_;
  RunUse* uses_;
  EvictionPolicy& policy_;
  std::uint64_t clock_ = 0;
  std::uint32_t blocks_[kLists] = {};
  bool turn_begins_ = false;
  bool is_divided_ = false;
  ZeroedArray<PartitionId> partitions_;  // by run; untouched, and 0, unless divided
  std::vector<Lists> lists_;             // by partition
};

}  // namespace pagedkv
