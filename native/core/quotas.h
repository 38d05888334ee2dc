// Quotas by namespace: whose each block is, how many each namespace occupies, and how many it may.
//
// A namespace with a quota is a *partition*; all others together are partition 0, without limits.
// A block counts from when it is taken until it is given back; as blocks are taken in sets, one of
// each group, those of the first group stand for all. What an open step claims of the cache counts
// twice until the step executes: for whom it is cached, as an abort gives it back, and for whom it
// is put to use. Of what a partition occupies, the blocks that claims would take from it are
// *leaving*.
//
// Invariant: a partition that occupies its max, or more, takes no block but its own; what is not
// leaving is at least its min, or all that it has. (Blocks on the host hang on those before them:
// where one on the device goes and the host has no room for it, they go with it, whatever the min.)
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "run.h"
#include "types.h"
#include "zeroed.h"

namespace pagedkv {

// Of whom blocks may be evicted for the sake of a partition.
enum class Reach {
  kAll,  // its own, and what others have beyond what they keep
  kOwn,
};

class Quotas {
 public:
  struct Share {
    TierQuota limits;
    std::uint32_t used = 0;
    std::uint32_t leaving = 0;
    std::uint32_t ceiling = kNone;  // its max, or what it occupied when that was set: never more
  };

  Quotas(std::uint32_t device_blocks, std::uint32_t host_blocks)
      : device_blocks_(device_blocks),
        owners_(Zeroed<PartitionId>(std::size_t{device_blocks} + host_blocks)),
        partitions_(1) {}

  static std::uint64_t BytesPerBlock() { return sizeof(PartitionId); }

  // --- Who has one ---

  bool any() const { return !names_.empty(); }
  bool IsComplete() const { return names_.size() == kMaxQuotas; }
  // Ids are below this; some of them may be nobody's.
  std::uint32_t size() const { return static_cast<std::uint32_t>(partitions_.size()); }
  // 0 for a namespace without a quota.
  PartitionId Find(std::string_view name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? PartitionId{0} : found->second;
  }
  const std::map<std::string, PartitionId, std::less<>>& names() const { return names_; }

  // A partition without limits and blocks; requires that not all are taken. Throws std::bad_alloc,
  // and has done nothing then.
  PartitionId Add(std::string_view name);
  // Requires that all its blocks were moved to partition 0.
  void Remove(std::string_view name);
  // What partition 0 occupies when the first quota comes.
  void Begin(std::uint32_t device_blocks, std::uint32_t host_blocks);
  void SetLimits(PartitionId partition, const Quota& quota);
  // What is kept of a tier for all but `but`.
  std::uint64_t SumOfMins(Tier tier, PartitionId but) const;

  // --- What they may ---

  const Share& share(Tier tier, PartitionId partition) const {
    return partitions_[partition][static_cast<std::size_t>(tier)];
  }
  bool IsFull(Tier tier, PartitionId partition) const {
    return any() && Headroom(tier, partition) == 0;
  }
  // A partition that is at its max makes room for itself alone, however much there is.
  Reach ReachOf(Tier tier, PartitionId partition) const {
    return IsFull(tier, partition) ? Reach::kOwn : Reach::kAll;
  }
  // Blocks until its max; kNone: no end.
  std::uint32_t Headroom(Tier tier, PartitionId partition) const {
    const Share& at = share(tier, partition);
    return at.limits.max == kNone ? kNone : at.limits.max - std::min(at.limits.max, at.used);
  }
  // Blocks beyond its min, which others may evict as far as they are cached.
  std::uint32_t Spare(Tier tier, PartitionId partition) const {
    const Share& at = share(tier, partition);
    const std::uint32_t stays = at.used - at.leaving;
    return stays - std::min(stays, at.limits.min);
  }

  // --- Whose the blocks are; but for the first, only where there are quotas ---

  PartitionId owner(BlockId block) const { return any() ? owners_[block] : PartitionId{0}; }
  void Took(BlockId block, PartitionId owner) {
    owners_[block] = owner;
    ShareOf(block, owner).used++;
  }
  void Gave(BlockId block) {
    ShareOf(block, owners_[block]).used--;
    owners_[block] = 0;
  }
  void PassOn(BlockId block, PartitionId owner) {
    Gave(block);
    Took(block, owner);
  }

  // Of a claimed block: claimed for nobody yet, put to use for somebody, both undone, and true once
  // the step executes.
  void Claim(BlockId block) { ShareOf(block, owners_[block]).leaving++; }
  void Unclaim(BlockId block) { ShareOf(block, owners_[block]).leaving--; }
  void Use(BlockId block, PartitionId user) {
    if (user == owners_[block]) {
      Unclaim(block);
    } else {
      ShareOf(block, user).used++;
    }
  }
  void Unuse(BlockId block, PartitionId user) {
    if (user == owners_[block]) {
      Claim(block);
    } else {
      ShareOf(block, user).used--;
    }
  }
  void HandOver(BlockId block, PartitionId user) {
    if (user == owners_[block]) return;
    Unclaim(block);
    Gave(block);
    owners_[block] = user;
  }

 private:
  Share& ShareOf(BlockId block, PartitionId partition) {
    return partitions_[partition][block < device_blocks_ ? 0 : 1];
  }

  const std::uint32_t device_blocks_;
  ZeroedArray<PartitionId> owners_;  // untouched before the first quota; 0 of a free block
  std::vector<std::array<Share, kTiers>> partitions_;
  std::map<std::string, PartitionId, std::less<>> names_;
};

}  // namespace pagedkv
