// Room for what is to come: claims on the least recently used, and what becomes of them.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

void Manager::State::GiveSet(const BlockId* set) {
  for (std::uint32_t group = 0; group < groups; ++group) pools[group].Give(set[group]);
}

void Manager::State::GiveLater(std::uint32_t group, BlockId block) {
  if (block == kNone) return;
  if (open_steps.empty()) {
    pools[group].Give(block);
    return;
  }
  pools[group].set_state(block, BlockState::kPrivate);
  steps[open_steps.back()].deferred.push_back({group, block});
}

void Manager::State::GiveSetLater(const BlockId* set) {
  for (std::uint32_t group = 0; group < groups; ++group) GiveLater(group, set[group]);
}

// --- Claims ---

std::uint64_t Manager::State::PushClaim(RunId run, std::uint32_t entry, std::uint32_t slot,
                                        bool host) {
  assert(claim_back - claim_front < claims.size());
  const std::uint64_t number = claim_back++;
  Claim& claim = ClaimAt(number);
  claim = Claim{};
  claim.run = run;
  claim.step = slot;
  claim.host = host;
  for (std::uint32_t group = 0; group < groups; ++group) {
    ClaimSet(number)[group] = index.block(run, entry, group);
  }
  if (quotas.any()) quotas.Claim(ClaimSet(number)[0]);
  return number;
}

// The last visible entries of a run, so many, were claimed.
void Manager::State::HideClaimed(RunId run, std::uint32_t count) {
  index.SetHidden(run, index.run(run).hidden + count);
  if (index.Visible(run) == 0) index.Unlist(run);
}

// Whether a set of host blocks can be taken without evicting anything.
bool Manager::State::HasHostSet(bool with_mirrors) const {
  return std::all_of(pools.begin(), pools.end(), [&](const BlockPool& pool) {
    return (with_mirrors ? pool.host_room() : pool.host_free()) > 0;
  });
}

bool Manager::State::ClaimTargetSet(std::uint32_t slot, PartitionId owner, BlockId* target,
                                    std::uint8_t& claimed) {
  if (steps[slot].offloads >= config.max_step_transfers) return false;
  const Reach reach = quotas.ReachOf(Tier::kHost, owner);
  const bool takes_mirrors = config.host_mode == HostMode::kExclusive;
  RunId front = kNone;
  std::uint64_t number = 0;
  if (reach == Reach::kOwn || !HasHostSet(takes_mirrors)) {
    front = VictimFor(owner, reach, Tier::kHost, slot);
    if (front == kNone && (reach == Reach::kOwn || !HasHostSet(true))) return false;
  }
  if (front != kNone) {
    number = PushClaim(front, index.Visible(front) - 1, slot, true);
    HideClaimed(front, 1);
  }
  claimed = 0;
  for (std::uint32_t group = 0; group < groups; ++group) {
    const bool takes_own = reach == Reach::kOwn && group == 0;
    const bool has_room = pools[group].host_free() > 0 || front == kNone ||
                          (takes_mirrors && pools[group].mirrors() > 0);
    if (has_room && !takes_own) {
      target[group] = pools[group].TakeHost(owner);
      pools[group].set_state(target[group], BlockState::kArriving);
    } else {
      target[group] = UseClaim(number, group, owner) & ~kFromClaim;
      claimed = static_cast<std::uint8_t>(claimed | 1u << group);
    }
  }
  return true;
}

// Each of its blocks may be taken. It has none where it lies behind what attention reads.
void Manager::State::OfferClaim(std::uint64_t number) {
  for (std::uint32_t group = 0; group < groups; ++group) {
    if (ClaimSet(number)[group] != kNone) spare_claims[group].push_back(number);
  }
}

