// Quotas: how one is set, whom it lets evict whom, and how much room it leaves.
#include "quotas.h"

#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

// --- Partitions ---

PartitionId Quotas::Add(std::string_view name) {
  std::uint32_t id = 1;
  const auto is_taken = [&] {
    return std::any_of(names_.begin(), names_.end(),
                       [&](const auto& entry) { return entry.second == id; });
  };
  while (id < size() && is_taken()) id++;
  if (id == size()) partitions_.emplace_back();
  names_.emplace(std::string(name), static_cast<PartitionId>(id));
  return static_cast<PartitionId>(id);
}

void Quotas::Remove(std::string_view name) {
  const auto found = names_.find(name);
  partitions_[found->second] = {};
  names_.erase(found);
  if (names_.empty()) partitions_.resize(1);
}

void Quotas::Begin(std::uint32_t device_blocks, std::uint32_t host_blocks) {
  partitions_[0] = {};
  partitions_[0][0].used = device_blocks;
  partitions_[0][1].used = host_blocks;
}

void Quotas::SetLimits(PartitionId partition, const Quota& quota) {
  const TierQuota* limits[kTiers] = {&quota.device, &quota.host};
  for (std::uint32_t tier = 0; tier < kTiers; ++tier) {
    Share& share = partitions_[partition][tier];
    share.limits = *limits[tier];
    share.ceiling = std::max(share.limits.max, share.used);
  }
}

std::uint64_t Quotas::SumOfMins(Tier tier, PartitionId but) const {
  std::uint64_t sum = 0;
  for (const auto& [_, partition] : names_) {
    if (partition != but) sum += share(tier, partition).limits.min;
  }
  return sum;
}

// --- Setting one ---

Status Manager::State::SetQuota(std::string_view name, const Quota& quota) {
  if (quota.device.min > quota.device.max || quota.host.min > quota.host.max)
    return Status::kInvalidConfig;
  if (!FitsPools(quota, quotas.Find(name))) return Status::kQuotaTooLarge;
  const bool has_one = quotas.Find(name) != 0;
  const bool wants_one = quota != Quota{};
  if (has_one != wants_one) {
    std::vector<RunId> runs = RunsOf(name);
    const bool is_idle = open_steps.empty() && transfers.empty();
    if (!is_idle && IsInUse(name, runs)) return Status::kQuotaInUse;
    if (wants_one && quotas.IsComplete()) return Status::kTooManyQuotas;
    if (wants_one) {
      AddPartition(name, runs);
    } else {
      RemovePartition(name, runs);
    }
  }
  if (wants_one) quotas.SetLimits(quotas.Find(name), quota);
  return Status::kOk;
}

// What a step or a transfer still has of a closed sequence stands in no run.
bool Manager::State::IsInUse(std::string_view name, const std::vector<RunId>& runs) const {
  const PartitionId partition = quotas.Find(name);
  const auto occupies = [&](Tier tier) { return quotas.share(tier, partition).used > 0; };
  if (partition != 0 && (occupies(Tier::kDevice) || occupies(Tier::kHost))) return true;
  return std::any_of(runs.begin(), runs.end(), [&](RunId run) {
    return index.run(run).parent != kNone || index.IsHeld(run);
  });
}

void Manager::State::AddPartition(std::string_view name, std::vector<RunId>& runs) {
  // All that can fail comes first.
  const bool is_first = !quotas.any();
  index.lists().Divide(std::max(quotas.size() + 1, 2u));
  const PartitionId partition = quotas.Add(name);
  if (is_first) BeginCounting();
  MoveRuns(runs, partition);
  MoveTails(partition, partition);
}

void Manager::State::RemovePartition(std::string_view name, std::vector<RunId>& runs) {
  MoveTails(quotas.Find(name), 0);
  MoveRuns(runs, 0);
  quotas.Remove(name);
  if (quotas.any()) return;
  pools[0].CountIn(nullptr);
  index.lists().Divide(1);
}