// Claims the last visible entry of a run on the device, and where it moves.
void Manager::State::ClaimEntry(std::uint32_t slot, RunId run, std::uint32_t entry) {
  BlockId target[kMaxGroups];
  std::uint8_t target_claimed = 0;
  const bool has_host = pools[0].host_total() > 0;
  const PartitionId owner = PartitionOf(run);
  const bool is_mirrored = has_host && ClaimMirrorSet(owner, run, entry, target);
  const bool offloads =
      is_mirrored || (has_host && ClaimTargetSet(slot, owner, target, target_claimed));
  const std::uint64_t number = PushClaim(run, entry, slot, false);
  OfferClaim(number);
  if (!offloads) return;
  if (!is_mirrored) steps[slot].offloads++;
  Claim& claim = ClaimAt(number);
  claim.offloads = true;
  claim.is_mirrored = is_mirrored;
  claim.target_claimed = target_claimed;
  for (std::uint32_t group = 0; group < groups; ++group) {
    ClaimTarget(number)[group] = target[group];
    steps[slot].arrivals.push_back(target[group]);
    steps[slot].offload_sources.push_back(is_mirrored ? kNone : ClaimSet(number)[group]);
  }
}

// Claims entries of the next victim, at most so many.
bool Manager::State::ClaimDevice(std::uint32_t slot, PartitionId whom, Reach reach,
                                 std::uint32_t most) {
  const RunId run = VictimFor(whom, reach, Tier::kDevice, slot);
  if (run == kNone) return false;
  if (index.run(run).hidden == 0) index.PrefetchEviction(run);
  const std::uint32_t visible = index.Visible(run);
  const std::uint32_t count = std::min({most, visible, MostFrom(PartitionOf(run), whom)});
  for (std::uint32_t entry = visible; entry-- > visible - count;) ClaimEntry(slot, run, entry);
  HideClaimed(run, count);
  return true;
}

// Takes over a claim that an aborted step left behind.
bool Manager::State::AdoptClaim(std::uint32_t slot, PartitionId whom, Reach reach) {
  if (orphans == 0) return false;
  for (std::uint64_t number = claim_front; number < claim_back; ++number) {
    Claim& claim = ClaimAt(number);
    if (claim.step != kNone || claim.host) continue;
    if (reach == Reach::kOwn && quotas.owner(ClaimSet(number)[0]) != whom) continue;
    claim.step = slot;
    orphans--;
    OfferClaim(number);
    return true;
  }
  return false;
}

// Claims until `count` sets can be taken, of the groups from `first` on; false where there is not
// as much. The entries of a victim are claimed together, as far as they are needed.
bool Manager::State::EnsureSets(std::uint32_t slot, PartitionId whom, std::uint32_t first,
                                std::uint32_t count) {
  for (std::uint32_t group = first; group < groups; ++group) {
    while (true) {
      const std::size_t some = pools[group].device_free() + spare_claims[group].size();
      if (some >= count) break;
      const auto wanting = count - static_cast<std::uint32_t>(some);
      if (!AdoptClaim(slot, whom, Reach::kAll) && !ClaimDevice(slot, whom, Reach::kAll, wanting))
        return false;
    }
  }
  return true;
}

// Requires that one was ensured.
BlockId Manager::State::TakeBlock(std::uint32_t group, PartitionId whom) {
  if (pools[group].device_free() > 0) return pools[group].TakeDevice(whom);
  const std::uint64_t number = spare_claims[group].back();
  spare_claims[group].pop_back();
  return UseClaim(number, group, whom);
}

bool Manager::State::TakeSet(std::uint32_t slot, PartitionId whom, BlockId* set) {
  // Only blocks of the first group count.
  const std::uint32_t first = quotas.IsFull(Tier::kDevice, whom) ? 1 : 0;
  if (first > 0 && !TakeOwn(slot, whom, set[0])) return false;
  if (!EnsureSets(slot, whom, first, 1)) return false;
  for (std::uint32_t group = first; group < groups; ++group) set[group] = TakeBlock(group, whom);
  return true;
}

void Manager::State::UnuseClaim(std::uint64_t number) {
  Claim& claim = ClaimAt(number);
  if (quotas.any() && (claim.used_groups & 1u) != 0) {
    quotas.Unuse(ClaimSet(number)[0], claim.user);
  }
  claim.used_groups = 0;
}

// The host blocks that a claim was to move to, but for those that a claim of their own gives back.
void Manager::State::GiveTargets(std::uint64_t number) {
  const Claim& claim = ClaimAt(number);
  if (!claim.offloads) return;
  for (std::uint32_t group = groups; group-- > 0;) {
    if ((claim.target_claimed >> group & 1u) == 0) pools[group].Return(ClaimTarget(number)[group]);
  }
}

void Manager::State::UnclaimBack() {
  const std::uint64_t number = --claim_back;
  const Claim& claim = ClaimAt(number);
  if (claim.step == kNone) orphans--;
  GiveTargets(number);
  UnuseClaim(number);
  if (quotas.any()) quotas.Unclaim(ClaimSet(number)[0]);
  if (claim.run == kNone) {
    GiveSet(ClaimSet(number));
    return;
  }
  index.SetHidden(claim.run, index.run(claim.run).hidden - 1u);
  if (index.run(claim.run).list == kNoList) index.Enlist(claim.run, Entrance::kRestored);
}

void Manager::State::AbandonClaims(std::uint32_t slot) {
  for (std::uint64_t number = claim_back; number-- > claim_front;) {
    if (number + 1 == claim_back &&
        (ClaimAt(number).step == slot || ClaimAt(number).step == kNone)) {
      UnclaimBack();
      continue;
    }
    Claim& claim = ClaimAt(number);
    if (claim.step != slot) continue;
    // A later step's claims stand above these in the index: they wait for its end.
    GiveTargets(number);
    claim.step = kNone;
    orphans++;
    claim.offloads = claim.is_mirrored = false;
    claim.target_claimed = 0;
    UnuseClaim(number);
  }
}

// The blocks of a claim leave the index: to the step that uses them, or to the free list.
void Manager::State::HandOver(std::uint64_t number, std::uint32_t slot) {
  const Claim& claim = ClaimAt(number);
  if (claim.step == kNone) orphans--;
  const BlockState state = claim.host ? BlockState::kArriving : BlockState::kPrivate;
  const BlockId* set = ClaimSet(number);
  if (quotas.any()) {
    if ((claim.used_groups & 1u) != 0) {
      quotas.HandOver(set[0], claim.user);
    } else {
      quotas.Unclaim(set[0]);
    }
  }
  for (std::uint32_t group = 0; group < groups; ++group) {
    if ((claim.used_groups >> group & 1u) != 0) {
      pools[group].Unpair(set[group]);
      pools[group].set_state(set[group], state);
    } else {
      pools[group].Give(set[group]);
    }
  }
  if (claim.step == slot || claim.step == kNone || claim.host) return;
  // Adopted by a step that is planned only: should it be aborted, there is no entry to go back to.
  std::vector<BlockId>& sets = steps[claim.step].sets;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const std::size_t group = i % groups;
    const bool is_used = (claim.used_groups >> group & 1u) != 0;
    if (is_used && sets[i] == (set[group] | kFromClaim)) sets[i] = set[group];
  }
}

// Makes the claims before `end` true, as `slot` executes. Those on the host go first, as the others
// move into their room.
void Manager::State::FinalizeClaims(std::uint64_t end, std::uint32_t slot) {
  const std::uint64_t front = claim_front;
  for (std::uint64_t number = front; number < end; ++number) {
    if (ClaimAt(number).host) FinalizeDrop(number, number + 1, slot);
  }
  for (std::uint64_t number = front; number < end;) {
    const Claim& claim = ClaimAt(number);
    std::uint64_t next = number + 1;
    if (claim.host) {
      number = next;
      continue;
    }
    if (!claim.offloads) {
      while (next < end && ClaimAt(next).run == claim.run && !ClaimAt(next).host &&
             !ClaimAt(next).offloads) {
        next++;
      }
      FinalizeDrop(number, next, slot);
    } else {
      const auto goes_along = [&](const Claim& other) {
        return other.host ||
               (other.run == claim.run && other.offloads && other.is_mirrored == claim.is_mirrored);
      };
      while (next < end && goes_along(ClaimAt(next))) next++;
      FinalizeMove(number, next, slot);
    }
    number = next;
  }
  claim_front = end;
}