// Room that only some groups have is no room.
bool Manager::State::FitsPools(const Quota& quota, PartitionId partition) const {
  return std::all_of(pools.begin(), pools.end(), [&](const BlockPool& pool) {
    return quotas.SumOfMins(Tier::kDevice, partition) + quota.device.min <= pool.device_total() &&
           quotas.SumOfMins(Tier::kHost, partition) + quota.host.min <= pool.host_total();
  });
}

// Those that were cleared while held included; parents stand before their children.
std::vector<RunId> Manager::State::RunsOf(std::string_view name) const {
  std::vector<RunId> runs;
  for (const auto& [root, its_name] : root_names) {
    if (its_name == name) runs.push_back(root);
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunId at = runs[i];
    index.ForEachChild(at, [&](RunId child) { runs.push_back(child); });
  }
  return runs;
}

// All that is in use, and claimed, is partition 0's.
void Manager::State::BeginCounting() {
  BlockPool& pool = pools[0];
  quotas.Begin(pool.device_total() - pool.device_free(), pool.host_total() - pool.host_room());
  pool.CountIn(&quotas);
  for (std::uint64_t number = claim_front; number < claim_back; ++number) {
    ClaimAt(number).user = 0;
    if ((ClaimAt(number).used_groups & 1u) == 0) quotas.Claim(ClaimSet(number)[0]);
  }
}

void Manager::State::MoveRuns(std::vector<RunId>& runs, PartitionId to) {
  for (const RunId run : runs) {
    for (std::uint32_t entry = 0; entry < index.run(run).length; ++entry)
      quotas.PassOn(index.block(run, entry, 0), to);
  }
  index.lists().MoveTo(to, runs);
}

// The partly filled blocks of a partition's sequences. What is on its way anywhere was refused.
void Manager::State::MoveTails(PartitionId of, PartitionId to) {
  for (const Sequence& sequence : sequences) {
    if (sequence.state == SequenceState::kClosed || sequence.tail == kNone) continue;
    const bool is_private = tails[sequence.tail].run == kNone;
    if (is_private && PartitionOf(sequence.run) == of) quotas.PassOn(TailSet(sequence.tail)[0], to);
  }
}

Usage Manager::State::GetUsage(std::string_view name) const {
  const PartitionId partition = quotas.Find(name);
  if (partition == 0) return {};
  const auto usage = [&](Tier tier) {
    const Quotas::Share& share = quotas.share(tier, partition);
    return TierUsage{share.used, index.lists().CachedBlocks(tier, partition), share.leaving};
  };
  return {usage(Tier::kDevice), usage(Tier::kHost)};
}

// --- Who makes room for whom ---

RunId Manager::State::VictimAmong(PartitionId whom, Reach reach, Tier tier, std::uint32_t slot) {
  RunLists& lists = index.lists();
  if (reach == Reach::kOwn) return lists.Victim(tier, whom);
  RunId victims[kMaxQuotas + 1];
  std::size_t count = 0;
  for (std::uint32_t id = 0; id < quotas.size(); ++id) {
    const auto owner = static_cast<PartitionId>(id);
    if (owner != whom && quotas.Spare(tier, owner) == 0) continue;
    const RunId victim = lists.Victim(tier, owner);
    if (victim == kNone) continue;
    const bool may_go = owner == whom || tier == Tier::kHost || !LosesKept(owner, victim, slot);
    if (may_go) victims[count++] = victim;
  }
  return lists.FirstOf(tier, {victims, count});
}

// How many blocks of one victim on the device another partition may take before it has to ask
// again. What the host keeps can change with each of them.
std::uint32_t Manager::State::MostFrom(PartitionId owner, PartitionId whom) const {
  if (!quotas.any()) return kNone;
  if (pools[0].host_total() > 0) return 1;
  return owner == whom ? kNone : quotas.Spare(Tier::kDevice, owner);
}

// Whether a partition would lose blocks of the host that it keeps, or that are on their way there,
// with those of the device that they continue, for lack of a place on the host for these.
bool Manager::State::LosesKept(PartitionId owner, RunId victim, std::uint32_t slot) {
  const bool keeps = quotas.share(Tier::kHost, owner).limits.min > 0;
  if (!keeps || quotas.Spare(Tier::kHost, owner) > 0) return false;
  if (index.run(victim).child == kNone && index.run(victim).hidden == 0) return false;
  if (steps[slot].offloads >= config.max_step_transfers) return true;
  const Reach reach = quotas.ReachOf(Tier::kHost, owner);
  if (HasHostSet(true) && reach == Reach::kAll) return false;
  return VictimFor(owner, reach, Tier::kHost, slot) == kNone;
}