// Claims of one run, or of none.
void Manager::State::FinalizeDrop(std::uint64_t first, std::uint64_t end, std::uint32_t slot) {
  const RunId run = ClaimAt(first).run;
  for (std::uint64_t number = first; number < end; ++number) HandOver(number, slot);
  if (run == kNone) return;
  const auto count = static_cast<std::uint32_t>(end - first);
  stats.evictions += count;
  DropChildren(run);
  if (count < index.run(run).length) {
    index.PopHidden(run, count);
    return;
  }
  index.PopHidden(run, count - 1);
  TellDropped(run);
  RemoveEmptied(run);
}

void Manager::State::FinalizeMove(std::uint64_t first, std::uint64_t end, std::uint32_t slot) {
  const RunId run = ClaimAt(first).run;
  std::uint32_t count = 0;
  for (std::uint64_t number = first; number < end; ++number) count += ClaimAt(number).host ? 0 : 1;
  if (run != kNone) {
    const std::uint32_t length = index.run(run).length;
    if (count < length) {
      const RunId above = index.Split(run, length - count);
      for (std::uint64_t number = end; number < claim_back; ++number) {
        if (ClaimAt(number).run == run) ClaimAt(number).run = above;
      }
    }
    index.SetHost(run, true);
    index.run(run).flags |= kRunArriving;
    stats.offloaded_blocks += count;
    if (ClaimAt(first).is_mirrored) stats.spared_offloads += count;
  }
  std::uint32_t entry = count;
  for (std::uint64_t number = first; number < end; ++number) {
    if (ClaimAt(number).host) continue;
    HandOver(number, slot);
    --entry;
    for (std::uint32_t group = 0; group < groups; ++group) {
      const BlockId target = ClaimTarget(number)[group];
      if (run == kNone) {
        pools[group].Unpair(target);
        pools[group].set_state(target, BlockState::kForgotten);
      } else {
        index.SetBlock(run, entry, group, target);
      }
    }
  }
}

void Manager::State::Dethrone(RunId run) {
  for (std::uint64_t number = claim_front; number < claim_back; ++number) {
    if (ClaimAt(number).run == run) ClaimAt(number).run = kNone;
  }
}

void Manager::State::DethroneFirstEntry(RunId run) {
  for (std::uint64_t number = claim_back; number-- > claim_front;) {
    if (ClaimAt(number).run != run) continue;
    ClaimAt(number).run = kNone;
    return;
  }
}

// --- Dropping for good ---

void Manager::State::RemoveEmptied(RunId run) {
  assert(index.run(run).length == 1);
  if (index.run(run).list != kNoList) index.Unlist(run);
  const RunId parent = index.run(run).parent;
  index.RemoveRun(run);
  LostChild(parent);
}

// A run that lost a child may merge with the one left over; a namespace that lost its last may go.
void Manager::State::LostChild(RunId parent) {
  if (index.run(parent).parent == kNone) {
    MaybeForgetRoot(parent);
  } else {
    index.TryMerge(parent);
  }
}

// What lies below a lost entry is lost with it: only copies still arriving on the host can.
void Manager::State::DropChildren(RunId run) {
  while (index.run(run).child != kNone) DropSubtree(index.run(run).child);
}

void Manager::State::DropLastEntry(RunId run) {
  assert(index.run(run).hidden == 0 && !index.IsHeld(run));
  DropChildren(run);
  const std::uint32_t entry = index.run(run).length - 1u;
  for (std::uint32_t group = 0; group < groups; ++group) {
    pools[group].Give(index.block(run, entry, group));
  }
  stats.evictions++;
  TellDropped(run);
  if (entry > 0) {
    index.PopTail(run);
  } else {
    RemoveEmptied(run);
  }
}

// Drops a run that nobody holds with all below it, leaves first. Costs O(blocks dropped); its
// parent is not merged.
void Manager::State::DropSubtree(RunId id) {
  const RunId above = index.run(id).parent;
  for (RunId at = id; at != above;) {
    if (index.run(at).child != kNone) {
      at = index.run(at).child;
      continue;
    }
    const RunId parent = index.run(at).parent;
    DropLeaf(at);
    at = parent;
    if (at == above) break;
  }
}

void Manager::State::DropLeaf(RunId id) {
  assert(!index.IsHeld(id) && index.run(id).child == kNone);
  if (index.run(id).list != kNoList) index.Unlist(id);
  const bool arriving = (index.run(id).flags & kRunArriving) != 0;
  if (index.run(id).hidden > 0 && !arriving) Dethrone(id);
  const std::uint32_t visible = index.Visible(id);
  for (std::uint32_t entry = index.run(id).length; entry-- > 0;) {
    stats.evictions++;
    for (std::uint32_t group = 0; group < groups; ++group) {
      const BlockId block = index.block(id, entry, group);
      if (entry < visible) {
        pools[group].Give(block);
      } else {
        pools[group].Unpair(block);
        pools[group].set_state(block, arriving ? BlockState::kForgotten : BlockState::kPrivate);
      }
    }
    index.SetHidden(id, 0);
    if (entry > 0) index.PopTail(id);
  }
  index.RemoveRun(id);
}

// Makes sure that `count` runs are free beside those that open steps have reserved. What quotas
// keep is spared as long as anything else helps.
bool Manager::State::EnsureRuns(std::uint32_t count) {
  count += reserved_runs;
  while (index.free_runs() < count) {
    RunId victim = LeafToDrop(true);
    if (victim == kNone) {
      // Runs that were held when a step was planned may have to go back to where they stood.
      const bool is_step = std::any_of(steps.begin(), steps.end(), [](const Step& step) {
        return step.state != StepState::kFree;
      });
      index.Compact(!is_step);
      if (index.free_runs() >= count) return true;
      victim = LeafToDrop(false);
    }
    if (victim == kNone) return false;
    for (std::uint32_t left = index.run(victim).length; left > 0; --left) DropLastEntry(victim);
  }
  return true;
}

std::uint32_t Manager::State::HostRoom(PartitionId whom, std::uint32_t group) const {
  const std::uint32_t free = pools[group].host_room();
  if (HasHostClaims()) return std::min(free, quotas.Headroom(Tier::kHost, whom));
  return RoomFor(whom, Tier::kHost, free, 0);
}

// While there are any, nothing of the host is dropped but by them.
bool Manager::State::HasHostClaims() const {
  for (std::uint64_t number = claim_front; number < claim_back; ++number) {
    if (ClaimAt(number).host) return true;
  }
  return false;
}

std::uint32_t Manager::State::HostRoomOfSets(PartitionId whom) const {
  std::uint32_t room = kNone;
  for (std::uint32_t group = 0; group < groups; ++group)
    room = std::min(room, HostRoom(whom, group));
  return room;
}

// For copies of a device set, or, where it has mirrors, those. Requires that there is room.
void Manager::State::TakeHostNow(PartitionId whom, const BlockId* device, BlockId* set) {
  if (quotas.IsFull(Tier::kHost, whom)) {
    DropLastEntry(VictimFor(whom, Reach::kOwn, Tier::kHost, kNone));
  }
  for (std::uint32_t group = 0; group < groups; ++group) {
    BlockPool& pool = pools[group];
    // Asked only where no block is free: it walks the claims.
    const auto takes_mirror = [&] {
      return pool.mirrors() > 0 && (config.host_mode == HostMode::kExclusive || HasHostClaims());
    };
    if (pool.HasMirror(device[group])) {
      set[group] = pool.TakeMirrorOf(device[group], whom);
    } else {
      while (pool.host_free() == 0 && !takes_mirror()) {
        const RunId victim = VictimFor(whom, Reach::kAll, Tier::kHost, kNone);
        if (victim == kNone) break;  // the oldest mirror, then
        DropLastEntry(victim);
      }
      set[group] = pool.TakeHost(whom);
      pool.Unpair(set[group]);
      pool.set_copy(device[group], set[group]);
    }
    pool.set_state(set[group], BlockState::kArriving);
  }
}

}  // namespace pagedkv