// For a partition at its max, a block of the first group that it has cached itself, if it can be
// had.
bool Manager::State::TakeOwn(std::uint32_t slot, PartitionId whom, BlockId& block) {
  std::vector<std::uint64_t>& spare = spare_claims[0];
  auto own = std::find_if(spare.begin(), spare.end(), [&](std::uint64_t number) {
    return quotas.owner(ClaimSet(number)[0]) == whom;
  });
  if (own == spare.end()) {
    if (!AdoptClaim(slot, whom, Reach::kOwn) && !ClaimDevice(slot, whom, Reach::kOwn, 1))
      return false;
    own = spare.end() - 1;
  }
  block = UseClaim(*own, 0, whom);
  spare.erase(own);
  return true;
}

// A run to drop for its place in the index, or kNone. `spares`: none that a quota keeps.
RunId Manager::State::LeafToDrop(bool spares) {
  RunLists& lists = index.lists();
  for (const Tier tier : {Tier::kDevice, Tier::kHost}) {
    RunId victims[kMaxQuotas + 1];
    std::size_t count = 0;
    for (std::uint32_t id = 0; id < quotas.size(); ++id) {
      const auto owner = static_cast<PartitionId>(id);
      const RunId run = lists.Victim(tier, owner);
      if (run == kNone || index.run(run).hidden > 0 || index.run(run).child != kNone) continue;
      if (spares && quotas.any() && quotas.Spare(tier, owner) < index.run(run).length) continue;
      victims[count++] = run;
    }
    if (count > 0) return lists.FirstOf(tier, {victims, count});
  }
  return kNone;
}

// --- How much room there is ---

// Blocks of the device that a partition occupies until open steps and transfers end.
std::uint32_t Manager::State::InFlightOf(PartitionId whom) const {
  std::uint32_t blocks = quotas.share(Tier::kDevice, whom).leaving;
  for (const Transfer& transfer : transfers) {
    for (std::size_t i = 0; i < transfer.device_sets.size(); i += groups)
      blocks += quotas.owner(transfer.device_sets[i]) == whom ? 1 : 0;
  }
  for (const std::uint32_t slot : open_steps) {
    for (const Deferred& deferred : steps[slot].deferred) {
      const bool counts = deferred.group == 0 && !pools[0].IsHost(deferred.block);
      blocks += counts && quotas.owner(deferred.block) == whom ? 1 : 0;
    }
    for (const StepEntry& entry : steps[slot].entries)
      blocks += PartitionOf(sequences[entry.sequence].run) == whom ? 1 : 0;
  }
  return blocks;
}

// Cached blocks that may go for the sake of a partition that is not at its max.
std::uint32_t Manager::State::EvictableFor(PartitionId whom, Tier tier) const {
  const RunLists& lists = index.lists();
  if (!quotas.any()) return lists.CachedBlocks(tier);
  std::uint32_t blocks = lists.CachedBlocks(tier, whom);
  for (std::uint32_t id = 0; id < quotas.size(); ++id) {
    const auto other = static_cast<PartitionId>(id);
    if (other == whom) continue;
    blocks += std::min(lists.CachedBlocks(tier, other), quotas.Spare(tier, other));
  }
  return blocks;
}

// Blocks that a partition can have, where `free` are on the free list, and `held` of those that it
// has cached will be held.
std::uint32_t Manager::State::RoomFor(PartitionId whom, Tier tier, std::uint32_t free,
                                      std::uint32_t held) const {
  const std::uint32_t in_pool = free + EvictableFor(whom, tier) - held;
  const std::uint32_t headroom = quotas.Headroom(tier, whom);
  if (headroom == kNone) return in_pool;
  return std::min(in_pool, headroom + index.lists().CachedBlocks(tier, whom) - held);
}

}  // namespace pagedkv
